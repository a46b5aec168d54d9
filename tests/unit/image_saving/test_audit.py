"""The audit finds what a save carries along or loses, and removes only what makes itself again."""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path

import pytest
from image_archives import docker_archive, layer_of

from custom_image import cli
from custom_image.audit import Audit, Finding, audit_folder, search_layers
from custom_image.audit.packages import count_layers, find_drift, judge_layers
from custom_image.errors import UsageError

TOKEN = "ghp_" + "a1B2" * 9
KEY_FILE = "[basic]\nak = x\nsk = abcdefgh\n"


def put(path: Path, content: bytes | str = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def put_large(path: Path, size: int) -> Path:
    put(path, b"")
    os.truncate(path, size)
    return path


def kinds(folder: Path, **settings) -> list[tuple[str, str]]:
    found = audit_folder(folder, **settings).findings
    return [(finding.kind, str(Path(finding.path).relative_to(folder))) for finding in found]


def test_what_is_no_file_takes_one_line():
    package = Finding("packages", "", 0, "no h11", "Install it.")
    file = Finding("caches", "/b", 1, "made again", "Remove it.")
    rows = str(Audit("/home/x", (package, file))).splitlines()[1:]

    assert [row.split()[0] for row in rows] == ["packages", "caches", "made"]
    assert rows[0].endswith("no h11. Install it.")


@pytest.mark.parametrize(
    ("name", "content", "kind", "where"),
    [
        (".cache/pip/http/a", "x", "caches", ".cache/pip"),
        (".cache/huggingface/hub/a", "x", "caches", ".cache/huggingface"),
        ("anaconda3/pkgs/numpy.conda", "x", "caches", "anaconda3/pkgs"),
        ("repo/.git/config", "x", "git", "repo/.git"),
        (".ssh/id_ed25519", "x", "ssh", ".ssh"),
        (".bash_history", "ls", "history", ".bash_history"),
        (".ipython/profile_default/history.sqlite", "x", "history", None),
        ("nb/.ipynb_checkpoints/a.ipynb", "{}", "checkpoints", "nb/.ipynb_checkpoints"),
        ("run/checkpoint-500/trainer.json", "{}", "checkpoints", "run/checkpoint-500"),
        ("run/last.ckpt", "x", "checkpoints", "run/last.ckpt"),
        ("notes.txt", f"token {TOKEN}", "secrets", "notes.txt"),
        (".huaweicloud/credentials", KEY_FILE, "secrets", ".huaweicloud/credentials"),
        (".netrc", "machine a login b password c", "secrets", ".netrc"),
        ("work/best.pth", "weights", "lost", "work/best.pth"),
    ],
)
def test_each_kind_is_found_where_it_is(tmp_path, name, content, kind, where):
    put(tmp_path / name, content)

    assert kinds(tmp_path) == [(kind, where or name)]


def test_a_file_over_10_mb_is_found_and_one_of_10_mb_is_not(tmp_path):
    put_large(tmp_path / "data.csv", 10_000_001)
    put_large(tmp_path / "small.csv", 10_000_000)

    (finding,) = audit_folder(tmp_path).findings
    assert (finding.kind, finding.size_bytes) == ("large", 10_000_001)
    assert finding.path == str(tmp_path / "data.csv")
    assert finding.remediation == "Move it to /home/ma-user/work, which no save keeps."


def test_the_model_itself_and_installed_packages_are_no_waste(tmp_path):
    put_large(tmp_path / "infer/model/1/model.onnx", 20_000_000)
    put_large(tmp_path / "python/lib/python3.11/site-packages/torch/libtorch.so", 20_000_000)
    put(tmp_path / "python/lib/python3.11/site-packages/torch/checkpoint-1/a", "x")

    assert kinds(tmp_path) == []


def test_an_empty_home_has_nothing_to_find_and_says_what_was_not_looked_at(tmp_path):
    found = audit_folder(tmp_path)

    assert found.findings == ()
    assert [one.kind for one in found.not_audited] == ["packages", "layers"]
    assert "2 NOT CHECKED" in found.summary
    assert "NOT CHECKED: the Python that will serve is not known here" in str(found)


def test_what_lies_below_work_is_only_searched_for_weights(tmp_path):
    put(tmp_path / "work/.git/config")
    put(tmp_path / "work/notes.txt", TOKEN)
    put(tmp_path / "work/best.onnx", b"other weights")

    assert kinds(tmp_path) == [("lost", "work/best.onnx")]


def test_weights_that_the_model_package_has_too_are_not_lost(tmp_path):
    put(tmp_path / "infer/model/1/model.onnx", b"the same weights")
    put(tmp_path / "work/model.onnx", b"the same weights")
    put(tmp_path / "work/other.onnx", b"the other weight")  # as many bytes

    assert kinds(tmp_path) == [("lost", "work/other.onnx")]


def test_weights_in_a_further_folder_that_a_save_loses_are_found(tmp_path):
    home, cache = tmp_path / "home", tmp_path / "cache"
    home.mkdir()
    put(cache / "epoch3.safetensors")

    (finding,) = audit_folder(home, lost=[cache]).findings
    assert finding.what == "weights that a save loses: cache is mounted"


def test_fixing_removes_what_makes_itself_again_and_nothing_else(tmp_path):
    gone = [
        put(tmp_path / ".cache/pip/a"),
        put(tmp_path / ".ipynb_checkpoints/a.ipynb"),
        put(tmp_path / ".bash_history"),
    ]
    stays = [
        put(tmp_path / ".cache/huggingface/blob"),
        put(tmp_path / ".git/HEAD"),
        put(tmp_path / ".ssh/id"),
        put(tmp_path / "last.ckpt"),
        put(tmp_path / "work/best.pth"),
        put(tmp_path / "notes.txt", TOKEN),
        put_large(tmp_path / "data.csv", 10_000_001),
    ]

    found = audit_folder(tmp_path, fix=True)

    assert [path for path in gone if path.exists()] == []
    assert [path for path in stays if not path.exists()] == []
    assert sorted(finding.kind for finding in found.findings if finding.is_removed) == [
        "caches",
        "checkpoints",
        "history",
    ]
    assert len(found.open) == len(stays)
    assert "3 removed (3 B)" in found.summary


@pytest.mark.parametrize("name", [".cache/pip/model.safetensors", ".ipynb_checkpoints/last.ckpt"])
def test_weights_are_never_removed_even_in_a_cache(tmp_path, name):
    weights = put(tmp_path / name)

    (finding,) = audit_folder(tmp_path, fix=True).findings

    assert weights.exists()
    assert not finding.is_safe


@pytest.mark.parametrize("named", [".bash_history", ".cache/pip", ".cache"])
def test_what_the_user_names_is_kept(tmp_path, named):
    history, cached = put(tmp_path / ".bash_history"), put(tmp_path / ".cache/pip/a")

    audit_folder(tmp_path, keep=[tmp_path / named], fix=True)

    assert (history if named == ".bash_history" else cached).exists()


def test_links_are_never_followed_neither_in_loops_nor_out_of_the_folder(tmp_path):
    home, outside = tmp_path / "home", tmp_path / "outside"
    put(home / "a/file")
    (home / "a/loop").symlink_to(home)
    secret = put(outside / "pip/secret.txt", TOKEN)
    (home / "linked").symlink_to(outside)
    (home / ".cache").symlink_to(outside)
    (home / ".bash_history").symlink_to(secret)

    assert audit_folder(home, fix=True).findings == ()
    assert secret.exists()


def test_a_link_in_a_cache_is_removed_and_what_it_leads_to_is_not(tmp_path):
    home, outside = tmp_path / "home", put(tmp_path / "outside")
    put(home / ".cache/pip/a")
    (home / ".cache/pip/link").symlink_to(outside)

    audit_folder(home, fix=True)

    assert not (home / ".cache/pip").exists()
    assert outside.exists()


def test_sockets_and_pipes_are_passed_over_and_never_opened(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe.txt")  # to open it would wait for ever
    with socket.socket(socket.AF_UNIX) as listener:
        monkeypatch.chdir(tmp_path)  # the name of a socket is short
        listener.bind("socket.txt")

        assert kinds(tmp_path) == []


def test_names_that_would_steer_a_terminal_are_shown_escaped(tmp_path):
    put(tmp_path / "a\nb\x1b[31m\u202e.txt", TOKEN)
    put(Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.txt")), TOKEN)

    found = audit_folder(tmp_path)

    names = [finding.path.rpartition("/")[2] for finding in found.findings]
    assert names == ["\\xff.txt", "a\\nb\\x1b[31m\\u202e.txt"]
    assert "\x1b" not in str(found) + found._repr_html_() + found.to_json()
    assert json.loads(found.to_json())["findings"][0]["kind"] == "secrets"


def test_a_file_with_an_ugly_name_can_be_removed(tmp_path):
    put(Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\n/.bash_history")))

    (finding,) = audit_folder(tmp_path, fix=True).findings

    assert finding.is_removed


def test_a_folder_that_cannot_be_read_is_said_and_does_not_end_the_audit(tmp_path, monkeypatch):
    put(tmp_path / "closed/a")
    put(tmp_path / "notes.txt", TOKEN)
    scandir = os.scandir

    def refusing(path):
        if path.endswith(b"/closed"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    found = audit_folder(tmp_path)

    assert [finding.kind for finding in found.findings] == ["secrets"]
    assert f"unreadable   NOT CHECKED: {tmp_path}/closed: Permission denied" in str(found)


def test_a_finding_never_quotes_the_secret(tmp_path):
    put(tmp_path / "notes.txt", f"one\ntoken {TOKEN}")

    found = audit_folder(tmp_path)

    assert found.findings[0].what == "a token of GitHub, in line 2"
    assert TOKEN not in str(found) + found.to_json() + found._repr_html_()


def test_drift_from_the_lock_is_found_whatever_the_spelling(tmp_path):
    lock = put(tmp_path / "lock.txt", "Foo_Bar==1.0 \\\n    --hash=sha256:00\nbaz==2\nqux==3\n")
    packages = {"foo-bar": "1.0", "Baz": "1.9"}

    found = list(find_drift(packages, lock, "/preset/python3"))

    assert [finding.what for finding in found] == ["baz 1.9, where the lock has 2", "no qux 3"]
    assert found[1].remediation.endswith("/preset/python3 -m pip install qux==3")


def test_a_package_that_was_added_and_no_lock_has_is_found_and_the_presets_own_are_not(tmp_path):
    lock = put(tmp_path / "lock.txt", "foo-bar==1.0\n")
    packages = {"foo_bar": "1.0", "Mine_Own": "0.1", "jupyterlab": "4.0"}

    found = list(find_drift(packages, lock, "/preset/python3", added=["foo_bar", "Mine_Own"]))

    assert [f.what for f in found] == ["mine-own 0.1 was added here, and no lock has it"]
    assert found[0].remediation.endswith("/preset/python3 -m pip uninstall mine-own")


@pytest.mark.parametrize("text", [None, "no pins here\n", b"\xff\xfe"])
def test_a_lock_that_is_none_is_refused(tmp_path, text):
    lock = tmp_path / "lock.txt"
    if text is not None:
        put(lock, text)

    with pytest.raises(UsageError):
        list(find_drift({}, lock, "python3"))


@pytest.mark.parametrize(
    ("mountinfo", "layers"),
    [
        ("1 0 0:5 / / rw - overlay overlay rw,lowerdir=l/A:l/B:l/C,upperdir=u\n", 3),
        ("1 0 0:5 / / rw - ext4 /dev/sda1 rw\n", 0),
        ("9 1 0:6 / /cache rw - overlay overlay rw,lowerdir=l/A\n", 0),
        ("", 0),
    ],
)
def test_layers_are_counted_where_the_root_stands_on_them(tmp_path, mountinfo, layers):
    assert count_layers(put(tmp_path / "mountinfo", mountinfo)) == layers


def test_layers_are_a_finding_before_the_limit_is_reached():
    assert list(judge_layers(99)) == []
    assert "100 layers, each save adds one, and 125 layers are the limit" in [
        finding.what for finding in judge_layers(100)
    ]


def test_a_folder_that_is_none_is_refused(tmp_path):
    with pytest.raises(UsageError, match="is no folder"):
        audit_folder(tmp_path / "nowhere")


@pytest.mark.parametrize(("fix", "code"), [(False, 1), (True, 0)])
def test_the_command_says_by_its_exit_code_whether_something_stands(
    tmp_path, monkeypatch, capsys, fix, code
):
    put(tmp_path / ".bash_history")
    arguments = ["audit", str(tmp_path), "--format", "json", *(["--fix"] if fix else [])]
    monkeypatch.setattr(sys, "argv", ["custom-image", *arguments])

    with pytest.raises(SystemExit) as left:
        cli.main()

    assert left.value.code == code
    assert json.loads(capsys.readouterr().out)["findings"][0]["is_removed"] is fix


def test_after_a_save_the_layers_are_searched_for_what_was_named():
    named = ["/home/ma-user/.ssh", "/home/ma-user/big\\n.csv", "/home/ma-user/work/best.pth"]
    findings = [Finding("large", path, 1, "named", "Fix it.") for path in named]
    removed = Finding("caches", "/home/ma-user/.cache/pip", 1, "gone", "", is_removed=True)
    audit = Audit("/home/ma-user", (*findings, removed))
    archive = docker_archive(
        [
            layer_of({"/home/ma-user/.ssh/id_ed25519": b"key", "/home/ma-user/.cache/pip/a": b"x"}),
            layer_of({"/home/ma-user/big\n.csv": b"1,2", "/home/ma-user/.sshx": b""}),
            layer_of({"/home/ma-user/.wh..ssh": b""}),
        ]
    )

    found = search_layers(Audit.from_json(audit.to_json()), "saved:1", iter([archive]))

    assert [(one.finding.path, one.layers) for one in found] == [
        (named[0], ("layer 1 (COPY step 1 /)",)),
        (named[1], ("layer 2 (COPY step 2 /)",)),
    ]
    assert str(found[0]).endswith("named. It is in layer 1 (COPY step 1 /).")


def test_what_is_no_audit_is_not_read_as_one():
    with pytest.raises(ValueError, match="expected the JSON of an audit"):
        Audit.from_json('{"folder": "/home"}')
