"""The same requests to two services, and whether the answers are the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from custom_image.cloud.services.service import Service
from custom_image.engines.client import Prediction


@dataclass(frozen=True)
class Comparison:
    """What two services answered to the same requests.

    Attributes:
        pairs: of answers, in the order of the requests.
    """

    names: tuple[str, str]
    pairs: tuple[tuple[Prediction, Prediction], ...]

    @property
    def are_equal(self) -> bool:
        """Whether each pair has the same status and body."""
        return all((a.status, a.text) == (b.status, b.text) for a, b in self.pairs)

    def __str__(self) -> str:
        equal = sum((a.status, a.text) == (b.status, b.text) for a, b in self.pairs)
        lines = [f"{' and '.join(self.names)}: {equal} of {len(self.pairs)} answers are equal"]
        for a, b in self.pairs:
            if (a.status, a.text) != (b.status, b.text):
                lines += [f"  {self.names[0]}: {a}", f"  {self.names[1]}: {b}"]
        return "\n".join(lines)


def compare(old: Service, new: Service, files: Sequence[tuple[str, bytes]]) -> Comparison:
    """Send each file to both services.

    Raises:
        Unavailable: one of them does not answer.
    """
    pairs = tuple(
        (old.predict(content, filename=name), new.predict(content, filename=name))
        for name, content in files
    )
    return Comparison((old.name, new.name), pairs)
