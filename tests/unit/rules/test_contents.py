"""The rules that read every file: secrets, waste, weights that are pickles, and the linters."""

from __future__ import annotations

import collections
import io
import os
import pickle
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path

import pytest
from image_archives import docker_archive, layer_of, member, tar_of, write
from judging import judge

from custom_image.report import Verdict
from custom_image.scanners import linters, pickles
from custom_image.scanners.secret_patterns import is_secret, secret_in_text, secrets_in_file

RUN = {"home/run.sh": b"#!/bin/sh\nexec python3 serve.py\n"}
RULES = ("layers.unpack", "secrets.", "waste.", "model.")
# Put together here, so that no scanner takes this file for a leak.
SECRET = "q9".join(["7Xk2", "Lm4Z", "Rt8W", "bN3v", "Hs6D", "pJ1f", "Yc5G", "Ue0K"])[:40]
KEY = b"-----BEGIN " + b"PRIVATE KEY-----\n" + b"MIIEvQIBADANBgkqhkiG9w0BAQEFAASC" * 3 + b"\n"


def judged(tmp_path, *layers: dict[str, bytes], only=("secrets.files",), **config):
    content = docker_archive([layer_of(RUN), *(layer_of(files) for files in layers)], **config)
    report = judge(write(tmp_path, content), level="static", only=only)
    assert "broke" not in str(report)
    assert SECRET not in report.to_json()
    return report.check(only[0])


# --- secrets --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "content", "what"),
    [
        ("root/.ssh/id_rsa", KEY, "a private key"),
        ("app/settings.py", b"AK = 'AKIA" + b"IOSFODNN7ABCDEFG'", "an access key of AWS"),
        ("app/settings.py", f"x = 1\nHW_SK = '{SECRET}'".encode(), "a secret key (SK)"),
        ("app/c.json", b'{"accessKey": "' + b"A1B2C3D4E5" * 2 + b'"}', "an access key (AK)"),
        ("app/c.yaml", b"token: ghp_" + b"a1B2c3D4e5F6" * 3, "a token of GitHub"),
        ("root/.netrc", f"machine pypi login me password {SECRET}".encode(), "the password of a"),
        (
            "etc/pip.conf",
            f"index-url = https://me:{SECRET}@pypi/".encode(),
            "a URL with a password",
        ),
        (
            "root/.config/pip/pip.conf",
            f"i = http://me:{SECRET}@pypi/".encode(),
            "a URL with a pass",
        ),
        (
            "root/.docker/config.json",
            b'{"auths": {"swr": {"auth": "bWU6eW91"}}}',
            "the login of",
        ),
        ("root/.bash_history", f"docker login -p {SECRET}".encode(), "the history of a shell"),
        ("home/ma-user/.aws/credentials", f"aws_secret_access_key={SECRET}".encode(), "AWS"),
        ("home/ma-user/.git-credentials", f"https://me:{SECRET}@git".encode(), "a URL with"),
        ("root/.npmrc", f"//npm/:_authToken={SECRET}".encode(), "a token of npm"),
        ("etc/shadow", f"root:$6$salt${SECRET}:1:0:::::".encode(), "the hash of a password"),
    ],
)
def test_a_secret_in_a_file_is_named_by_layer_path_and_line_and_never_shown(
    tmp_path, path, content, what
):
    check = judged(tmp_path, {path: content})

    assert check.verdict is Verdict.FAILED
    assert f"layer 2 (COPY step 2 /), /{path}, line " in check.measured
    assert what in check.evidence


def test_a_secret_that_a_later_layer_deletes_is_still_found(tmp_path):
    secret = {"root/.netrc": f"machine a login b password {SECRET}".encode()}

    check = judged(tmp_path, secret, {"root/.wh..netrc": b""})

    assert check.verdict is Verdict.FAILED
    assert "layer 2 (COPY step 2 /), /root/.netrc (deleted or replaced" in check.measured


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("app/readme.md", b"Export AKIAIOSFODNN7EXAMPLE and AWS_SECRET_ACCESS_KEY"),
        ("app/code.py", b'if "-----BEGIN PRIVATE KEY-----" in text: secret_key = load(path)'),
        ("usr/lib/python3/dist-packages/twisted/test/server.pem", KEY),
        ("etc/pip.conf", b"[global]\nindex-url = https://pypi.example.com/simple\n"),
        ("etc/pip.conf", b"index-url = https://${USER}:${TOKEN}@pypi.example.com/simple\n"),
        ("root/.bash_history", b""),
        ("root/.ssh/authorized_keys", b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI me@here"),
        ("etc/shadow", b"root:*:19000:0:99999:7:::\ndaemon:!:19000::::::\n"),
        ("app/lib.so", b"\x7fELF\0\0" + KEY),
    ],
)
def test_what_only_looks_like_a_secret_is_none(tmp_path, path, content):
    assert judged(tmp_path, {path: content}).verdict is Verdict.PASSED


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("API_TOKEN", "7d1f0c2b", True),
        ("HUAWEICLOUD_SDK_SK", SECRET, True),
        ("DB_PASSWORD", "hunter2", True),
        ("PIP_INDEX_URL", "https://me:hunter2@pypi.example.com/simple", True),
        ("PIP_INDEX_URL", "https://pypi.example.com/simple", False),
        ("API_TOKEN", "", False),
        ("TOKEN_FILE", "/run/secrets/token", False),
        ("TOKENIZERS_PARALLELISM", "false", False),
        ("MAX_TOKENS", "4096", False),
        ("GPG_KEY", "A035C8C19219BA821ECEA86B64E628F8D684696D", False),
        ("DB_PASSWORD", "$DB_PASSWORD", False),
        ("PATH", "/usr/bin:/bin", False),
    ],
)
def test_a_variable_is_a_secret_by_its_name_or_by_its_value(name, value, expected):
    assert is_secret(name, value) is expected


