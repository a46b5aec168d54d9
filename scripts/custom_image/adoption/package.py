"""A foreign model package to one for a custom image: read, never run, and never changed itself."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any, Final

from packaging.utils import canonicalize_name

from custom_image.adoption.changes import (
    Change,
    ChangeLog,
    Kind,
    as_documents,
    as_html,
    as_text,
)
from custom_image.adoption.config_json.config import CONFIG_NAME, correct_config
from custom_image.adoption.dependencies import (
    REQUIREMENTS_NAME,
    Bound,
    Dependencies,
    Dependency,
)
from custom_image.adoption.known_packages import DISTRIBUTIONS, TORCH_LOADS_PICKLES, brings
from custom_image.adoption.service_code import checks, removed_names, weights
from custom_image.adoption.service_code.modules import SERVICE_NAME, Code, Import, read_code
from custom_image.build_context.files import engine_of, list_files
from custom_image.errors import PackageError
from custom_image.model_config import read_model_config
from custom_image.model_package import ModelPackage

LARGE_BYTES: Final = 100 * 10**6
PACKAGES_FOLDER: Final = Path("build/packages")
# A folder of one of these names says nothing of what is in it.
_GENERIC_NAMES: Final = ("model", "package", "1", "src")
_INNER_FOLDERS: Final = ("model", "model/1", "1")


@dataclass(frozen=True, repr=False)
class AdoptedPackage(ModelPackage):
    """A foreign package, made into one for a custom image.

    Attributes:
        source: the folder that somebody brought; it stays as it is.
        requirements: what its author says that it needs, each once, before anything is resolved.
        imports: what its code imports besides, and nothing declares: added from a kept table.
        bounds: versions that still have the names which the code uses, such as ``numpy<1.24``.
        unknown: imports that nothing declares and no table knows; they are never fetched.
        changes: what was changed, guessed or left out, each with its reason.
    """

    source: Path = Path()
    requirements: tuple[Dependency, ...] = ()
    imports: tuple[Dependency, ...] = ()
    bounds: tuple[Bound, ...] = ()
    unknown: tuple[Import, ...] = ()
    code: Code | None = field(default=None, compare=False)
    changes: tuple[Change, ...] = ()

    @property
    def messages(self) -> tuple[str, ...]:
        """Each change as one sentence."""
        return tuple(str(change) for change in self.changes)

    @property
    def warnings(self) -> tuple[Change, ...]:
        """Those of the changes that want somebody's eye."""
        return tuple(change for change in self.changes if change.kind is Kind.WARNING)

    def __str__(self) -> str:
        return "\n".join(part for part in (self._title(), as_text(self.changes)) if part)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return f"<p>{escape(self._title())}</p>{as_html(self.changes)}"

    def _title(self) -> str:
        if not self.changes:
            return f"{self.folder}: as {self.source}; nothing had to be changed"
        return f"{self.folder}: {self.source} for a custom image; {len(self.changes)} notes"

    def to_json(self) -> str:
        """Return it for other programs."""
        document: dict[str, Any] = {
            "source": str(self.source),
            "folder": str(self.folder),
            "requirements": [line.text for line in self.requirements],
            "imports": [line.text for line in self.imports],
            "bounds": [line.text for line in self.bounds],
            "unknown_imports": sorted({found.module for found in self.unknown}),
            "changes": as_documents(self.changes),
            "config": json.loads(self.config.to_json()),
        }
        return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def package_folder(
    source: str | Path, *, strict: bool = False, folder: str | Path | None = None
) -> AdoptedPackage:
    """Make of a foreign package one for a custom image; the source is read, and stays as it is.

    Args:
        source: holds ``customize_service.py``, as it ran on a preset engine.
        strict: take nothing but a config.json that is valid, and leave it as it is.
        folder: gets the package as its folder ``model``; below ``build/packages`` where not told.

    Raises:
        PackageError: it cannot be served, or read; with file, line and what to do.
    """
    source, log = _find_source(Path(source)), ChangeLog()
    name = source.name if source.name not in _GENERIC_NAMES else source.absolute().parent.name
    target = (Path(folder) if folder else PACKAGES_FOLDER / (name or "package")) / "model"
    files = list_files(source)
    if SERVICE_NAME not in files:
        raise PackageError(_no_service(source, files))
    code = read_code(source, files)
    checks.check_service(code, str(source / SERVICE_NAME))

    content = (source / CONFIG_NAME).read_bytes() if CONFIG_NAME in files else None
    if strict:
        config = read_model_config(source / CONFIG_NAME)
        corrected_changes: tuple[Change, ...] = ()
        blocks = None
    else:
        corrected = correct_config(content, str(source / CONFIG_NAME), checks.find_inputs(code))
        config, blocks, corrected_changes = (
            corrected.config,
            corrected.dependencies,
            corrected.changes,
        )
    declared = _declared(source, files, blocks, code, log)
    added, unknown = _undeclared(code, files, declared, log)
    bounds = _bounds(code, weights.holds_more_than_tensors(source, files))
    checks.note_constructor(code, log)
    checks.note_dangers(code, log)
    weights.note_pickles(source, files, log)
    text = None if strict else config.to_json()
    _write(source, files, target, text, (*declared, *added))
    return AdoptedPackage(
        folder=target,
        config=read_model_config(target / CONFIG_NAME),
        export=None,
        source=source,
        requirements=declared,
        imports=added,
        bounds=bounds,
        unknown=unknown,
        code=code,
        changes=(*corrected_changes, *log.changes),
    )


