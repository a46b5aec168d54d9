"""Images as files: read as streams, their layers laid upon each other as an engine does."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest
import zstandard
from image_archives import (
    docker_archive,
    gzipped,
    layer_of,
    member,
    oci_archive,
    oci_parts,
    tar_of,
    write,
)

from custom_image.errors import ArchiveError, UsageError
from custom_image.image_archive import Archive, read_saved
from custom_image.verification import verify

SKOPEO_LAYOUT = Path(__file__).parents[2] / "support" / "skopeo_layout"
BASE = layer_of(
    {
        "etc/passwd": b"root:x:0:0::/root:/bin/sh\n",
        "opt/old/a": b"a" * 1000,
        "opt/old/b": b"b" * 2000,
        "opt/app": b"first",
        "home/run.sh": b"#!/bin/sh\n",
    }
)
UPPER = layer_of({"opt/.wh.old": b"", "opt/app": b"second!", "home/new": b"n"})
LONG = "/".join(["directory"] * 20) + "/file"


def archive(tmp_path: Path, content: bytes) -> Archive:
    return Archive(write(tmp_path, content))


FORMS = ("docker", "docker.gz", "oci", "oci-gzip", "oci-zstd", "layout", "layout-gzip")


@pytest.fixture(params=FORMS)
def two_layers(request, tmp_path):
    """The same image in every form that is read."""
    layers, form = [BASE, UPPER], request.param
    if form.startswith("docker"):
        content = docker_archive(layers)
        return archive(tmp_path, gzipped(content) if form.endswith("gz") else content)
    pack = {"oci-zstd": zstandard.compress, "oci-gzip": gzipped, "layout-gzip": gzipped}
    packed = [pack.get(form, bytes)(layer) for layer in layers]
    if form.startswith("oci"):
        return archive(tmp_path, oci_archive(layers, packed))
    for name, content in oci_parts(layers, packed).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    return Archive(tmp_path)


def test_every_form_of_archive_says_the_same(two_layers):
    facts = two_layers.facts

    assert facts.command == ("sh", "/home/run.sh")
    assert (facts.os, facts.architecture, facts.user) == ("linux", "amd64", "1000:100")
    assert facts.history == (("COPY step 1 /", 3041), ("COPY step 2 /", 8))
    assert facts.size_bytes == 3049
    assert two_layers.contents.damage is None


def test_a_layout_that_skopeo_wrote_is_judged_like_any_other():
    report = verify(SKOPEO_LAYOUT, level="static")

    assert [check.id for check in report.checks if check.is_broken] == ["command.unbuffered"]
    assert report.check("layers.unpack").measured == "2 layers, 6 entries"
    assert report.check("waste.replaced").measured == "5,000 bytes"
    assert report.check("boot.file").measured == "/home/run.sh, 38 bytes, mode 755"
    assert report.check("config.valid").measured == "accepted: POST /"


def test_files_are_those_that_a_container_would_see(two_layers):
    assert two_layers.find_file("/opt/app").content == b"second!"
    assert two_layers.find_file("/opt/old/a") is None
    assert two_layers.find_file("/opt") is None
    run = two_layers.find_file("/home/run.sh")
    assert (run.content, run.mode, run.uid, run.gid) == (b"#!/bin/sh\n", 0o755, 1000, 100)


def test_what_a_later_layer_hides_is_counted_and_named(two_layers):
    contents = two_layers.contents

    assert contents.overlay.wasted_bytes == 3005
    waste = contents.largest_waste[0]
    assert (waste.path, waste.size_bytes) == ("/opt/old", 3000)
    assert contents.position(waste.layer) == "layer 1 (COPY step 1 /)"
    assert contents.position(waste.by_layer) == "layer 2 (COPY step 2 /)"


def test_an_engine_s_stream_is_read_while_it_arrives():
    content = docker_archive([BASE, UPPER])
    chunks = (content[start : start + 700] for start in range(0, len(content), 700))

    contents = read_saved("mnist:1", chunks, ())

    assert contents.sizes == [3041, 8]
    assert contents.overlay.wasted_bytes == 3005


def test_an_opaque_folder_hides_all_below_it(tmp_path):
    opaque = layer_of({"opt/.wh..wh..opq": b"", "opt/fresh": b"f"})

    found = archive(tmp_path, docker_archive([BASE, opaque]))

    assert found.find_file("/opt/app") is None
    assert found.find_file("/opt/fresh").content == b"f"
    assert found.contents.overlay.wasted_bytes == 3005


def test_links_are_followed_inside_the_image(tmp_path):
    links = tar_of(
        member("lib", type=tarfile.SYMTYPE, linkname="/usr/lib"),
        member("usr/lib/a", b"A"),
        member("usr/b", type=tarfile.SYMTYPE, linkname="../../../usr/lib/a"),
        member("usr/hard", type=tarfile.LNKTYPE, linkname="usr/lib/a"),
        member("loop", type=tarfile.SYMTYPE, linkname="loop"),
        member("etc/passwd", type=tarfile.SYMTYPE, linkname="/proc/self/environ"),
    )
    found = archive(tmp_path, docker_archive([links]))

    assert found.find_file("/lib/a").content == b"A"
    assert found.find_file("/usr/b").content == b"A"
    assert found.find_file("/usr/hard").content == b"A"
    assert found.find_file("/loop") is None
    assert found.find_file("/etc/passwd") is None


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_long_names_are_read_in_every_dialect(tmp_path, form):
    layer = tar_of(member(LONG, b"deep"), member("after", b"x"), form=form)

    found = archive(tmp_path, docker_archive([layer]))

    assert found.find_file(f"/{LONG}").content == b"deep"
    assert found.find_file("/after").content == b"x"


def test_a_layer_that_comes_twice_is_stored_once_as_a_link(tmp_path):
    content = tar_of(
        member("1/layer.tar", BASE),
        member("2/layer.tar", type=tarfile.SYMTYPE, linkname="../1/layer.tar"),
        member("c.json", b'{"architecture": "amd64", "os": "linux"}'),
        member("manifest.json", b'[{"Config":"c.json","Layers":["1/layer.tar","2/layer.tar"]}]'),
    )

    found = archive(tmp_path, content)

    assert found.facts.size_bytes == 2 * 3041
    assert found.contents.overlay.wasted_bytes == 0


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        (b"", "it is empty"),
        (b"#!/bin/sh\necho hello\n" * 100, "neither a tar file nor"),
        (BASE, "holds neither manifest.json nor index.json"),
        (gzipped(BASE), "not `docker export`"),
        (tar_of(member("manifest.json", b"[]")), "holds 0 images"),
    ],
    ids=["empty", "script", "exported", "exported.gz", "none"],
)
def test_what_is_no_archive_of_an_image_is_wrong_usage(tmp_path, content, hint):
    with pytest.raises(UsageError) as error:
        _ = archive(tmp_path, content).facts

    assert hint in str(error.value)
    assert len(str(error.value).splitlines()) <= 3


@pytest.mark.parametrize(
    ("parts", "hint"),
    [
        ({"manifest.json": b"{"}, "manifest.json: it is not JSON"),
        ({"manifest.json": b"{}"}, "manifest.json: expected a list"),
        ({"manifest.json": b"[{}]"}, "Config: Field required"),
        ({"manifest.json": b'[{"Config": "c.json", "Layers": []}]'}, "c.json: it is not there"),
        ({"index.json": b'{"manifests": [{"digest": "sha256:1"}]}'}, "blobs/sha256/1"),
        ({"index.json": b"[" * 100_000}, "index.json: it is not JSON"),
    ],
)
def test_a_damaged_manifest_is_named(tmp_path, parts, hint):
    with pytest.raises(ArchiveError) as error:
        _ = archive(tmp_path, tar_of(*(member(n, c) for n, c in parts.items()))).facts

    assert hint in str(error.value)
