"""A model that is published."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape

from custom_image.model_config import ModelConfig
from custom_image.specification import PORT


@dataclass(frozen=True)
class Model:
    """A version of a model that is published.

    Attributes:
        image: its address in the registry.
        digest: of that image when the model was made.
        config: what it was published with.
        command: that starts it; empty for the image's own.
        is_asynchronous: whether its services answer later.
        was_there: whether this version, with this content, had been published before.
    """

    id: str
    name: str
    version: str
    status: str
    image: str
    digest: str
    config: ModelConfig = field(repr=False)
    port: int = PORT.value
    command: str = ""
    is_asynchronous: bool = False
    was_there: bool = False
    seconds: float = 0.0

    def __str__(self) -> str:
        how = "was there already" if self.was_there else f"{self.status} in {self.seconds:.1f} s"
        return "\n".join(
            [f"{self.name} {self.version}: {how}", *(f"  {n:<7} {t}" for n, t in self._rows())]
        )

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td style='text-align:left'>{escape(name)}</td>"
            f"<td style='text-align:left'>{escape(text)}</td></tr>"
            for name, text in self._rows()
        )
        return f"<p><b>{escape(self.name)} {escape(self.version)}</b></p><table>{rows}</table>"

    def _rows(self) -> list[tuple[str, str]]:
        apis = ", ".join(f"{api.method.upper()} {api.url}" for api in self.config.apis)
        answers = "later, by a task" if self.is_asynchronous else "at once"
        return [
            ("id", self.id),
            ("image", self.image),
            ("digest", self.digest),
            ("apis", f"{apis or 'none'}; answers {answers}"),
        ]