def test_env_and_history_fail_by_name_each_its_own_rule(tmp_path):
    env = judged(tmp_path, only=("secrets.environment",), Env=[f"API_TOKEN={SECRET}"])

    assert env.verdict is Verdict.FAILED
    assert env.measured == "API_TOKEN"


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (f"|1 GIT_TOKEN={SECRET} /bin/sh -c make", "step 1: GIT_TOKEN"),
        ("/bin/sh -c pip install -i https://me:hunter2@pypi/simple x", "a URL with a password"),
        ("/bin/sh -c curl -H 'Authorization: Bearer abcdefgh12345' x", "an Authorization header"),
        ("/bin/sh -c docker login --password hunter2", "a password as an option"),
        ("/bin/sh -c #(nop)  ENV API_TOKEN=hunter2", "step 1: API_TOKEN"),
        ("/bin/sh -c #(nop)  ENV PATH=/usr/bin", ""),
        ("/bin/sh -c docker login --password-stdin", ""),
    ],
)
def test_a_build_step_keeps_what_it_was_given(tmp_path, step, expected):
    config = b"""{"architecture": "amd64", "os": "linux", "config": {"Env": ["PATH=/usr/bin"]},
      "history": [{"created_by": %s}]}""" % repr(step).replace("'", '"').encode()
    if "'" in step:
        config = config.replace(b'"Authorization', b"Authorization").replace(b'345" x', b"345 x")
    path = write(tmp_path, docker_archive([layer_of(RUN)], config))

    check = judge(path, level="static", only=["secrets.history"]).check("secrets.history")

    assert check.verdict is (Verdict.FAILED if expected else Verdict.PASSED), config
    assert expected in check.measured
    assert "hunter2" not in check.evidence


def test_a_url_s_password_is_not_shown_where_it_is_a_file_s_name(tmp_path):
    assert secret_in_text("https://me:hunter2@host/x") == "a URL with a password"


@pytest.mark.timeout(60)  # an unbounded pattern takes hours
@pytest.mark.parametrize(
    "piece",
    [b"secret-", b"secret_", b"access_key=\n", b"PRIVATE ", b"a", b"a:", b"_SK=AKIA", b"\n", b" ",
     b"-----BEGIN PRIVATE KEY-----\na: b\n", b"sk-T3Blbk ", b"https://a:"],
)  # fmt: skip
def test_text_that_is_made_to_stall_the_search_does_not(piece):
    content = b"SECRET T3BlbkFJ PRIVATE\n" + piece * (2_000_000 // len(piece))

    assert list(secrets_in_file(b"etc/pip.conf", content)) is not None
    assert list(secrets_in_file(b"root/.pypirc", content)) is not None


# --- waste ----------------------------------------------------------------------------------------

BIG = os.urandom(1_500_000)


def test_caches_are_named_with_layer_and_bytes(tmp_path):
    cached = {"root/.cache/pip/http/a": BIG, "var/lib/apt/lists/deb": b"x" * 1000}

    check = judged(tmp_path, cached, only=("waste.caches",))

    assert check.verdict is Verdict.WARNING
    assert check.measured == "1.5 MB"
    assert check.evidence.splitlines() == [
        "1.5 MB  layer 2 (COPY step 2 /), /root/.cache/pip",
        "1,000 bytes  layer 2 (COPY step 2 /), /var/lib/apt/lists",
    ]


def test_bytecode_is_no_cache(tmp_path):
    compiled = {"opt/serving/__pycache__/a.cpython-311.pyc": BIG}

    assert judged(tmp_path, compiled, only=("waste.caches",)).verdict is Verdict.PASSED


def test_equal_files_are_named_with_their_layers(tmp_path):
    check = judged(
        tmp_path, {"opt/a": BIG, "opt/c": BIG[:-1]}, {"srv/b": BIG}, only=("waste.duplicates",)
    )

    assert check.verdict is Verdict.WARNING
    assert check.measured == "1.5 MB in 1 files"
    assert check.evidence == (
        "1.5 MB  layer 2 (COPY step 2 /), /opt/a = layer 3 (COPY step 3 /), /srv/b"
    )


def test_a_copy_that_was_deleted_is_no_duplicate_but_replaced(tmp_path):
    layers = ({"opt/a": BIG}, {"opt/.wh.a": b"", "srv/b": BIG})

    assert judged(tmp_path, *layers, only=("waste.duplicates",)).verdict is Verdict.PASSED
    check = judged(tmp_path, *layers, only=("waste.replaced",))
    assert check.verdict is Verdict.WARNING
    assert check.evidence == (
        "1.5 MB  layer 2 (COPY step 2 /), /opt/a: hidden by layer 3 (COPY step 3 /)"
    )


# --- pickles --------------------------------------------------------------------------------------


OWNED = Path(tempfile.gettempdir(), "owned-by-a-pickle-of-this-test")


class Evil:
    def __reduce__(self):
        return os.system, (f"touch {OWNED}",)


def zipped(**files: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "/"), content)
    return file.getvalue()


