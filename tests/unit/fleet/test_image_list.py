"""Which images a list or an organization means."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest

from custom_image.errors import Unavailable, UsageError
from custom_image.fleet.image_list import read_images

LIST = """\
# the fleet
team/one:1
--config=/etc/passwd

registry.example.com/team/two@sha256:{digest}  # by digest
Team/Three
team/one:1
has a blank
""".format(digest="0" * 64)


def test_a_line_that_names_no_image_is_reported_with_its_number_and_the_rest_is_read(tmp_path):
    path = tmp_path / "images.txt"
    path.write_text(LIST)

    found = read_images(str(path))

    assert found.images == ("team/one:1", f"registry.example.com/team/two@sha256:{'0' * 64}")
    assert [line.number for line in found.bad_lines] == [3, 6, 8]
    assert str(found.bad_lines[0]).startswith("line 3: '--config=/etc/passwd' names no image: ")
    assert "only the tag may have capitals" in found.bad_lines[1].reason


@pytest.mark.parametrize("content", ["", "# nothing\n"])
def test_a_list_without_images_is_refused(tmp_path, content):
    (tmp_path / "images.txt").write_text(content)

    with pytest.raises(UsageError, match=r"holds no line\.\nExpected a file with an image a line"):
        read_images(str(tmp_path / "images.txt"))


def test_a_file_that_is_not_there_is_refused():
    with pytest.raises(UsageError, match="cannot be read"):
        read_images("no-such-file.txt")


class Registry(BaseHTTPRequestHandler):
    """Two organizations, pages of one entry, and a token to be asked for."""

    pages = {  # noqa: RUF012
        "/v2/_catalog": ("repositories", ["other/x", "team/one", "team/two"]),
        "/v2/team/one/tags/list": ("tags", ["1", "2"]),
        "/v2/team/two/tags/list": ("tags", None),
    }
    scopes: list[str] = []  # noqa: RUF012

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        base = f"http://{self.headers['Host']}"
        if path == "/token":
            self.scopes.append(dict(part.split("=") for part in query.split("&"))["scope"])
            return self._answer(200, {"token": "given"})
        if self.headers.get("Authorization") != "Bearer given":
            challenge = f'Bearer realm="{base}/token",service="r"'
            return self._answer(401, {}, {"WWW-Authenticate": challenge})
        member, all_entries = self.pages[path]
        entries = all_entries or []
        last = int(query.partition("last=")[2] or 0)
        more = {}
        if last + 1 < len(entries):
            more = {"Link": f'<{path}?last={last + 1}>; rel="next"'}
        return self._answer(200, {member: entries[last : last + 1] if entries else None}, more)

    def _answer(self, status: int, body: dict, headers: dict | None = None) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def registry(monkeypatch, tmp_path) -> Iterator[SimpleNamespace]:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))  # no login
    Registry.scopes.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Registry) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield SimpleNamespace(host=f"127.0.0.1:{server.server_port}", scopes=Registry.scopes)
        server.shutdown()
        thread.join()


def test_an_organization_is_every_tag_that_its_registry_lists(registry):
    found = read_images(f"{registry.host}/team/")

    assert found.images == (f"{registry.host}/team/one:1", f"{registry.host}/team/one:2")
    assert registry.scopes[0] == "registry%3Acatalog%3A%2A"


def test_a_registry_that_does_not_answer_is_an_error_that_says_so():
    with pytest.raises(Unavailable, match=r"registry 127\.0\.0\.1:1 does not answer"):
        read_images("127.0.0.1:1/team/")


def test_an_organization_without_a_registry_is_refused():
    with pytest.raises(UsageError, match="names no registry"):
        read_images("-x/team/")
