"""A proxy before the registry that refuses the manifests that SWR refuses.

The Distribution project's registry takes every manifest of the OCI, SWR does not. All else passes
as it comes, bytes of layers included. Each connection carries one request, so that only its head
has to be understood.
"""

from __future__ import annotations

import asyncio
import json
import re
import ssl
import threading
from contextlib import suppress
from typing import Final

from custom_image.errors import Unavailable
from custom_image.image_archive import media_types
from local_modelarts.registry.certificates import Certificates

LOOPBACK: Final = "127.0.0.1"
INVALID: Final = "Invalid image, fail to parse 'manifest.json'"
"""SWR's words for what it cannot read: https://github.com/regclient/regclient/issues/720."""
_MANIFEST: Final = re.compile(rb"PUT /v2/\S+/manifests/\S+ ")
_LARGEST_MANIFEST: Final = 4 * 1024 * 1024  # the registry's own limit
_CHUNK_BYTES: Final = 256 * 1024
_START_TIMEOUT_S: Final = 10.0
_LINGER_S: Final = 5.0
_REASONS: Final = {
    400: "Bad Request",
    411: "Length Required",
    413: "Content Too Large",
    503: "Service Unavailable",
}


class _Refused(Exception):
    """A request that is answered here: its status and the registry's code and words for it."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


class RegistryProxy:
    """Listens where clients look for the registry, with its certificate.

    Args:
        port: of loopback, where it listens.
        upstream_port: of loopback, where the registry speaks HTTP.
        certificates: that clients are shown.
    """

    def __init__(self, port: int, upstream_port: int, certificates: Certificates) -> None:
        self._port = port
        self._upstream_port = upstream_port
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificates.certificate, certificates.key)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Listen, unless it does already.

        Raises:
            Unavailable: the port is taken.
        """
        if self._thread is not None:
            return
        self._loop = loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=loop.run_forever, name="registry-proxy", daemon=True)
        self._thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self._listen(), loop).result(_START_TIMEOUT_S)
        except OSError as error:
            self.stop()
            raise Unavailable(
                f"{LOOPBACK}:{self._port} cannot be listened on ({error.strerror}).\n"
                "The port is part of the addresses of images: end what uses it."
            ) from error

    def stop(self) -> None:
        """Listen no more, and end what goes on. Idempotent."""
        if self._loop is None or self._thread is None:
            return
        asyncio.run_coroutine_threadsafe(_end_all(), self._loop).result(_START_TIMEOUT_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_START_TIMEOUT_S)
        self._loop.close()
        self._loop = self._thread = None

    async def _listen(self) -> None:
        server = await asyncio.start_server(
            self._answer, LOOPBACK, self._port, ssl=self._context, limit=_CHUNK_BYTES
        )
        task = asyncio.create_task(server.serve_forever())
        task.add_done_callback(lambda _: server.close())
        self._listening = task  # a task that nobody holds may be collected

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            try:
                await self._pass_on(reader, writer)
            except _Refused as refused:
                writer.write(_refusal(refused))
                await writer.drain()
                # Who is still sending would else lose the answer with the connection.
                with suppress(TimeoutError):
                    async with asyncio.timeout(_LINGER_S):
                        while await reader.read(_CHUNK_BYTES):
                            pass
        with suppress(OSError):
            writer.close()
            await writer.wait_closed()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        line, headers = _parse(head)
        body = b""
        if _MANIFEST.match(line):
            if "expect" in headers:
                writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            body = await _manifest(reader, headers)
        try:
            behind, to_registry = await asyncio.open_connection(
                LOOPBACK, self._upstream_port, limit=_CHUNK_BYTES
            )
        except OSError as error:
            raise _Refused(503, "UNAVAILABLE", "the registry is not there") from error
        try:
            to_registry.write(_rewritten(head) + body)
            ways = [
                asyncio.create_task(_copy(reader, to_registry)),
                asyncio.create_task(_copy(behind, writer)),
            ]
            # The registry closes behind its answer; a client that closes has lost interest.
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
        finally:
            to_registry.close()


async def _manifest(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    """Return the manifest that a request brings.

    Raises:
        _Refused: SWR would not take it.
    """
    length = headers.get("content-length", "")
    if not length.isdecimal():
        raise _Refused(411, "SIZE_INVALID", "a manifest needs a Content-Length")
    if int(length) > _LARGEST_MANIFEST:
        raise _Refused(413, "SIZE_INVALID", f"a manifest has at most {_LARGEST_MANIFEST:,} bytes")
    body = await reader.readexactly(int(length))
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return body  # the registry has words for it
    if "authorization" in headers and isinstance(document, dict):
        media_type = headers.get("content-type", "").partition(";")[0].strip()
        if media_types.faults(media_type or str(document.get("mediaType", "")), document):
            raise _Refused(400, "MANIFEST_INVALID", INVALID)
    return body


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(_CHUNK_BYTES):
        writer.write(chunk)
        await writer.drain()


async def _end_all() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


def _parse(head: bytes) -> tuple[bytes, dict[str, str]]:
    line, *rest = head.split(b"\r\n")
    pairs = (part.decode("latin-1").partition(":") for part in rest if part)
    return line, {name.strip().lower(): value.strip() for name, _, value in pairs}


def _rewritten(head: bytes) -> bytes:
    """Return a head that asks for one answer only, and says that the client speaks TLS."""
    line, *rest = head.rstrip().split(b"\r\n")
    is_manifest = _MANIFEST.match(line)
    dropped: tuple[bytes, ...] = (b"connection:", b"keep-alive:", b"x-forwarded-proto:")
    if is_manifest:
        dropped += (b"expect:",)
    kept = [part for part in rest if not part.lower().startswith(dropped)]
    return b"\r\n".join([line, *kept, b"Connection: close", b"X-Forwarded-Proto: https", b"", b""])


def _refusal(refused: _Refused) -> bytes:
    body = json.dumps({"errors": [{"code": refused.code, "message": str(refused)}]}).encode()
    head = (
        f"HTTP/1.1 {refused.status} {_REASONS[refused.status]}\r\n"
        "Content-Type: application/json\r\nDocker-Distribution-Api-Version: registry/2.0\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
