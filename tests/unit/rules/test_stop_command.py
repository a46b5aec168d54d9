"""The programs that a stop command starts, as a shell would find them."""

from __future__ import annotations

import pytest

from custom_image.rules.lifecycle.stop_command import programs


@pytest.mark.parametrize(
    ("command", "found"),
    [
        ("kill -TERM 1", []),
        ("sleep 5; kill -TERM 1", ["sleep"]),
        ("kill -SIGTERM $(pgrep -f app.py)", ["pgrep"]),
        ("trap 'exit 0' SIGTERM", []),
        (
            "/bin/sh -c '/app/stop.sh && curl -X POST localhost/stop'",
            ["/bin/sh", "/app/stop.sh", "curl"],
        ),
        ("GRACE=5 nginx -s quit || true", ["nginx"]),
        ("if test -e /tmp/up; then rm /tmp/up; fi", ["rm"]),
        ("pkill -f `cat /tmp/pid`", ["cat", "pkill"]),
        ("an open 'quote", []),
    ],
)
def test_the_programs_of_a_line_are_found(command, found):
    assert programs(command) == found
