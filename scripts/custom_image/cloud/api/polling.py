"""Waiting for what the platform does in its own time: with progress, and with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, TypeVar

from custom_image.errors import CloudRefused, Unavailable
from custom_image.progress import progress_bar

_T = TypeVar("_T")
SILENCE_S: Final = 60.0
"""How long an API may be silent while something is waited for: it may be starting again itself."""


def wait_until(
    what: str,
    look: Callable[[], _T],
    *,
    is_settled: Callable[[_T], bool],
    describe: Callable[[_T], str],
    timeout_s: float,
    poll_s: float,
    silence_s: float = SILENCE_S,
) -> _T:
    """Look again and again until something has settled; return what was then seen.

    Raises:
        CloudRefused: it has not settled by the deadline, or the API refuses to say.
        Unavailable: the API has not answered for ``silence_s``.
    """
    began = answered = time.monotonic()
    seen = "not seen yet"
    with progress_bar(None, what, "s") as bar:
        while True:
            try:
                found = look()
                answered, seen = time.monotonic(), describe(found)
                if is_settled(found):
                    return found
            except Unavailable:
                if time.monotonic() - answered > silence_s:
                    raise
            waited_s = time.monotonic() - began
            if waited_s > timeout_s:
                raise CloudRefused(
                    f"{what}: not done after {waited_s:.0f} s; it is {seen}.\n"
                    "Wait longer with a larger deadline, or look at its events."
                )
            bar.set_postfix_str(seen, refresh=False)
            bar.update(int(waited_s) - bar.n)
            time.sleep(poll_s)
