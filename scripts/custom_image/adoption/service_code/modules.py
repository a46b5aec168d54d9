"""The code of a package, read and never run: which files it consists of, what it imports."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Final

from custom_image.adoption.known_packages import DISTRIBUTIONS
from custom_image.errors import PackageError
from custom_image.python_source import parse_source

SERVICE_NAME: Final = "customize_service.py"
# The modules that the platform's images bring; the runtime in the image has them.
PLATFORM_MODULES: Final = frozenset(
    {
        *("model_service", "log", "metric", "error_code", "utils", "settings", "model_def", "mms"),
    }
)
# Names under which the package itself is imported: it lies in a folder called model.
_OWN_NAMES: Final = ("model", "model_package")


@dataclass(frozen=True)
class Module:
    """One file that the service consists of."""

    name: str
    tree: ast.Module

    def place(self, node: ast.AST) -> str:
        """Return where a node stands, for messages."""
        return f"{self.name}, line {getattr(node, 'lineno', 1)}"


@dataclass(frozen=True)
class Import:
    """A module that the code imports, and that no file of the package is.

    Attributes:
        module: its top-level name.
        place: where: ``customize_service.py, line 3``.
        optional: whether the code goes on without it: it stands in a ``try``.
        at_import: whether it surely happens when the file is imported: not in a function, no `if`.
    """

    module: str
    place: str
    optional: bool
    at_import: bool


@dataclass(frozen=True)
class Code:
    """All files that ``customize_service.py`` leads to, and what they import."""

    modules: tuple[Module, ...]
    imports: tuple[Import, ...]

    @property
    def service(self) -> Module:
        """``customize_service.py`` itself."""
        return self.modules[0]


def read_code(folder: Path, files: list[str]) -> Code:
    """Follow the imports from ``customize_service.py``; files that nothing imports stay unread.

    Raises:
        PackageError: a file that is imported is no Python 3; with its line and what to do.
    """
    reader = _Reader(folder, files)
    reader.follow(SERVICE_NAME, optional=False)
    return Code(tuple(reader.modules.values()), tuple(reader.imports.values()))


class _Reader:
    def __init__(self, folder: Path, files: list[str]) -> None:
        self._folder = folder
        self._files = set(files)
        python = [PurePosixPath(name) for name in files if name.endswith(".py")]
        # Wherever in the package a module lies: the code may add that folder to its path.
        self._anywhere: dict[str, list[PurePosixPath]] = {}
        for path in python:
            for depth, part in enumerate(path.parts):
                name = part.removesuffix(".py")
                root = PurePosixPath(*path.parts[:depth])
                if root not in self._anywhere.setdefault(name, []):
                    self._anywhere[name].append(root)
        self.modules: dict[str, Module] = {}
        self.imports: dict[tuple[str, bool], Import] = {}
        self._seen: set[str] = set()

    def follow(self, name: str, *, optional: bool, certain: bool = True) -> None:
        """Read a file and those that it imports; one that is not certain may be no Python."""
        if name in self._seen:
            return
        self._seen.add(name)
        try:
            tree = parse_module((self._folder / name).read_bytes(), name)
        except PackageError:
            if certain and not optional:
                raise
            return
        module = Module(name, tree)
        self.modules[name] = module
        for found in _imports(tree, top=True, optional=optional):
            self._take(found, module)

    def _take(self, found: _Found, module: Module) -> None:
        folder = PurePosixPath(module.name).parent
        if found.level:
            base = folder
            for _ in range(found.level - 1):
                base = base.parent
            self._local(base, found, optional=found.optional)
            return
        parts = found.name.split(".")
        roots = [PurePosixPath(), folder]
        if parts[0] in _OWN_NAMES and not self._is_here(PurePosixPath(), parts[0]):
            found = replace(found, name=".".join(parts[1:]))
            self._local(PurePosixPath(), found, optional=found.optional)
            return
        if parts[0] in PLATFORM_MODULES and not self._is_here(PurePosixPath(), parts[0]):
            return
        for root in roots:
            if self._is_here(root, parts[0]):
                self._local(root, found, optional=found.optional)
                return
        if parts[0] in sys.stdlib_module_names or parts[0] == "__future__":
            return
        elsewhere = self._anywhere.get(parts[0])
        if elsewhere and parts[0] not in DISTRIBUTIONS:
            # Reached by sys.path or not at all.
            self._local(elsewhere[0], found, optional=found.optional, certain=False)
            return
        key = (parts[0], found.optional)
        place = module.place(found.node)
        self.imports.setdefault(key, Import(parts[0], place, found.optional, found.at_import))

    def _is_here(self, root: PurePosixPath, name: str) -> bool:
        return (
            str(root / f"{name}.py") in self._files
            or str(root / name / "__init__.py") in self._files
            or root in self._anywhere.get(name, ())
        )

    def _local(
        self, root: PurePosixPath, found: _Found, *, optional: bool, certain: bool = True
    ) -> None:
        """Follow a dotted name below a folder of the package, and what is imported from it."""
        path = root
        for part in [part for part in found.name.split(".") if part]:
            path = path / part
            for candidate in (f"{path}/__init__.py", f"{path}.py"):
                if candidate in self._files:
                    self.follow(candidate, optional=optional, certain=certain)
                    break
        for member in found.members:
            for candidate in (f"{path / member}/__init__.py", f"{path / member}.py"):
                if candidate in self._files:
                    self.follow(candidate, optional=optional, certain=certain)


@dataclass(frozen=True)
class _Found:
    """One import statement: a dotted name, what is imported from it, and how surely."""

    name: str
    node: ast.AST
    members: tuple[str, ...] = ()
    level: int = 0
    optional: bool = False
    at_import: bool = True


def _imports(node: ast.AST, *, top: bool, optional: bool) -> Iterator[_Found]:
    """Yield the imports below a node, but for those that only run elsewhere."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield _Found(alias.name, child, optional=optional, at_import=top)
        elif isinstance(child, ast.ImportFrom):
            members = tuple(alias.name for alias in child.names)
            name = child.module or ""
            yield _Found(
                name, child, members=members, level=child.level, optional=optional, at_import=top
            )
        elif isinstance(child, ast.Try | ast.TryStar):
            guarded = optional or _catches_import_errors(child)
            for part in child.body:
                yield from _imports(_wrap(part), top=top, optional=guarded)
            for handler in child.handlers:
                yield from _imports(handler, top=top, optional=True)
            for part in [*child.orelse, *child.finalbody]:
                yield from _imports(_wrap(part), top=top, optional=optional)
        elif isinstance(child, ast.If) and (skipped := _runs_elsewhere(child.test)) is not None:
            for part in child.orelse if skipped else child.body:
                yield from _imports(_wrap(part), top=top, optional=optional)
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.If):
            yield from _imports(child, top=False, optional=optional)
        else:
            if isinstance(child, ast.Call) and (name := _called_import(child)):
                yield _Found(name, child, optional=optional, at_import=top)
            yield from _imports(child, top=top, optional=optional)


