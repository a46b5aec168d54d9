"""``asyncio.timeout``, which Python has since 3.11, for older ones too."""

from __future__ import annotations

import asyncio
import sys

__all__ = ["timeout"]

if sys.version_info >= (3, 11):
    from asyncio import timeout
else:

    class timeout:  # noqa: N801 - the name it stands in for
        """Cancel the task in this block after so many seconds, and raise TimeoutError then."""

        def __init__(self, seconds: float | None) -> None:
            self._seconds = seconds
            self._timer: asyncio.TimerHandle | None = None
            self._task: asyncio.Task | None = None
            self._expired = False

        async def __aenter__(self) -> timeout:
            self._task = asyncio.current_task()
            if self._seconds is not None:
                loop = asyncio.get_running_loop()
                self._timer = loop.call_later(self._seconds, self._expire)
            return self

        async def __aexit__(self, kind: type | None, error: object, trace: object) -> None:
            if self._timer is not None:
                self._timer.cancel()
            if self._expired and kind is not None and issubclass(kind, asyncio.CancelledError):
                raise TimeoutError

        def _expire(self) -> None:
            self._expired = True
            self._task.cancel()
