"""Requirements of the platform, and who answers for each: a rule, a check, or nobody and why.

The table is ``catalogue.yaml`` beside this module.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from custom_image.specification import Source

TABLE: Final = Path(__file__).with_name("catalogue.yaml")
ANSWERS: Final = ("rules", "cloud", "not_checked")


@dataclass(frozen=True)
class Row:
    """One thing that the platform asks.

    Attributes:
        id: ``R-1`` and so on, stable.
        asks: it, as one sentence that is true of a good image or request.
        inferred: whether no page states it.
        rules: the ids of the rules that judge it.
        cloud: what refuses a request without it: a module of ``custom_image.cloud``, a function.
        not_checked: why nothing here can judge it.
        besides: what those rules leave open.
    """

    id: str
    asks: str
    source: Source
    inferred: bool = False
    rules: tuple[str, ...] = ()
    cloud: str = ""
    not_checked: str = ""
    besides: str = ""


@dataclass(frozen=True)
class Table:
    """The rows, and the rules that are this tool's own advice, each with its reason."""

    rows: tuple[Row, ...]
    advice: dict[str, str]

    def rows_of(self, rule_id: str) -> tuple[Row, ...]:
        """Return the rows that a rule judges."""
        return tuple(row for row in self.rows if rule_id in row.rules)


@cache
def read_table(path: Path = TABLE) -> Table:
    """Read ``catalogue.yaml``, or another file of its form.

    Raises:
        ValueError: a row has no answer, or more than one.
    """
    import yaml  # here: judging an image needs no catalogue

    document: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    sources = {name: Source(**page) for name, page in document["sources"].items()}
    rows = []
    for row_id, row in document["rows"].items():
        if sum(name in row for name in ANSWERS) != 1:
            raise ValueError(f"{path.name}: {row_id} needs exactly one of {', '.join(ANSWERS)}")
        known = {**row, "source": sources[row["source"]], "rules": tuple(row.get("rules", ()))}
        rows.append(Row(id=row_id, **known))
    return Table(tuple(rows), document["advice"])