def torch_file(content: bytes, weights: bytes = b"") -> bytes:
    """Return what torch.save writes: a zip whose pickle comes first."""
    return zipped(**{"archive__data.pkl": content, "archive__data__0": weights})


EVIL = pickle.dumps(Evil())
TENSORS = pickle.dumps(collections.OrderedDict(weight=[0.5, 1.5]))
UNKNOWN = b"cmy_package.layers\nMine\n)R."


@pytest.mark.parametrize(
    ("name", "content", "verdict", "hint"),
    [
        ("model.pkl", EVIL, "FAILED", "runs posix.system"),
        ("model.joblib", EVIL, "FAILED", "runs posix.system"),
        ("model.pt", torch_file(EVIL), "FAILED", "runs posix.system"),
        ("model.pth", torch_file(EVIL, b"w" * 40_000_000), "FAILED", "runs posix.system"),
        ("model.pkl", TENSORS + EVIL, "FAILED", "runs posix.system"),
        ("model.pkl", EVIL[:-1], "FAILED", "runs posix.system"),
        ("model.pkl", pickle.dumps(Evil(), protocol=0), "FAILED", "runs posix.system"),
        ("model.pkl", UNKNOWN, "WARNING", "imports my_package.layers.Mine"),
        ("model.pt", torch_file(TENSORS, b"w" * 40_000_000), "PASSED", "tensors alone"),
        ("model.pkl", TENSORS, "PASSED", "tensors alone"),
        ("model.pkl", b"\x80\x04garbage", "WARNING", "cannot be followed"),
        ("model.pkl", b"7z\xbc\xaf\x27\x1c" + b"x" * 100, "WARNING", "a 7z archive"),
        ("model.pt", b"PK\x03\x04" + b"x" * 100, "WARNING", "BadZipFile"),
        ("model.pkl", b"\x80\x04" + b"0" * 400_000 + b".", "WARNING", "too many opcodes"),
        ("model.bin", b"no pickle at all", "PASSED", ""),
        ("model.onnx", EVIL, "PASSED", ""),
    ],
)
def test_pickles_are_judged_by_their_opcodes(tmp_path, name, content, verdict, hint, caplog):
    check = judged(tmp_path, {f"home/ma-user/{name}": content}, only=("model.pickle",))

    assert check.verdict == verdict, check
    assert hint in check.evidence
    assert not OWNED.exists()
    assert caplog.text == ""


def test_the_models_own_pickles_come_before_those_of_packages(tmp_path):
    files = {
        "a/package/tests/data.pkl": UNKNOWN,
        "home/ma-user/infer/model/1/mine.pkl": UNKNOWN,
        "z/other.pkl": UNKNOWN,
    }

    check = judged(tmp_path, files, only=("model.pickle",))

    assert "/model/1/mine.pkl" in check.measured
    assert check.evidence.count("imports my_package.layers.Mine") == 3


