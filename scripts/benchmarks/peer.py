"""A peer: one file under peers/ that declares how it is installed and run.

The declaration is inline script metadata (PEP 723) with a table ``[tool.serving]``, so that a file
that imports its server's library can be read here, where that library is not installed::

    # /// script
    # dependencies = ["litserve==0.2.19"]      installed on top of the shared base
    # [tool.serving]
    # title = "LitServe"                       the row of the table
    # versions_of = ["litserve"]               the packages whose versions stand beside it
    # command = ["python", "{peers}/lit_serve.py", "{port}"]
    # predict = "/"                            POST, multipart field "images", {"mnist_result": 7}
    # health = "/health"
    # [tool.serving.environment]               added to what every peer gets
    # [tool.serving.files]                     copied into its folder: destination = source
    # [tool.serving.variants.NAME]             a row each; replaces the above
    # ///

A variant's own ``environment`` is added to its peer's.
``{port}``, ``{grpc_port}``, ``{metrics_port}``, ``{workers}``, ``{drain_s}``, ``{peers}`` (that
folder) and ``{root}`` (of the repository) are filled in wherever they stand.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from custom_image.errors import UsageError

PEERS_DIR = Path(__file__).parent / "peers"
ROOT_DIR = Path(__file__).parents[2]
METADATA = re.compile(r"(?ms)^# /// script$\n(?P<body>(?:^#(?:| .*)$\n)+?)^# ///$")


@dataclass(frozen=True)
class Peer:
    """One row of the table.

    Attributes:
        name: of the row, for ``--only``: ``vertex-cpr``, ``ours-uvicorn``.
        family: the file it comes from; its variants share an environment.
        dependencies: requirement lines for pip, the peer's own pinned exactly.
    """

    name: str
    family: str
    title: str
    versions_of: tuple[str, ...]
    dependencies: tuple[str, ...]
    command: tuple[str, ...]
    predict: str
    health: str
    environment: Mapping[str, str]
    files: Mapping[str, str]

    def filled(self, text: str, **values: object) -> str:
        """Return ``text`` with the places named in the module's docstring filled in."""
        return text.format(peers=PEERS_DIR, root=ROOT_DIR, **values)


def read_peers(path: Path) -> Iterator[Peer]:
    """Yield the rows that one file declares, none where it declares nothing."""
    match = METADATA.search(path.read_text())
    if match is None:
        return
    lines = (line.removeprefix("#").removeprefix(" ") for line in match["body"].splitlines())
    metadata = tomllib.loads("\n".join(lines))
    serving = metadata["tool"]["serving"]
    family = path.stem.replace("_", "-")
    for variant, extra in serving.get("variants", {"": {}}).items():
        row = serving | extra
        yield Peer(
            name=f"{family}-{variant}" if variant else family,
            family=family,
            title=f"{serving['title']}, {variant}" if variant else serving["title"],
            versions_of=tuple(row["versions_of"]),
            dependencies=tuple(metadata["dependencies"]),
            command=tuple(row["command"]),
            predict=row["predict"],
            health=row["health"],
            environment=serving.get("environment", {}) | extra.get("environment", {}),
            files=row.get("files", {}),
        )


def choose_peers(only: Sequence[str] = (), folder: Path = PEERS_DIR) -> list[Peer]:
    """Return the peers whose names start with one of ``only``, or all; ours first.

    Raises:
        UsageError: one of ``only`` names none.
    """
    peers = [peer for path in sorted(folder.glob("*.py")) for peer in read_peers(path)]
    peers.sort(key=lambda peer: (peer.family != "ours", peer.name))
    for wanted in only:
        if not any(peer.name.startswith(wanted) for peer in peers):
            raise UsageError(
                f"--only names {wanted!r}; the peers are {', '.join(peer.name for peer in peers)}."
            )
    return [peer for peer in peers if not only or peer.name.startswith(tuple(only))]
