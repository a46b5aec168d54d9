"""The client of a registry's API: where its login and its tokens go, and where not."""

from __future__ import annotations

import json
import ssl
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from custom_image.errors import Unavailable
from custom_image.registry_client import RegistryClient, is_loopback

SCOPE = "repository:team/any:pull"
LOGIN = f"Basic {b64encode(b'me:secret').decode()}"


class Handler(BaseHTTPRequestHandler):
    """Answers as its server says, and keeps who asked for what with which header."""

    def do_GET(self) -> None:
        header = str(self.headers.get("Authorization", ""))
        self.server.asked.append((self.path, header, self.headers["Host"]))
        status, headers, document = self.server.behave(self.path, header)
        content = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


Behaviour = Callable[[str, str], tuple[int, dict[str, str], Any]]


class Server(ThreadingHTTPServer):
    asked: list[tuple[str, str, str]]
    behave: Behaviour

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client that tries TLS first, or breaks off, is what is tested."""


@contextmanager
def serving(behave: Behaviour, context: ssl.SSLContext | None = None) -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as server:
        server.asked, server.behave = [], behave
        if context:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def serve() -> Iterator[Callable[[Behaviour], Server]]:
    with ExitStack() as stack:
        yield lambda behave: stack.enter_context(serving(behave))


def challenge(realm: str) -> tuple[int, dict[str, str], Any]:
    return 401, {"WWW-Authenticate": f'Bearer realm="{realm}",service="r"'}, {}


def client(server: Server) -> RegistryClient:
    return RegistryClient(server.host, "me", "secret", advice="Log in.")


def test_a_token_that_has_run_out_is_asked_for_again(serve):
    given = iter(("first", "second"))
    valid = {"Bearer first": 2, "Bearer second": 2}

    def behave(path: str, header: str) -> tuple[int, dict[str, str], Any]:
        if path.startswith("/token"):
            return 200, {}, {"access_token": next(given)}
        if not valid.get(header):
            return challenge(f"http://{server.host}/token")
        valid[header] -= 1
        return 200, {}, {"name": path}

    server = serve(behave)
    with client(server) as registry:
        found = [registry.document(f"/v2/{number}", SCOPE) for number in range(4)]

    assert found == [{"name": f"/v2/{number}"} for number in range(4)]
    logins = [header for path, header, _ in server.asked if path.startswith("/token")]
    assert logins == [LOGIN, LOGIN]


@pytest.mark.parametrize(
    "realm", ["http://198.51.100.7/token", "ftp://127.0.0.1/token", "file:///etc/passwd", ""]
)
def test_a_login_goes_to_no_place_in_the_clear(serve, realm):
    server = serve(lambda path, header: challenge(realm))

    with (
        client(server) as registry,
        pytest.raises(Unavailable, match=r"asks for its login at .*; expected an https:// address"),
    ):
        registry.document("/v2/", SCOPE)
    assert all(header == "" for _, header, _ in server.asked)


def test_a_realm_that_leads_on_does_not_get_the_login_there(serve):
    thief = serve(lambda path, header: (200, {}, {"token": "x"}))
    moved = {"Location": f"http://localhost:{thief.server_port}/token"}

    def behave(path: str, header: str) -> tuple[int, dict[str, str], Any]:
        if path.startswith("/token"):
            return 307, moved, {}
        return challenge(f"http://{server.host}/token")

    server = serve(behave)
    with client(server) as registry, pytest.raises(Unavailable, match="refuses the login: 307"):
        registry.document("/v2/", SCOPE)
    assert thief.asked == []


def test_another_host_gets_a_request_without_the_token(serve):
    other = serve(lambda path, header: (200, {}, {"blob": 1}))

    def behave(path: str, header: str) -> tuple[int, dict[str, str], Any]:
        if header != LOGIN:
            return 401, {"WWW-Authenticate": 'Basic realm="tests"'}, {}
        return 307, {"Location": f"http://localhost:{other.server_port}/blob"}, {}

    server = serve(behave)
    with client(server) as registry:
        assert registry.document("/v2/team/any/blobs/a", SCOPE) == {"blob": 1}
        registry.ask("GET", f"http://{other.host}/upload", SCOPE)
    assert [header for _, header, _ in other.asked] == ["", ""]


def test_a_login_of_netrc_is_not_sent(serve, tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    server = serve(lambda path, header: (200, {}, {}))

    with RegistryClient(server.host) as registry:
        registry.document("/v2/", SCOPE)
    assert [header for _, header, _ in server.asked] == [""]


def test_a_listing_that_leads_to_another_host_is_not_followed(serve):
    other = serve(lambda path, header: (200, {}, {"tags": ["2"]}))
    link = {"Link": f'<http://{other.host}/v2/next>; rel="next"'}
    server = serve(lambda path, header: (200, link, {"tags": ["1"]}))

    with client(server) as registry, pytest.raises(Unavailable, match="leads to another host"):
        list(registry.pages("/v2/team/any/tags/list", "tags", SCOPE))
    assert other.asked == []


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (
            (403, {}, {"errors": [{"code": "DENIED", "message": "no"}]}),
            "refuses team/any: 403 D",
        ),
        ((500, {}, b"<html>down</html>"), "refuses team/any: 500 <html>down</html>"),
        ((200, {}, b"<html>a portal</html>"), "answers no JSON object: 200 <html>a portal"),
        ((200, {}, [1]), "answers no JSON object"),
    ],
)
def test_a_refusal_is_told_in_its_words_with_what_to_do(serve, answer, told):
    server = serve(lambda path, header: answer)

    with client(server) as registry, pytest.raises(Unavailable, match=told) as refused:
        registry.document("/v2/", SCOPE)
    assert str(refused.value).endswith("\nLog in.")


def test_what_is_not_there_is_nothing_and_no_refusal(serve):
    server = serve(lambda path, header: (404, {}, b"not found"))

    with client(server) as registry:
        assert registry.document("/v2/", SCOPE) == {}
        tags = registry.pages("/v2/team/any/tags/list", "tags", SCOPE, expected=(200, 404))
        assert list(tags) == []
        with pytest.raises(Unavailable, match="refuses catalog: 404"):
            list(registry.pages("/v2/_catalog", "repositories", "registry:catalog:*"))


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost:5000", True),
        ("127.0.0.1", True),
        ("127.1.2.3:5000", True),
        ("[::1]:5000", True),
        ("localhost.example.com", False),
        ("127.example.com:5000", False),
        ("10.0.0.1:5000", False),
    ],
)
def test_loopback_is_an_address_and_no_beginning_of_a_name(host, expected):
    assert is_loopback(host) is expected
