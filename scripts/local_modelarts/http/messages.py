"""Requests and answers: a handler is a function from a :class:`Call` to an :class:`Answer`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any


@dataclass(frozen=True)
class Call:
    """A call whose signature is right.

    Attributes:
        path: the variables of the path.
        body: the JSON object that came with it; empty where none came.
        upload: the file that came in its place, open until the call is answered.
    """

    path: Mapping[str, str]
    query: Mapping[str, str]
    body: Mapping[str, Any]
    headers: Mapping[str, str]
    upload: IO[bytes] | None = None


@dataclass(frozen=True)
class Answer:
    """What a handler returns.

    Attributes:
        body: None for an empty one; a string is plain text, anything else JSON.
    """

    body: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[[Call], Answer]
Calls = Sequence[tuple[str, str, Handler]]
"""Method, path as the SDK spells it (``/v1/{project_id}/notebooks``), handler."""
