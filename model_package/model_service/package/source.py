"""The source of a model package, read and never run.

Only what ``customize_service.py`` leads to by its imports counts: a training script that lies
beside it says nothing of the service.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

SERVICE_FILE = "customize_service.py"

_WRITING_MODE = re.compile(r"[rbt]*[wax+][rbt+]*")
_WRITING_METHODS = frozenset(
    {"copy2", "copyfile", "copyfileobj", "extractall", "imsave", "imwrite", "makedirs", "mkdir"}
    | {"rename", "save", "savefig", "savetxt", "savez", "to_csv", "to_excel", "tofile"}
    | {"write_bytes", "write_text", "VideoWriter"}
)
_PROGRAMS = frozenset({"Popen", "call", "check_call", "check_output", "run", "system"})
_SHARED_PLACES = re.compile(r"/(?:tmp|home|cache|var|opt|root|data|mnt|dev/shm)/\S*")
_OPENS_PICTURES = re.compile(r"\bImage\.open\(|\bimdecode\(|\bimread\(|\bload_image\(|\bload_img\(")


class PackageCode:
    """The sources of a package that its service reaches.

    Attributes:
        text: all of them.
    """

    def __init__(self, folder: Path) -> None:
        self.text = ""
        self._calls: list[ast.Call] = []
        self._strings: list[str] = []
        seen: set[Path] = set()
        waiting = [folder / SERVICE_FILE]
        while waiting:
            path = waiting.pop()
            if path in seen:
                continue
            seen.add(path)
            try:
                content = path.read_bytes()
                tree = ast.parse(content)
            except (OSError, SyntaxError, ValueError, RecursionError):
                continue  # whoever imports it meets that, and says so in health
            self.text += content.decode("utf-8", "replace")
            for node in ast.walk(tree):
                if isinstance(node, ast.Call):
                    self._calls.append(node)
                elif isinstance(node, (ast.Import, ast.ImportFrom)):
                    waiting += _find_imported(node, path, folder)
                text = _text_of(node)
                if text is not None:
                    self._strings.append(text)

    @property
    def of_tensorflow(self) -> bool:
        """Whether it was written for the platform's TensorFlow images, which have it elsewhere."""
        return "tfserving_model_service" in self.text

    @property
    def opens_pictures(self) -> bool:
        """Whether it opens a picture."""
        return bool(_OPENS_PICTURES.search(self.text))

    @property
    def writes_files(self) -> bool:
        """Whether a call of it looks like one that writes a file."""
        return any(_may_write(call) for call in self._calls)

    @property
    def shared_place(self) -> str:
        """A path that is the same for every worker; empty where the code names none."""
        found = (text for text in self._strings if _SHARED_PLACES.fullmatch(text))
        return next(found, "")

    def says(self, word: str) -> bool:
        """Whether a word stands anywhere in the code."""
        return word in self.text


def _find_imported(node: ast.Import | ast.ImportFrom, path: Path, folder: Path) -> Iterator[Path]:
    """Yield the files of the package that an import may lead to."""
    if isinstance(node, ast.Import):
        names, bases = [alias.name for alias in node.names], [folder, path.parent]
    else:
        module = node.module or ""
        names = [module, *(f"{module}.{alias.name}".strip(".") for alias in node.names)]
        above = path.parents[node.level - 1] if 0 < node.level <= len(path.parents) else folder
        bases = [above] if node.level else [folder, path.parent]
    for name in filter(None, names):
        parts = name.split(".")
        if parts[0] == "model" and not (folder / "model").exists():
            parts = parts[1:]  # on the platform the package's own folder is called so
        for base in bases:
            for last in range(1, len(parts) + 1):
                place = base.joinpath(*parts[:last])
                for file in (place.with_suffix(".py"), place / "__init__.py"):
                    if file.is_file():
                        yield file


def _may_write(call: ast.Call) -> bool:
    function = call.func
    name = getattr(function, "attr", None) or getattr(function, "id", "")
    if name == "open":
        modes = [*call.args[:2], *(k.value for k in call.keywords if k.arg == "mode")]
        return any(_WRITING_MODE.fullmatch(_text_of(mode) or "") for mode in modes)
    owner = getattr(getattr(function, "value", None), "id", "")
    if name in ("replace", "move", "copy"):
        return owner in ("os", "shutil")
    if name in _PROGRAMS:
        return owner in ("os", "subprocess")
    return name in _WRITING_METHODS


def _text_of(node: ast.AST) -> str | None:
    """Return the text of a string; Python 3.7 has a node of its own for it."""
    kind = type(node).__name__
    value = getattr(node, "value" if kind == "Constant" else "s", None)
    return value if kind in ("Constant", "Str") and isinstance(value, str) else None
