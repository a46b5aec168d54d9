"""Draw what ``make demo`` prints as the picture of the README: ``make demo-picture`` renews it."""

from __future__ import annotations

import re
import sys

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

COLUMNS = 102


def main() -> None:
    """Read a terminal's text, colours included, and print it as SVG."""
    console = Console(record=True, width=COLUMNS, file=sys.stderr)
    printed = sys.stdin.read().replace("\r", "").rstrip()
    console.print(Text.from_ansi(f"$ make demo\n...\n{printed}"))
    picture = console.export_svg(title="make demo", theme=MONOKAI)
    # Rich refers to a font on a CDN; a picture in a repository should load nothing from elsewhere.
    sys.stdout.write(re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL))


if __name__ == "__main__":
    main()
