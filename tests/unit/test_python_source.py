"""Python source that is parsed by several threads at once, as rules judge images side by side."""

from __future__ import annotations

import ast
import gc
import sys
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from custom_image.python_source import parse_source

FUNCTION = "def f{}(a, b=[1, (2, {{3: 'x'}})]):\n    return a[b](1)[1:2]\n"
SOURCE = "".join(FUNCTION.format(n) for n in range(300))


@pytest.fixture
def switch_often() -> Iterator[None]:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.fixture
def busy_collector() -> Iterator[None]:
    """Let the garbage collector run Python in the middle of a parse: another thread's turn."""
    thresholds = gc.get_threshold()
    callback = lambda *_: sum(range(50))  # noqa: E731
    gc.callbacks.append(callback)
    gc.set_threshold(50, 5, 5)
    yield
    gc.set_threshold(*thresholds)
    gc.callbacks.remove(callback)


def test_threads_parse_side_by_side(busy_collector: None, switch_often: None) -> None:
    with ThreadPoolExecutor(4) as pool:
        trees = list(pool.map(parse_source, [SOURCE] * 40))

    assert {len(tree.body) for tree in trees} == {300}


def test_a_warning_about_the_source_is_its_authors_matter(recwarn: pytest.WarningsRecorder) -> None:
    warnings.simplefilter("always")

    assert isinstance(parse_source(b"'\\d'\n", Path("x.py").name), ast.Module)
    assert not recwarn.list


def test_what_is_no_python_says_where() -> None:
    with pytest.raises(SyntaxError) as error:
        parse_source("a = 1\nb =\n", "serve.py")

    assert (error.value.filename, error.value.lineno) == ("serve.py", 2)