def _find_source(folder: Path) -> Path:
    """Return the folder that holds the service: the one that was named, or one below it."""
    if not folder.is_dir():
        raise PackageError(
            f"{folder}: expected the folder of a model package, found none.\n"
            f"It holds {SERVICE_NAME}, {CONFIG_NAME} and the weights."
        )
    if not (folder / SERVICE_NAME).is_file():
        for inner in _INNER_FOLDERS:
            if (folder / inner / SERVICE_NAME).is_file():
                return folder / inner
    return folder


def _no_service(source: Path, files: list[str]) -> str:
    near = [n for n in files if re.search(r"(customi[sz]e|service|infer)\w*\.py$", n.lower())]
    hint = (
        f"{near[0]} may be it: give it that name, beside {CONFIG_NAME}."
        if near
        else "Derive a class from SingleNodeService there; model_package/README.md tells how."
    )
    return f"{source}: expected {SERVICE_NAME}, found none.\n{hint}"


def _declared(
    source: Path, files: list[str], blocks: Any, code: Code, log: ChangeLog
) -> tuple[Dependency, ...]:
    dependencies = Dependencies(files, log)
    if blocks:
        dependencies.add_blocks(blocks)
        if REQUIREMENTS_NAME in files:
            why = f"the dependencies of {CONFIG_NAME} count; the file where there are none"
            log.add(Kind.DROPPED, REQUIREMENTS_NAME, why)
    elif REQUIREMENTS_NAME in files:
        dependencies.add_file(source)
        if dependencies.lines:
            why = f"no dependencies are declared in {CONFIG_NAME}, so that this file counts"
            log.add(
                Kind.READ, REQUIREMENTS_NAME, why, ", ".join(d.text for d in dependencies.lines)
            )
    if blocks and dependencies.lines:
        why = "the platform installs nothing into a custom image; the build does"
        lines = ", ".join(line.text for line in dependencies.lines)
        log.add(Kind.MOVED, f"{CONFIG_NAME}: dependencies", why, lines, REQUIREMENTS_NAME)
    for place, command in checks.installs(code):
        dependencies.add_installed(command, place)
    return dependencies.lines