def test_reading_pickles_imports_neither_torch_nor_what_they_name(tmp_path):
    import subprocess

    path = write(tmp_path, docker_archive([layer_of({"a.pt": torch_file(TENSORS)})]))
    code = (
        "import sys\nfrom custom_image.verification import verify\n"
        "verify(sys.argv[1], level='static')\nassert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=True, capture_output=True)


def test_arrays_of_numbers_are_no_pickles_and_arrays_of_objects_are(tmp_path):
    import numpy

    def saved(array):
        file = io.BytesIO()
        numpy.save(file, array)
        return file.getvalue()

    numbers, objects = saved(numpy.zeros(3)), saved(numpy.array([Evil()], dtype=object))

    assert judged(tmp_path, {"a.npy": numbers}, only=("model.pickle",)).measured == "no pickle"
    assert judged(tmp_path, {"a.npy": objects}, only=("model.pickle",)).verdict is Verdict.FAILED


def test_without_picklescan_pickles_are_not_checked(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "picklescan.scanner", None)

    check = judged(tmp_path, {"model.pkl": EVIL}, only=("model.pickle",))

    assert pickles.why_no_picklescan() == check.measured
    assert check.verdict is Verdict.NOT_CHECKED


# --- folders and linters --------------------------------------------------------------------------


def test_a_folder_is_searched_too_and_its_links_are_not_followed(tmp_path):
    (tmp_path / "secret").write_bytes(KEY)
    context = tmp_path / "context"
    context.mkdir()
    (context / "Dockerfile").write_text("FROM scratch\n")
    (context / "link").symlink_to(tmp_path / "secret")
    os.mkfifo(context / "pipe")

    assert judge(context, level="static").check("secrets.files").verdict is Verdict.PASSED

    (context / "key.pem").write_bytes(KEY)
    assert "/key.pem, line 1" in judge(context, level="static").check("secrets.files").measured


@pytest.fixture
def context(tmp_path):
    (tmp_path / "rootfs/home").mkdir(parents=True)
    (tmp_path / "Dockerfile").write_text('FROM scratch\nCMD ["sh", "/home/run.sh"]\n')
    (tmp_path / "rootfs/home/run.sh").write_text("#!/bin/sh\nexec python3 serve.py\n")
    return tmp_path


def test_a_clean_context_has_no_remark(context):
    report = judge(context, level="static")

    assert report.check("dockerfile.lint").verdict is Verdict.PASSED
    assert report.check("boot.lint").verdict is Verdict.PASSED


def test_linters_name_line_and_code(context):
    (context / "Dockerfile").write_text("FROM scratch\nMAINTAINER me\n")
    (context / "rootfs/home/run.sh").write_text("#!/bin/sh\nkill $pid\n")

    report = judge(context, level="static")

    assert report.check("dockerfile.lint").verdict is Verdict.WARNING
    assert report.check("dockerfile.lint").measured.startswith("line 2: DL4000 (error): ")
    assert report.check("boot.lint").verdict is Verdict.WARNING
    assert "line 2: SC2086 (info): " in report.check("boot.lint").evidence


def test_a_missing_linter_is_not_checked_with_its_reason(context, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(context / "bin/python"))
    monkeypatch.setenv("PATH", str(context))

    report = judge(context, level="static")

    for rule, name in (("dockerfile.lint", "hadolint"), ("boot.lint", "shellcheck")):
        assert report.check(rule).verdict is Verdict.NOT_CHECKED
        assert report.check(rule).measured.startswith(f"{name} is not installed; pip install")


def test_a_linter_that_hangs_is_not_waited_for(context, monkeypatch):
    (context / "hadolint").write_text("#!/bin/sh\nexec sleep 60\n")
    (context / "hadolint").chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(context / "bin/python"))
    monkeypatch.setenv("PATH", f"{context}:{Path(shutil.which('sleep')).parent}")

    with pytest.raises(linters.NotLinted, match=r"hadolint did not end within 0\.2 s"):
        linters.hadolint(b"FROM scratch", timeout_s=0.2)


def test_a_boot_file_for_another_shell_is_not_given_to_shellcheck(tmp_path):
    zsh = tar_of(member("home/run.sh", b"#!/usr/bin/zsh\nprint $x[1]\n"))

    report = judge(write(tmp_path, docker_archive([zsh])), level="static")

    assert report.check("boot.lint").verdict is Verdict.NOT_CHECKED


TOKEN = "a1b2c3d4" * 4


@pytest.mark.parametrize(
    ("path", "url", "is_secret_here"),
    [
        ("app/.git/config", f"https://{TOKEN}@dev.example.com/x", True),
        ("app/.git/config", f"https://{TOKEN}:x-oauth-basic@dev.example.com/x.git", True),
        ("etc/pip.conf", f"https://{TOKEN}@packages.example.com/pypi", True),
        ("app/.git/config", "https://a-user-of-this-company@dev.example.com/team/x", False),
        ("app/.git/config", "git@github.com:team/x.git", False),
        ("app/README", f"https://{TOKEN}@dev.example.com/x", False),
    ],
)
def test_a_token_in_place_of_the_users_name_is_a_secret(path, url, is_secret_here):
    found = [*secrets_in_file(path.encode(), f"url = {url}\n".encode())]

    assert bool(found) == is_secret_here


def test_a_token_in_the_url_of_an_index_is_a_secret_in_a_variable():
    assert is_secret("PIP_INDEX_URL", f"https://{TOKEN}@packages.example.com/simple")
