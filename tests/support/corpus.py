"""The corpus of foreign packages: its expectations, asked of a running service and judged."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from runtime import BOUNDARY, MULTIPART

CORPUS = Path(__file__).parents[1] / "corpus"
CLIENTS = 8


@dataclass(frozen=True)
class Expected:
    """One package and what is right of it; tests/corpus/README.md says what the keys mean."""

    slug: str
    content: Mapping[str, Any]

    @property
    def package(self) -> Path:
        return CORPUS / self.slug / "package"

    @property
    def outcome(self) -> str:
        return str(self.content["adopt"]["outcome"])

    @property
    def ready(self) -> bool:
        return bool(self.content["health"]["ready"])

    def health(self, key: str, default: float = 0.0) -> float:
        return float(self.content["health"].get(key, default))

    @property
    def requests(self) -> list[dict[str, Any]]:
        return list(self.content.get("requests", []))

    @property
    def together(self) -> list[dict[str, Any]]:
        return list(self.content.get("together", []))

    def requirements(self) -> list[str]:
        """The declared lines, pins without a wheel moved to the nearest that has one."""
        adopt = self.content["adopt"]
        nearest = {entry["line"]: entry["nearest"] for entry in adopt.get("no_wheel", [])}
        lines = [
            f"{line.partition('==')[0]}=={nearest[line]}" if line in nearest else line
            for line in adopt.get("requirements", [])
        ]
        return lines + list(adopt.get("imports", []))


def read_corpus() -> list[Expected]:
    files = sorted(CORPUS.glob("*/expect.yaml"))
    return [Expected(file.parent.name, yaml.safe_load(file.read_text())) for file in files]


@dataclass(frozen=True)
class Reply:
    status: int
    content_type: str
    body: bytes
    first_s: float
    took_s: float
    chunks: int

    @property
    def json(self) -> Any:
        try:
            return json.loads(self.body)
        except ValueError:
            return None


def ask(url: str, slug: str, request: Mapping[str, Any], timeout_s: float = 60.0) -> Reply:
    """Send one request of an ``expect.yaml`` on a connection of its own."""
    body, headers = _body_of(slug, request)
    headers.update(request.get("headers", {}))
    target = request.get("path", "/") + (f"?{request['query']}" if "query" in request else "")
    address = urlsplit(url)
    connection = HTTPConnection(address.hostname or "", address.port, timeout=timeout_s)
    try:
        started = time.monotonic()
        connection.request(request.get("method", "POST"), target, body, headers)
        response = connection.getresponse()
        chunks, first_s = [], 0.0
        while chunk := response.read1(65536):
            first_s = first_s or time.monotonic() - started
            chunks.append(chunk)
        kind = response.getheader("Content-Type", "")
        took_s = time.monotonic() - started
        return Reply(response.status, kind, b"".join(chunks), first_s, took_s, len(chunks))
    finally:
        connection.close()


def _body_of(slug: str, request: Mapping[str, Any]) -> tuple[bytes | None, dict[str, str]]:
    if "json" in request:
        return json.dumps(request["json"]).encode(), {"Content-Type": "application/json"}
    if "parts" in request:
        lines = b"".join(_part(slug, part) for part in request["parts"])
        return lines + f"--{BOUNDARY}--\r\n".encode(), {"Content-Type": MULTIPART}
    return str(request.get("body", "")).encode(), {}


def _part(slug: str, part: Mapping[str, Any]) -> bytes:
    disposition = f'form-data; name="{part["name"]}"'
    if "filename" in part:
        disposition += f'; filename="{part["filename"]}"'
    head = f"--{BOUNDARY}\r\nContent-Disposition: {disposition}\r\n"
    if "type" in part:
        head += f"Content-Type: {part['type']}\r\n"
    text = str(part.get("text", "")).encode()
    content = (CORPUS / slug / part["file"]).read_bytes() if "file" in part else text
    return head.encode() + b"\r\n" + content + b"\r\n"


def judge(reply: Reply, answer: Mapping[str, Any]) -> str:
    """Return what is wrong with a reply, or nothing."""
    if "any_of" in answer:
        faults = [judge(reply, one) for one in answer["any_of"]]
        return "" if "" in faults else f"none of {faults}"
    status = answer.get("status", 200)
    shown = f"{reply.status} {reply.body[:200]!r}"
    if reply.status not in (status if isinstance(status, list) else [status]):
        return f"expected {status}, found {shown}"
    faults = {
        "json": lambda value: not alike(reply.json, value),
        "json_has": lambda value: (
            not all(
                isinstance(reply.json, dict) and alike(reply.json.get(k), v)
                for k, v in value.items()
            )
        ),
        "content_type": lambda value: not reply.content_type.startswith(value),
        "text": lambda value: reply.body.decode("utf-8", "replace") != value,
        "first_within_s": lambda value: reply.first_s > value,
        "takes_at_least_s": lambda value: reply.took_s < value,
        "chunks_at_least": lambda value: reply.chunks < value,
    }
    wrong = [key for key, value in answer.items() if key in faults and faults[key](value)]
    return f"{', '.join(wrong)}: {shown}" if wrong else ""


def alike(found: Any, expected: Any) -> bool:
    """Compare JSON, numbers to six decimals."""
    if isinstance(expected, dict):
        return (
            isinstance(found, dict)
            and found.keys() == expected.keys()
            and all(alike(found[key], expected[key]) for key in expected)
        )
    if isinstance(expected, list):
        return (
            isinstance(found, list)
            and len(found) == len(expected)
            and all(map(alike, found, expected))
        )
    if isinstance(expected, float) and not isinstance(found, bool):
        return isinstance(found, (int, float)) and round(found - expected, 6) == 0
    return bool(found == expected) and type(found) is type(expected)


def health_of(url: str) -> Reply | None:
    try:
        return ask(url, "", {"method": "GET", "path": "/health"}, timeout_s=5)
    except OSError:
        return None


def try_requests(url: str, expected: Expected) -> Iterator[str]:
    """Ask everything in order, then everything at once; yield each fault."""
    healthy = 200 if expected.ready else 503
    for request in expected.requests:
        for _ in range(int(request.get("times", 1))):
            fault = judge(ask(url, expected.slug, request), request["answer"])
            if fault:
                yield f"{request['name']}: {fault}"
                break
        health = health_of(url)
        if health is None or health.status != healthy:
            yield f"health after {request['name']}: {health}"
    yield from try_together(url, expected)


def try_together(url: str, expected: Expected) -> Iterator[str]:
    named = {request["name"]: request for request in expected.requests}
    for group in expected.together:
        requests = [named[name] for name in group["names"]] * int(group["times"])
        with ThreadPoolExecutor(CLIENTS) as pool:
            faults = list(
                pool.map(lambda r: judge(ask(url, expected.slug, r), r["answer"]), requests)
            )
        wrong = [fault for fault in faults if fault]
        if wrong:
            yield f"together: {len(wrong)} of {len(requests)} wrong: {wrong[0]}"


def missing_in_log(text: str, expected: Expected) -> list[list[str]]:
    """Return the words that no line of the log holds together."""
    lines = [line.lower() for line in text.splitlines()]
    return [
        words
        for words in expected.content.get("log", [])
        if not any(all(str(word).lower() in line for word in words) for line in lines)
    ]