def _undeclared(
    code: Code, files: list[str], declared: tuple[Dependency, ...], log: ChangeLog
) -> tuple[tuple[Dependency, ...], tuple[Import, ...]]:
    """Return the requirements that imports ask for, and the imports that nobody knows."""
    added: dict[str, Dependency] = {}
    unknown = []
    has_onnx = any(name.endswith(".onnx") for name in files)
    engines = checks.engines_of_bases(code, has_onnx=has_onnx)
    for found in (*code.imports, *engines):
        if any(brings(found.module, line.name) for line in declared):
            continue
        if found.module not in DISTRIBUTIONS:
            unknown.append(found)
            if not declared and not found.optional:
                why = "nothing declares what brings it, and an unknown name is never fetched"
                log.add(Kind.WARNING, found.place, why, f"import {found.module}")
            continue
        is_other_engine = has_onnx and found.module == "torch" and engine_of(files) == "onnx"
        if found.optional or (is_other_engine and not found.at_import):
            continue
        name = DISTRIBUTIONS[found.module][0]
        if name.startswith("opencv") and checks.shows_a_window(code):
            name = "opencv-python"
        if name not in added:
            added[name] = Dependency(name, found.place, str(canonicalize_name(name)))
            why = f"is imported, and nothing declares it: {found.module}"
            log.add(Kind.ADDED, found.place, why, "", name)
    return tuple(added.values()), tuple(unknown)


def _bounds(code: Code, pickled: str) -> tuple[Bound, ...]:
    """Return the versions that still have the names which the code uses, and load its weights."""
    bounds: dict[tuple[str, bool], Bound] = {}
    for _, bound in removed_names.removed_names(code):
        bounds.setdefault((bound.text, bound.certain), bound)
    for file in code.modules:
        if pickled and (node := removed_names.loads_any_pickle(file)):
            text = f"torch{TORCH_LOADS_PICKLES}"
            origin = f"{file.place(node)}: torch.load of {pickled}, more than tensors"
            bounds.setdefault((text, True), Bound(text, origin, "torch"))
    return tuple(bounds.values())


def _write(
    source: Path, files: list[str], target: Path, config: str | None, lines: tuple[Dependency, ...]
) -> None:
    """Write the package, whole or not at all; equal inputs give equal bytes."""
    if target.resolve() == source.resolve() and (target.parent / ".adopted").is_file():
        return  # adopted before: adopting once more changes nothing
    if target.exists() and not (target.parent / ".adopted").is_file():
        raise PackageError(
            f"{target} is there, and no adopted package; it would be replaced.\n"
            "Name another folder, or remove it yourself."
        )
    if target.resolve().is_relative_to(source.resolve()) or source.resolve().is_relative_to(
        target.resolve()
    ):
        raise PackageError(
            f"{target} would lie within {source}, which stays as it is.\n"
            "Name the folder that somebody brought, not the one that was made of it."
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".model-", dir=target.parent))
    try:
        for name in files:
            _copy(source / name, scratch / name)
        if config is not None:
            (scratch / CONFIG_NAME).write_text(config, encoding="utf-8", newline="\n")
        if lines:
            text = "".join(f"{line.text}\n" for line in lines)
            (scratch / REQUIREMENTS_NAME).write_text(text, encoding="utf-8", newline="\n")
        elif REQUIREMENTS_NAME in files:
            (scratch / REQUIREMENTS_NAME).unlink()
        for path in (scratch, *scratch.rglob("*")):
            if path.is_dir():
                path.chmod(0o755)
            elif path.stat().st_nlink == 1:  # else it is the source's own
                path.chmod(0o644)
        shutil.rmtree(target, ignore_errors=True)
        scratch.rename(target)
        (target.parent / ".adopted").write_text(f"{source.resolve()}\n", encoding="utf-8")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.stat().st_size >= LARGE_BYTES:
        try:
            os.link(source, target)  # gigabytes of weights would be on this disk twice
            return
        except OSError:
            pass
    shutil.copyfile(source, target)
