"""Display of a build context and its files."""

from __future__ import annotations

import io
from dataclasses import dataclass
from html import escape
from pathlib import PurePosixPath

_LEXERS = {".py": "python", ".json": "json", ".sh": "bash"}


class SourceText(str):
    """The text of a file; highlighted in Jupyter, plain text everywhere else."""

    __slots__ = ("name",)
    name: str

    def __new__(cls, text: str, name: str) -> SourceText:
        """Keep the name of the file, which says its language."""
        source = super().__new__(cls, text)
        source.name = name
        return source

    def _repr_html_(self) -> str:
        from rich.console import Console
        from rich.syntax import Syntax

        path = PurePosixPath(self.name)
        language = _LEXERS.get(path.suffix, "docker" if path.name == "Dockerfile" else "text")
        console = Console(record=True, file=io.StringIO(), width=120, force_jupyter=False)
        console.print(Syntax(str(self), language, theme="xcode", background_color="default"))
        # A light card of its own: the letters are dark whatever the page is.
        form = (
            "<pre style='background:#fff;border:1px solid #d0d7de;color:#1a202c;padding:.8em;"
            "overflow-x:auto;font-family:monospace;font-size:85%;line-height:1.35'>{code}</pre>"
        )
        return console.export_html(inline_styles=True, code_format=form)


@dataclass(frozen=True)
class Line:
    """One line of a tree: a file, or a folder with all that is in it."""

    name: str
    depth: int
    size_bytes: int
    note: str


def tree_text(title: str, lines: list[Line]) -> str:
    """Return a tree for a terminal."""
    names = ["  " * line.depth + line.name for line in lines]
    width = max(map(len, names))
    rows = [
        f"  {name:<{width}}  {size(line.size_bytes):>8}  {line.note}".rstrip()
        for name, line in zip(names, lines, strict=True)
    ]
    return "\n".join([title, *rows])


def tree_html(title: str, lines: list[Line]) -> str:
    """Return a tree for Jupyter."""
    rows = "".join(
        f"<tr><td style='text-align:left;padding-left:{1 + 1.2 * line.depth}em'>"
        f"<code>{escape(line.name)}</code></td><td>{size(line.size_bytes)}</td>"
        f"<td style='text-align:left'>{escape(line.note)}</td></tr>"
        for line in lines
    )
    return f"<p>{escape(title)}</p><table>{rows}</table>"


def size(size_bytes: int) -> str:
    """Return a size as people read it, with units of 1000."""
    if size_bytes < 1000:
        return f"{size_bytes} B"
    for unit in ("kB", "MB", "GB"):
        size_bytes_in_unit = size_bytes / 1000
        if size_bytes_in_unit < 1000 or unit == "GB":
            return f"{size_bytes_in_unit:.1f} {unit}"
        size_bytes //= 1000
    raise AssertionError  # the loop ends at GB
