"""Archives that are damaged or made to harm: a verdict, little memory, and the host untouched."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import tarfile
import zlib
from contextlib import suppress
from pathlib import Path

import pytest
from image_archives import (
    configuration,
    docker_archive,
    gzipped,
    layer_of,
    member,
    oci_archive,
    tar_of,
    write,
)
from judging import judge

from custom_image.errors import ArchiveError, UsageError
from custom_image.image_archive import Archive, Limits
from custom_image.report import Verdict

MEMORY_MB = 300
"""What the verifier may take, whatever it is given."""
EMPTY_MB = 110
"""What it takes for an image without files, and a little more."""

GOOD = {"home/run.sh": b"#!/bin/sh\nexec python3 serve.py\n"}


def unpack_verdict(tmp_path, *layers: bytes):
    report = judge(write(tmp_path, docker_archive(list(layers))), level="static")
    assert "broke" not in str(report)
    return report.check("layers.unpack")


# --- names and links that lead out of the image ---------------------------------------------------


@pytest.mark.parametrize(
    ("hostile", "hint"),
    [
        (member("../../{out}", b"owned"), "leads out of the image"),
        (member("a/../../{out}", b"owned"), "leads out of the image"),
        (member("x", type=tarfile.LNKTYPE, linkname="../../../etc/shadow"), "out of the image"),
        (member("/".join("d" * 300), b"x"), "directories deep"),
        (member("n" * 5000, b"x"), "5,000 bytes"),
    ],
    ids=["up", "down-and-up", "hard-link", "deep", "long"],
)
def test_names_that_lead_out_are_a_verdict_and_nothing_is_written(tmp_path, hostile, hint):
    info, content = hostile
    info.name = info.name.replace("{out}", f"..{tmp_path}/out")
    before = sorted(tmp_path.rglob("*"))

    check = unpack_verdict(tmp_path, tar_of((info, content), member("home/run.sh", b"#!/bin/sh\n")))

    assert check.verdict is Verdict.FAILED
    assert hint in check.measured
    assert "byte " in check.measured
    assert sorted(tmp_path.rglob("*")) == [*before, tmp_path / "image.tar"]


def test_a_file_behind_a_link_is_a_verdict_and_the_link_is_not_followed(tmp_path):
    behind = tar_of(
        member("etc", type=tarfile.SYMTYPE, linkname=str(tmp_path)),
        member("etc/passwd", b"root::0:0::/:/bin/sh\n"),
    )

    check = unpack_verdict(tmp_path, behind)

    assert check.verdict is Verdict.FAILED
    assert "goes through a link" in check.measured
    assert not (tmp_path / "passwd").exists()


def test_a_symbolic_link_out_is_harmless_and_read_inside_the_image(tmp_path):
    (tmp_path / "secret").write_text("of the host")
    link = tar_of(member("home/run.sh", type=tarfile.SYMTYPE, linkname=f"{tmp_path}/secret"))

    report = judge(write(tmp_path, docker_archive([link])), level="static")

    assert report.check("layers.unpack").verdict is Verdict.PASSED
    assert report.check("boot.file").measured == "no /home/run.sh in the image"


def test_absolute_names_are_taken_as_below_the_root(tmp_path):
    found = Archive(write(tmp_path, docker_archive([tar_of(member("//etc//passwd", b"root"))])))

    assert found.find_file("/etc/passwd").content == b"root"


def test_of_equal_names_the_last_counts_with_a_warning(tmp_path):
    twice = tar_of(member("a", b"first"), member("a", b"second"))

    check = unpack_verdict(tmp_path, twice)

    assert check.verdict is Verdict.WARNING
    assert "/a for the second time" in check.measured
    assert Archive(tmp_path / "image.tar").find_file("/a").content == b"second"


def test_escape_sequences_in_names_never_reach_the_terminal(tmp_path):
    evil = "\x1b]0;owned\x07\x1b[2J\u202egnp.sh"
    layer = tar_of(member(f"root/{evil}/.netrc", b"machine x password y\n"))

    report = judge(write(tmp_path, docker_archive([layer])), level="static")

    assert report.check("secrets.files").verdict is Verdict.FAILED
    for text in (str(report), report.to_json()):
        assert not set("\x1b\x07\u202e") & set(text)


# --- damage ---------------------------------------------------------------------------------------


def test_an_archive_that_is_cut_off_says_where(tmp_path):
    whole = docker_archive([layer_of(GOOD | {"opt/weights": b"w" * 100_000})])

    with pytest.raises(ArchiveError, match=r"image\.tar.*cut off.*stopped at byte \d"):
        _ = Archive(write(tmp_path, whole[:60_000])).facts


def test_every_place_to_cut_an_archive_gives_a_verdict_or_a_clear_error(tmp_path):
    whole = oci_archive([layer_of(GOOD)], [gzipped(layer_of(GOOD))])
    for end in range(0, len(whole), 97):
        with suppress(ArchiveError, UsageError):
            report = judge(write(tmp_path, whole[:end]), level="static", only=["layers.unpack"])
            assert report.check("layers.unpack").verdict in (Verdict.PASSED, Verdict.FAILED)
            assert "broke" not in str(report)


def test_every_damaged_byte_of_a_header_gives_a_verdict_or_a_clear_error(tmp_path):
    layer = tar_of(member("a" * 120, b"x" * 600), member("b", b"y"), form=tarfile.PAX_FORMAT)
    for at in range(0, len(layer), 41):
        damaged = layer[:at] + bytes([layer[at] ^ 0x55]) + layer[at + 1 :]
        report = judge(
            write(tmp_path, docker_archive([damaged])), level="static", only=["waste.replaced"]
        )
        assert "broke" not in str(report), at


def test_a_damaged_layer_fails_one_rule_and_those_after_it_are_not_checked(tmp_path):
    layer = bytearray(layer_of(GOOD | {"opt/x": b"x"}))
    layer[1024 + 150] ^= 1

    report = judge(write(tmp_path, docker_archive([bytes(layer)])), level="static")

    check = report.check("layers.unpack")
    assert check.verdict is Verdict.FAILED
    assert "layer.tar: no tar header at byte 1,024" in check.measured
    assert report.check("waste.caches").measured == "layers.unpack FAILED"
    assert report.check("boot.command").verdict is Verdict.PASSED


def test_a_layer_that_is_not_there_is_named(tmp_path):
    manifest = [{"Config": "c.json", "Layers": ["1/layer.tar"]}]
    content = tar_of(
        member("c.json", configuration([b""])),
        member("manifest.json", json.dumps(manifest).encode()),
    )

    report = judge(write(tmp_path, content), level="static")

    assert "1/layer.tar is not there" in report.check("layers.unpack").measured


@pytest.mark.parametrize("field", [slice(124, 136), slice(100, 108), slice(108, 116)])
@pytest.mark.parametrize("value", [b"\xff" * 12, b"-0000001\0\0\0\0", b"\x80" + b"\xff" * 11])
def test_numbers_that_no_file_has_are_a_verdict(tmp_path, field, value):
    header = bytearray(member("a", b"x")[0].tobuf())
    header[field] = value[: field.stop - field.start]
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)

    check = unpack_verdict(tmp_path, bytes(header) + b"x".ljust(512, b"\0") + bytes(1024))

    assert check.verdict is (Verdict.FAILED if field.start == 124 else Verdict.PASSED)


# --- bombs ----------------------------------------------------------------------------------------


def test_an_extended_header_of_gigabytes_is_refused_unread(tmp_path):
    long_name = member("././@LongLink", type=tarfile.GNUTYPE_LONGNAME)[0]
    long_name.size = 8 * 10**9
    pax = member("pax", type=tarfile.XHDTYPE)[0]
    pax.size = 8 * 10**9

    for header in (long_name, pax):
        check = unpack_verdict(tmp_path, header.tobuf(tarfile.GNU_FORMAT) + bytes(4096))
        assert "8,000,000,000 bytes; at most 1,048,576 are read" in check.measured


def test_extended_headers_without_end_do_not_recurse(tmp_path):
    name, content = member("././@LongLink", b"a\0", type=tarfile.GNUTYPE_LONGNAME)
    chain = name.tobuf(tarfile.GNU_FORMAT) + content.ljust(512, b"\0")

    check = unpack_verdict(tmp_path, chain * 5000 + tar_of(member("a", b"x")))

    assert check.verdict is Verdict.PASSED


def test_a_layer_that_expands_beyond_measure_is_stopped(tmp_path):
    squeezing = zlib.compressobj(9, zlib.DEFLATED, 31)
    header = member("zeros")[0]
    header.size = 10**9
    bomb = squeezing.compress(header.tobuf(tarfile.GNU_FORMAT))
    bomb += b"".join(squeezing.compress(bytes(10**7)) for _ in range(10)) + squeezing.flush()

    found = Archive(
        write(tmp_path, oci_archive([bomb], [bomb])), limits=Limits(free_bytes=10**6, expansion=50)
    )

    assert "reading stopped" in str(found.contents.damage)
    assert found.contents.layers[0].size_bytes <= 10**9


def test_a_manifest_of_an_image_of_100_mb_is_refused_unread(tmp_path):
    with pytest.raises(ArchiveError, match=r"c0ffee\.json: it has 104,857,600 bytes"):
        _ = Archive(
            write(tmp_path, docker_archive([layer_of(GOOD)], b"{" + b" " * (100 * 2**20 - 1)))
        ).facts
    (tmp_path / "image.tar").unlink()


def test_too_many_members_are_refused(tmp_path):
    content = tar_of(*(member(f"m{n}") for n in range(300)))

    with pytest.raises(ArchiveError, match="more than 200 members"):
        _ = Archive(write(tmp_path, content), limits=Limits(members=200)).facts


def test_names_that_would_fill_memory_are_refused(tmp_path):
    layer = layer_of({f"f{n}": b"" for n in range(500)})

    found = Archive(write(tmp_path, docker_archive([layer])), limits=Limits(index_bytes=50_000))

    assert "more than 50,000 bytes of memory" in str(found.contents.damage)


def judged_apart(path: Path) -> tuple[dict[str, list[str]], float]:
    """Verify in a process of its own; return verdicts by rule, and its peak memory in MB."""
    code = (
        "import json, re, sys\n"
        "from pathlib import Path\n"
        "from custom_image.verification import verify\n"
        "report = verify(sys.argv[1], level='static')\n"
        "status = Path('/proc/self/status').read_text()\n"
        "peak = int(re.search(r'VmHWM:\\s*(\\d+)', status)[1]) / 1000\n"
        "checks = {c.id: [c.verdict, c.measured] for c in report.checks}\n"
        "print(json.dumps([checks, peak]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        env={"TQDM_DISABLE": "1", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    checks, peak_mb = json.loads(done.stdout)
    return checks, peak_mb


def test_a_config_of_100_mb_in_the_image_is_a_verdict_in_little_memory(tmp_path):
    config = b'{"apis": [' + b'{"url": "/"},' * (8 * 2**20) + b"]}"
    layer = layer_of(GOOD | {"home/ma-user/infer/model/1/config.json": config})

    path = write(tmp_path, docker_archive([layer]))
    del layer
    checks, peak_mb = judged_apart(path)
    path.unlink()

    verdict, measured = checks["config.valid"]
    assert verdict == "FAILED"
    assert f"{len(config):,} bytes" in measured
    assert peak_mb < MEMORY_MB


@pytest.mark.parametrize("thousands", [200, pytest.param(1000, marks=pytest.mark.true_time)])
def test_a_layer_of_a_million_files_is_judged_in_little_memory(thousands, tmp_path):
    """A fifth of them shows what each costs: at most what is left for a million."""
    blank = bytearray(member("d/f0000000")[0].tobuf(tarfile.GNU_FORMAT))
    blank[148:156] = b" " * 8
    blank[:10] = bytes(10)
    base = sum(blank)
    squeezing = zlib.compressobj(1, zlib.DEFLATED, 31)
    parts = []
    for thousand in range(thousands):
        headers = bytearray()
        for number in range(1000 * thousand, 1000 * thousand + 1000):
            name = b"d/f%07d" % number
            blank[:10], blank[148:156] = name, b"%06o\0 " % (base + sum(name))
            headers += blank
        parts.append(squeezing.compress(headers))
    packed = b"".join([*parts, squeezing.compress(bytes(1024)), squeezing.flush()])

    checks, peak_mb = judged_apart(write(tmp_path, oci_archive([b""], [packed])))

    assert checks["layers.unpack"] == ["PASSED", f"1 layers, {1000 * thousands:,} entries"]
    assert checks["boot.file"][0] == "FAILED"
    assert peak_mb < EMPTY_MB + (MEMORY_MB - EMPTY_MB) * thousands / 1000


def test_gzip_members_after_each_other_are_one_layer(tmp_path):
    layer = layer_of(GOOD)
    packed = gzip.compress(layer[:700]) + gzip.compress(layer[700:]) + bytes(64)

    found = Archive(write(tmp_path, oci_archive([layer], [packed])))

    assert found.find_file("/home/run.sh").content == GOOD["home/run.sh"]
