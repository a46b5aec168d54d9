"""Did you mean ...? The platform's own samples misspell keys, and people copy them."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """Return the choice that ``word`` was probably meant to be, or an empty string."""
    by_lower = {choice.lower(): choice for choice in choices}
    near = get_close_matches(word.lower()[:100], by_lower, n=1, cutoff=0.75)
    return by_lower[near[0]] if near else ""