def _wrap(statement: ast.stmt) -> ast.Module:
    return ast.Module(body=[statement], type_ignores=[])


def _catches_import_errors(node: ast.Try | ast.TryStar) -> bool:
    names = {"ImportError", "ModuleNotFoundError", "Exception", "BaseException"}
    for handler in node.handlers:
        kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
        if any(kind is None or ast.unparse(kind) in names for kind in kinds):
            return not any(isinstance(part, ast.Raise) for part in handler.body)
    return False


def _runs_elsewhere(test: ast.expr) -> bool | None:
    """Return True for `if TYPE_CHECKING` and `if __name__ == "__main__"`; None for others."""
    text = ast.unparse(test)
    if text.rpartition(".")[2] == "TYPE_CHECKING":
        return True
    if "__name__" in text and "__main__" in text and isinstance(test, ast.Compare):
        return isinstance(test.ops[0], ast.Eq)
    return None


def _called_import(call: ast.Call) -> str:
    """Return the name in `importlib.import_module("x")` and `__import__("x")`."""
    called = ast.unparse(call.func).rpartition(".")[2]
    first = call.args[0] if call.args else None
    if called in ("import_module", "__import__") and isinstance(first, ast.Constant):
        return first.value if isinstance(first.value, str) else ""
    return ""


def parse_module(content: bytes, name: str) -> ast.Module:
    """Return the tree of a file.

    Raises:
        PackageError: it is no Python 3; with its line and what to do.
    """
    for number, line in enumerate(content.split(b"\n"), 1):
        if line.startswith((b"<<<<<<< ", b">>>>>>> ")) or line.rstrip() in (b"<<<<<<<", b">>>>>>>"):
            raise PackageError(
                f"{name}, line {number}: is the marker of a merge that was not finished.\n"
                "Decide which of the two sides is meant, and remove the other and the markers."
            )
    try:
        return parse_source(content, name)
    except SyntaxError as error:
        raise PackageError(_explain(content, name, error)) from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise PackageError(
            f"{name}, line 1: is no Python ({error}).\n"
            "The service imports it; put the source there as text in UTF-8."
        ) from error


def _explain(content: bytes, name: str, error: SyntaxError) -> str:
    line = error.lineno or 1
    text = (error.text or "").strip()
    message = error.msg
    advice = "Correct that line; the service imports this file."
    if "Missing parentheses in call to" in message or "print" in text.split("(")[0].split():
        message, advice = "is Python 2", "Rewrite the file for Python 3 (`python3 -m lib2to3 -w`)."
    elif isinstance(error, TabError):
        advice = "Indent with blanks alone: `expand -t 4`."
    elif "null byte" in message or b"\0" in content:
        advice = "Save the file as text in UTF-8."
    elif "codec can't decode" in message or "encoding" in message or "unknown encoding" in message:
        advice = "Save the file in UTF-8."
    elif "invalid non-printable character" in message or "invalid character" in message:
        advice = "The line was pasted from a document; type that character again."
    shown = f": {text[:60]}" if text else ""
    return f"{name}, line {line}: {message}{shown}\n{advice}"
