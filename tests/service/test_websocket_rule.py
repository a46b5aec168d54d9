"""A message over WebSocket in frames of 64 KB, as the gateway cuts it."""

from __future__ import annotations

import pytest
from judging import BROKEN, EVERY_RULE, copy_good_service, judge, replace, verdicts

from custom_image.report import Verdict

RULE = "websocket.frames"
# Added to the good service: it answers the size of each message; LIMIT is what a test breaks.
ECHO = """
    def speak_websocket(self):
        key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", accept)
        self.end_headers()
        self.wfile.flush()
        self.close_connection = True
        message = b""
        while head := self.rfile.read(2):
            size = head[1] & 127
            if size > 125:
                size = int.from_bytes(self.rfile.read(2 if size == 126 else 8), "big")
            mask, payload = self.rfile.read(4), self.rfile.read(size)
            message += payload
            if len(message) > LIMIT:
                self.wfile.write(bytes([0x88, 2]) + (1009).to_bytes(2, "big"))
                self.wfile.flush()
                return
            if head[0] & 128:
                text = str(len(message)).encode()
                self.wfile.write(bytes([0x81, len(text)]) + text)
                self.wfile.flush()
                message = b""

"""


@pytest.fixture
def service(tmp_path):
    """The good service, which also speaks WebSocket at its api's url."""
    folder = copy_good_service(tmp_path)
    code = folder / "serve.py"
    replace(code, "import os\n", "import base64\nimport hashlib\nimport os\n")
    replace(code, "health = 200\n", "health = 200\nLIMIT = 10**6\n")
    replace(
        code,
        '        if self.path == "/health":',
        '        if self.headers.get("Upgrade"):\n            self.speak_websocket()\n'
        '        elif self.path == "/health":',
    )
    replace(code, "    def do_POST", f"{ECHO}    def do_POST")
    return folder


def test_a_message_in_frames_is_taken(service):
    report = judge(service, only=[RULE])

    assert verdicts(report, *BROKEN) == [], str(report)
    assert report.check(RULE).verdict is Verdict.PASSED
    assert "200,000 bytes" in report.check(RULE).measured


@pytest.mark.parametrize("only", [pytest.param([RULE], id="websocket"), EVERY_RULE])
def test_a_limit_below_the_message_is_found(service, only):
    replace(service / "serve.py", "LIMIT = 10**6", "LIMIT = 65536")

    report = judge(service, only=only)

    assert verdicts(report, *BROKEN) == [RULE], str(report)
    # 1009, or a reset that overtakes it: the rest of the message is never read.
    assert "closes with 100" in report.check(RULE).measured
