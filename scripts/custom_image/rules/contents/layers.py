"""Layers as an engine has to unpack them."""

from __future__ import annotations

from typing import Final

from custom_image.rules import (
    ALL_PROFILES,
    Context,
    Finding,
    Needs,
    Severity,
    failed,
    passed,
    rule,
    warned,
)
from custom_image.specification import Source

LAYER_FORMAT: Final = Source(
    "OCI image specification: layers",
    "https://github.com/opencontainers/image-spec/blob/main/layer.md",
)


@rule(
    id="layers.unpack",
    title="Every layer can be unpacked, and stays inside the image",
    why="An engine refuses to load a layer that is damaged, or whose names lead out of it.",
    severity=Severity.ERROR,
    profiles=ALL_PROFILES,
    needs=Needs.IMAGE | Needs.CONTENTS,
    expected="whole, with names below the root",
    source=LAYER_FORMAT,
    remediation="Save or build the image again, and find out who wrote the names in the evidence.",
    good="home/run.sh",
    bad="../../etc/cron.d/job",
)
def unpack(context: Context) -> Finding:
    """Read every layer once; nothing is written, and no link is followed out of the image."""
    contents = context.contents
    faults = [str(fault) for fault in contents.faults]
    if contents.damage is not None:
        first, *remediation = str(contents.damage).splitlines()
        return failed(first, "\n".join([first, *faults]), " ".join(remediation))
    if any(fault.is_grave for fault in contents.faults):
        first = next(str(fault) for fault in contents.faults if fault.is_grave)
        return failed(first, "\n".join(faults))
    if faults:
        return warned(faults[0], "\n".join(faults), "Of equal names in one layer the last counts.")
    count = sum(layer.files for layer in contents.layers)
    return passed(f"{len(contents.order)} layers, {count:,} entries")
