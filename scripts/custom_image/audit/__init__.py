"""Audit before saving an instance: what the image would carry along, and what it would lose.

``findings`` is what it finds, ``walking`` a folder as it is, ``files`` what a file means for a
save, ``packages`` Python packages against their lock and the layers so far, ``removing`` the option
``--fix``, ``searching`` what of it is in the layers after the save.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from custom_image.audit.files import judge_lost, judge_saved
from custom_image.audit.findings import Audit, Finding, NotAudited, remove
from custom_image.audit.layers import Carried, search_layers
from custom_image.audit.packages import PACKAGES, count_layers, find_drift, judge_layers
from custom_image.audit.walk import Place, walk
from custom_image.errors import UsageError

__all__ = ["Audit", "Carried", "Finding", "audit_folder", "search_layers"]


def audit_folder(
    folder: Path,
    *,
    lost: Collection[Path] = (),
    keep: Collection[Path] = (),
    packages: Mapping[str, str] | None = None,
    lock: Path | None = None,
    added: Collection[str] = (),
    python: str = "python3",
    in_container: bool = False,
    fix: bool = False,
) -> Audit:
    """Look through what would be saved.

    Args:
        folder: the home directory: all below it is saved but ``work`` and what is mounted there.
        lost: further folders that a save loses, such as ``/cache``.
        keep: what the user wants to keep: never reported as waste, never removed.
        packages: versions by name in the Python that will serve; None where it is not known.
        lock: the requirements they should be; None where there are none.
        added: the names of those packages that the image did not bring.
        python: that Python, for the commands that fix.
        in_container: whether the layers of this very file system are the instance's.
        fix: remove what is safe to remove, and tell what was.

    Raises:
        UsageError: ``folder`` is no folder, or a file that is named is not there.
    """
    if not folder.is_dir():
        raise UsageError(
            f"{folder} is no folder that could be audited.\n"
            "Name a home directory, such as /home/ma-user."
        )
    kept = {Place.of(path).path for path in keep}
    work = folder / "work"
    findings: list[Finding] = []
    not_audited: list[NotAudited] = []
    saved = list(walk(folder, stop_at=[work, *lost, *keep], not_audited=not_audited))
    weights = [place for place in saved if place.is_model_of(folder)]
    findings += judge_saved(saved, folder)
    for place in (work, *lost):
        if place.is_dir():
            inside = walk(place, stop_at=keep, not_audited=not_audited)
            findings += judge_lost(inside, place, weights, folder)
    if packages is None or lock is None:
        not_audited.append(NotAudited(PACKAGES, "the Python that will serve is not known here"))
    else:
        findings += find_drift(packages, lock, python, added)
    layers = count_layers() if in_container else 0
    if layers:
        findings += judge_layers(layers)
    else:
        not_audited.append(NotAudited("layers", "this is not the file system of an instance"))
    findings = [finding for finding in findings if finding.raw not in kept]
    if fix:
        findings = [remove(finding) if finding.is_safe else finding for finding in findings]
    order = sorted(findings, key=lambda finding: (finding.kind, -finding.size_bytes, finding.path))
    return Audit(str(folder), tuple(order), tuple(dict.fromkeys(not_audited)), layers)
