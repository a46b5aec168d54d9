"""A real, headless Chromium, driven over its DevTools protocol.

Source: https://chromedevtools.github.io/devtools-protocol/
"""

from __future__ import annotations

import base64
import json
import re
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import websocket

START_S = 30
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
    "--window-size=1100,1300",
)


# Debian's program is a shell script that starts the browser: who ends the script alone leaves the
# browser behind. So its whole process group ends when this input does, after SIGKILL too.
UNTIL_INPUT_ENDS = '("$@"; kill -KILL 0) & cat; kill -KILL 0'


class Browser:
    """One page of one browser."""

    def __init__(self, socket: websocket.WebSocket) -> None:
        self._socket = socket
        self._number = 0
        self.complaints: list[str] = []
        for domain in ("Page", "DOM", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol; keep what the page complains of meanwhile."""
        self._number += 1
        request = {"id": self._number, "method": method, "params": parameters}
        self._socket.send(json.dumps(request))
        while (message := json.loads(self._socket.recv())).get("id") != self._number:
            if message["method"] == "Log.entryAdded":
                self.complaints.append(message["params"]["entry"]["text"])
            elif message["method"] == "Runtime.exceptionThrown":
                self.complaints.append(str(message["params"]["exceptionDetails"]))
        assert "error" not in message, message
        return dict(message["result"])

    def open(self, url: str) -> None:
        """Go to a page and wait until it is there."""
        self.call("Page.navigate", url=url)
        self.wait_for(f"location.href.split('#')[0] === {json.dumps(url)}")

    def evaluate(self, expression: str) -> Any:
        """Return the value of an expression on the page."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def text(self, selector: str) -> str:
        return str(self.evaluate(f"document.querySelector({json.dumps(selector)}).innerText"))

    def click(self, selector: str) -> None:
        self.evaluate(f"document.querySelector({json.dumps(selector)}).click()")

    def choose_file(self, selector: str, path: Path) -> None:
        """Choose a file, as a person does in the dialogue."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", files=[str(path)], nodeId=node)

    def wait_for(self, condition: str, timeout_s: float = 20) -> None:
        """Wait until an expression is true on a page that is loaded."""
        deadline = time.monotonic() + timeout_s
        whole = f"document.readyState === 'complete' && Boolean({condition})"
        while not self.evaluate(whole):
            assert time.monotonic() < deadline, f"{condition}: not within {timeout_s} s"
            time.sleep(0.02)

    def without_scripts(self, is_off: bool = True) -> None:
        self.call("Emulation.setScriptExecutionDisabled", value=is_off)

    def screenshot(self, path: Path) -> None:
        found = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(found["data"]))


@contextmanager
def open_browser(program: str, folder: Path) -> Iterator[Browser]:
    """Start a browser with a new profile, and end it."""
    log = folder / "browser.log"
    command = [program, *FLAGS, f"--user-data-dir={folder / 'profile'}", "about:blank"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["sh", "-c", UNTIL_INPUT_ENDS, "browser", *command],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        socket = websocket.create_connection(
            _page_address(process, log), suppress_origin=True, timeout=30
        )
        try:
            yield Browser(socket)
        finally:
            socket.close()
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait(20)


def _page_address(process: subprocess.Popen[bytes], log: Path) -> str:
    """Return where the first page listens, as soon as the browser says it."""
    deadline = time.monotonic() + START_S
    while True:
        found = re.search(r"DevTools listening on ws://([\w.:]+)/", log.read_text(errors="replace"))
        if found:
            with urllib.request.urlopen(f"http://{found[1]}/json/list", timeout=10) as answer:
                pages = [p for p in json.load(answer) if p["type"] == "page"]
            if pages:
                return str(pages[0]["webSocketDebuggerUrl"])
        assert process.poll() is None, log.read_text(errors="replace")[-2000:]
        assert time.monotonic() < deadline, "the browser does not listen"
        time.sleep(0.02)
