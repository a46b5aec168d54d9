"""What follows from the answers of probes, against the words of the platform's page."""

from __future__ import annotations

import math
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_modelarts.runtime.probes import (
    CONNECT,
    HTTP,
    ROLES,
    Probe,
    Vitals,
    ask,
    classic,
    from_json,
    inference_2_0,
    port_opens,
)

PROBE = st.builds(
    Probe,
    method=st.just(HTTP),
    delay_s=st.integers(0, 30),
    period_s=st.integers(1, 10),
    failures=st.integers(1, 4),
)
PROBES = st.dictionaries(st.sampled_from(ROLES), PROBE)


ANSWERS = st.lists(st.fixed_dictionaries(dict.fromkeys(ROLES, st.booleans())), max_size=30)


@given(probes=PROBES, answers=ANSWERS)
def test_every_history_of_answers_leads_where_the_page_says(
    probes: dict[str, Probe], answers: list[dict[str, bool]]
) -> None:
    vitals = Vitals(probes)
    vitals.begin(0.0)
    seen: dict[str, list[bool]] = {role: [] for role in ROLES}
    now = 0.0
    for answer in answers:
        now = max(now, min(*map(vitals.due_at, ROLES), now + 60))
        for role in [role for role in ROLES if vitals.due_at(role) <= now]:
            vitals.record(role, now, ok=answer[role])
            seen[role].append(answer[role])

        assert vitals.has_started == ("startup" not in probes or any(seen["startup"]))
        if not vitals.has_started:
            assert not vitals.is_ready
            assert not seen["readiness"] + seen["liveness"], "the others wait for startup"
        elif "readiness" not in probes:
            assert vitals.is_ready
        elif not any(seen["readiness"]):
            assert not vitals.is_ready
        failed = [
            role
            for role in ("startup", "liveness")
            if role in probes
            and len(seen[role]) >= probes[role].failures
            and not any(seen[role][-probes[role].failures :])
        ]
        assert [vitals.failed] == (failed or [""])


@given(probe=PROBE)
def test_no_probe_is_asked_before_its_delay_or_sooner_than_its_period(probe: Probe) -> None:
    vitals = Vitals({"startup": probe})
    vitals.begin(100.0)

    assert vitals.due_at("startup") == 100.0 + probe.delay_s
    vitals.record("startup", 200.0, ok=False)
    assert vitals.due_at("startup") == 200.0 + probe.period_s


def test_the_start_fails_after_as_many_failures_as_are_allowed() -> None:
    probe = classic({"url": "/health"})
    assert probe is not None
    vitals = Vitals({"startup": probe, "liveness": probe})
    vitals.begin(0.0)

    failed_at = next(
        now
        for now in range(1000)
        if vitals.due_at("startup") <= now and _fails(vitals, "startup", now)
    )

    # The console's defaults: 12 s delay, every 5 s, 12 failures.
    assert failed_at == 12 + 11 * 5


def _fails(vitals: Vitals, role: str, now: float) -> bool:
    vitals.record(role, now, ok=False)
    return vitals.failed == role


def test_an_instance_that_had_proved_itself_is_ready_for_the_next_platform_at_once() -> None:
    probe = Probe(HTTP, delay_s=12, failures=1)
    vitals = Vitals(dict.fromkeys(ROLES, probe))
    vitals.begin(0.0, has_started=True)

    assert vitals.is_ready
    assert [vitals.due_at(role) for role in ROLES] == [math.inf, 0.0, 0.0]


def test_a_readiness_probe_takes_an_instance_out_and_in_again() -> None:
    vitals = Vitals({"readiness": Probe(HTTP, failures=2)})
    vitals.begin(0.0)
    found = []
    for now, ok in enumerate((True, False, False, True)):
        vitals.record("readiness", now, ok=ok)
        found.append(vitals.is_ready)

    assert found == [True, True, False, True]
    assert vitals.failed == ""


def test_both_generations_read_their_own_numbers() -> None:
    old = classic({"check_method": "EXEC", "command": "sh /health.sh", "period_seconds": "3"})
    new = inference_2_0({"url": "/health"})

    assert old == Probe("EXEC", command="sh /health.sh", delay_s=12, period_s=3, timeout_s=3)
    assert new == Probe(
        HTTP, "/health", delay_s=30, period_s=10, timeout_s=30, failures=3, good=(200, 399)
    )
    assert classic(None) is None
    assert inference_2_0({}) is None


@given(probe=PROBE)
def test_a_probe_survives_the_database(probe: Probe) -> None:
    assert from_json(probe.to_json()) == probe


# --- asking ---------------------------------------------------------------------------------------


class Statuses(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(int(self.path.strip("/")))
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def server() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Statuses) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("status", "is_good", "is_good_in_2_0"),
    [(200, True, True), (204, False, True), (302, False, True), (399, False, True)]
    + [(status, False, False) for status in (400, 404, 500, 503)],
)
def test_the_generations_count_other_answers_as_success(
    status: int, is_good: bool, is_good_in_2_0: bool, server: int
) -> None:
    health = {"url": f"/{status}"}
    old, new = classic(health), inference_2_0(health)
    assert old is not None
    assert new is not None

    assert (ask(old, "127.0.0.1", server) == "") == is_good
    assert (ask(new, "127.0.0.1", server) == "") == is_good_in_2_0


def test_a_port_that_accepts_connections_is_enough_without_a_health_check(server: int) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed = free.getsockname()[1]

    assert port_opens().method == CONNECT
    assert ask(port_opens(), "127.0.0.1", server) == ""
    assert "ConnectionRefusedError" in ask(port_opens(), "127.0.0.1", closed)


def test_what_is_no_http_is_no_success() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"garbage\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        found = ask(Probe(HTTP, "/"), "127.0.0.1", listener.getsockname()[1])
        thread.join()
    assert "BadStatusLine" in found
