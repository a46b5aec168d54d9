"""Archives that real tools write, beside the engine that they came from."""

from __future__ import annotations

import pytest
import skopeo
from broken_images import derive

from custom_image.report import Verdict
from custom_image.rules import Level, Needs, catalogue
from custom_image.verification import verify

STATIC = [rule.id for rule in catalogue() if rule.level is Level.STATIC]
LARGE_CONFIG = (
    "RUN { printf '{\"apis\": ['; head -c 100000000 /dev/zero | tr '\\0' 1; printf ']}'; } "
    ">/home/ma-user/infer/model/1/config.json"
)


@pytest.fixture(scope="module")
def saved(docker_engine, tiny_image, tmp_path_factory):
    """The tiny image as the engine saves it; removed afterwards, for it is large."""
    path = tmp_path_factory.mktemp("saved") / "tiny.tar"
    with path.open("wb") as file:
        for chunk in docker_engine.save(tiny_image.reference):
            file.write(chunk)
    yield path
    path.unlink()


def test_an_archive_gets_the_verdicts_of_the_image_that_was_saved(docker_engine, tiny_image, saved):
    image = verify(tiny_image.reference, engine=docker_engine, level="static", only=STATIC)
    archive = verify(saved, level="static", only=STATIC)

    assert [(c.id, c.verdict) for c in archive.checks] == [(c.id, c.verdict) for c in image.checks]
    for rule in ("config.valid", "layers.unpack", "boot.file", "secrets.files", "waste.replaced"):
        assert archive.check(rule).measured == image.check(rule).measured
        assert archive.check(rule).verdict is Verdict.PASSED


def test_the_image_is_as_large_as_its_engine_says(docker_engine, tiny_image, saved):
    from custom_image.image_archive import Archive

    engine_bytes = docker_engine.inspect(tiny_image.reference).size_bytes
    assert Archive(saved).facts.size_bytes == pytest.approx(engine_bytes, rel=0.001)


@pytest.mark.true_time
def test_an_oci_archive_that_skopeo_wrote_gets_the_same_verdicts(saved, tmp_path):
    """With gzip layers, as podman and buildah write them, too: all three share that code."""
    path = tmp_path / "tiny-oci.tar"
    try:
        skopeo.copy(f"docker-archive:{saved}", f"oci-archive:{path}")
    except skopeo.NoSkopeo as error:
        pytest.skip(str(error))

    ours = verify(saved, level="static", only=STATIC)
    theirs = verify(path, level="static", only=STATIC)
    path.unlink()

    assert [(c.id, c.verdict) for c in theirs.checks] == [(c.id, c.verdict) for c in ours.checks]
    for rule in ("config.valid", "layers.unpack", "boot.file", "secrets.files", "waste.replaced"):
        assert theirs.check(rule).measured == ours.check(rule).measured
        assert theirs.check(rule).verdict is Verdict.PASSED


def test_a_config_of_100_mb_in_an_image_is_a_verdict(docker_engine, tiny_image):
    name = f"custom-image/tests:large-config-{docker_engine.run_id}"
    image = derive(docker_engine, tiny_image.reference, (LARGE_CONFIG,), name)
    try:
        metadata = [rule for rule in STATIC if not _reads_layers(rule)]
        report = verify(image, engine=docker_engine, level="static", only=metadata)
    finally:
        docker_engine.remove_image(image)

    check = report.check("config.valid")
    assert check.verdict is Verdict.FAILED
    assert "100,000,012 bytes" in check.measured


def _reads_layers(rule_id: str) -> bool:
    return any(rule.id == rule_id and Needs.CONTENTS in rule.needs for rule in catalogue())
