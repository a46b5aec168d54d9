"""Python source as a tree, read and never run."""

from __future__ import annotations

import ast
import threading
import warnings
from typing import Final

# Python 3.11 counts the depth of a tree for all threads together: SystemError in one of two that
# parse at once. https://github.com/python/cpython/issues/106905
_ONE_AT_A_TIME: Final = threading.Lock()


def parse_source(content: bytes | str, name: str = "<unknown>") -> ast.Module:
    """Return the tree of a module; of what its author is warned of, nothing is said.

    Raises:
        SyntaxError, ValueError, RecursionError, MemoryError: as :func:`ast.parse`.
    """
    with _ONE_AT_A_TIME, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(content, filename=name)
