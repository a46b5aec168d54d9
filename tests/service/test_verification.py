"""The verifier on services that run as processes: a good one, the same broken, strangers'."""

from __future__ import annotations

import dataclasses
import gc
import json
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import trustme
from interrupting import INTERRUPTIBLE
from judging import BROKEN, HURRIED, SHORT, Diary, copy_good_service, judge, replace, verdicts

from custom_image.engines.process.engine import ProcessEngine
from custom_image.probing.http import Request, SlowRequest, ask
from custom_image.report import Verdict
from custom_image.rules import REGISTRY, Waits


@pytest.fixture
def service(tmp_path):
    return copy_good_service(tmp_path)


@pytest.fixture
def impatience():
    """Threads take turns as often as can be."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@contextmanager
def served(handler):
    """Serve on loopback, in a thread of this process."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


# --- a good service ---------------------------------------------------------------------------


def test_a_good_process_passes_but_for_durations_and_what_only_an_image_has(service):
    report = judge(service)

    assert verdicts(report, *BROKEN) == [], str(report)
    reasons = {c.measured.partition(" (")[0] for c in report.checks if c.verdict == "NOT CHECKED"}
    assert reasons == {
        "a process has no image metadata",
        "a process has no container of its own",
        "a process has no Dockerfile; a build context has",
        "no samples were given; name them with --samples, or put warm_up.* beside config.json",
        "no customize_service.py: the image serves in its own way",
        "no api answers the handshake of WebSocket",
        "the first api takes no text that could hold a file",
        "2000 requests not waited; use --level full",
        "no health check is a command",
        "no api declares or sends a stream of events",
        *(f"{wait_s} s not waited; use --level full" for wait_s in (60, 90, 200)),
    }


def test_rules_about_durations_pass_at_the_true_durations_only(service):
    ids = ["http.keep-alive", "sigterm.serves", "sigterm.exit"]

    short = judge(service, only=ids)
    # At true durations the service is told nothing: its own have to do.
    replace(service / "serve.py", '"DRAIN_SECONDS", "60"', '"DRAIN_SECONDS", "1"')
    replace(service / "serve.py", '"EXIT_SECONDS", "85"', '"EXIT_SECONDS", "3"')
    true = judge(service, only=ids, waits=dataclasses.replace(SHORT, true=True))

    assert {short.check(rule_id).verdict for rule_id in ids} == {Verdict.NOT_CHECKED}
    assert {true.check(rule_id).verdict for rule_id in ids} == {Verdict.PASSED}


def test_an_exit_that_is_late_by_a_moment_fails_at_the_true_duration(service):
    replace(service / "serve.py", '"DRAIN_SECONDS", "60"', '"DRAIN_SECONDS", "1"')
    replace(service / "serve.py", '"EXIT_SECONDS", "85"', '"EXIT_SECONDS", "7.8"')

    late = judge(service, only=["sigterm.exit"], waits=Waits(True, 1, 1, 2.5)).check("sigterm.exit")

    assert late.verdict is Verdict.FAILED
    assert late.measured.startswith("gone after 2.")


def test_the_report_keeps_what_was_measured_for_plots(service):
    report = judge(service, only=["sigterm.serves", "http.latency"])

    drill = report.facts["sigterm"]
    kinds = {kind for _, kind, _ in drill["timeline"]}
    assert kinds == {"new", "kept-alive", "slow", "health", "idle", "signal", "exit"}
    assert drill["timeline"] == sorted(drill["timeline"], key=lambda event: event[0])
    assert drill["exit_code"] == 0
    assert 1 <= drill["exited_s"] <= SHORT.exit_s
    assert report.facts["latency"]["p50_ms"] <= report.facts["latency"]["slowest_ms"]
    assert json.loads(report.to_json())["facts"]["sigterm"] == drill


def test_nothing_is_left_running(service):
    replace(service / "run.sh", "exec", f"echo $$ >>{service}/pids; exec")

    judge(service, only=["http.bad-input", "sigterm.exit"])

    pids = [int(line) for line in (service / "pids").read_text().split()]
    assert len(pids) == 3  # the shared one, one for bad input, one for SIGTERM
    assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []


# --- the same, broken in one line -------------------------------------------------------------

SLOW_START = "import time; time.sleep(1.5)\nserver.serve_forever()"


@pytest.mark.parametrize(
    ("rule_id", "old", "new"),
    [
        ("health.ready", "server = Server", "sys.exit(3)\nserver = Server"),
        ("health.answers", '"/health"', '"/healthz"'),
        ("health.body", '{"health": "true"}', "fine"),
        ("health.start-time", "server.serve_forever()", SLOW_START),
        ("api.answers", "self.answer(200, '{\"mnist", "self.answer(500, '{\"mnist"),
        ("api.content-type", '"application/json"', '"text/html"'),
        ("api.response-schema", '"mnist_result": 7', '"mnist_result": "7"'),
        ("http.bad-input", "self.answer(400", "self.answer(500"),
        ("http.bad-input", "self.answer(400", "os._exit(1)  #"),
        ("http.bad-input", "self.answer(400", "time.sleep(60)  #"),
        ("http.keep-alive", "KEEP_ALIVE_SECONDS = 210", "KEEP_ALIVE_SECONDS = 1"),
        ("http.keep-alive", '"HTTP/1.1"', '"HTTP/1.0"'),
        (
            "workers.stay",
            "body = self",
            "threading.active_count() > 8 and os._exit(1); body = self",
        ),
        ("workers.busy", '== "/health"', '== "/health" and threading.active_count() < 9'),
        ("logs.stdout", 'sys.stdout.write(form % values + "\\n")', "pass"),
        ("sigterm.serves", "time.sleep(DRAIN_SECONDS)", "time.sleep(0.1)"),
        ("sigterm.serves", "signal.signal(signal.SIGTERM, stop)", "pass"),
        ("sigterm.in-flight", "time.sleep((EXIT_SECONDS - DRAIN_SECONDS) / 4)", "pass"),
        ("sigterm.exit", "os._exit(EXIT_CODE)", "pass"),
        ("sigterm.exit", "signal.SIGTERM, stop", "signal.SIGTERM, signal.SIG_IGN"),
        ("sigterm.exit-code", "EXIT_CODE = 0", "EXIT_CODE = 3"),
        (
            "sigterm.orphans",
            "server.serve_forever()",
            "os.system('sleep 99 &'); server.serve_forever()",
        ),
    ],
)
def test_one_broken_line_is_found_by_its_rule(service, rule_id, old, new):
    replace(service / "serve.py", old, new)
    if rule_id == "health.start-time":
        config = json.loads((service / "config.json").read_text())
        config["health"] |= {"initial_delay_seconds": 0, "period_seconds": 1}
        config["health"] |= {"failure_threshold": 1}
        (service / "config.json").write_text(json.dumps(config))

    report = judge(service, only=[rule_id], waits=HURRIED)

    assert report.check(rule_id).verdict in BROKEN, str(report)


PREDICTION = "            self.answer(200, '{\"mnist_result\": 7}')\n"


def test_who_hangs_at_sigterm_is_found_though_no_client_can_ask_again(service):
    """As vLLM does: it accepts nobody any more, and what it has accepted never ends."""
    code = service / "serve.py"
    hangs = "            time.sleep(0.4)\n            stopped.is_set() and time.sleep(60)\n"
    replace(code, "health = 200\n", "health = 200\nstopped = threading.Event()\n")
    replace(code, PREDICTION, hangs + PREDICTION)
    replace(code, "def drain():\n", "def drain():\n    stopped.set()\n    server.socket.close()\n")

    report = judge(service, only=["sigterm.serves"])

    assert report.check("sigterm.serves").verdict is Verdict.FAILED, str(report)
    assert "requests lost" in report.check("sigterm.serves").measured


def test_a_model_that_is_slow_for_many_clients_is_not_blamed_for_its_upgrade(service, monkeypatch):
    for module in ("drills.load_balancer", "rules.lifecycle.hitless"):
        monkeypatch.setattr(f"custom_image.{module}.PATIENCE_S", 0.3)
    code = service / "serve.py"
    replace(code, "health = 200\n", "health = 200\nturn = threading.Lock()\n")
    slow = f"            with turn:\n                time.sleep(0.1)\n{PREDICTION}"
    replace(code, PREDICTION, slow)

    check = judge(service, only=["hitless.upgrade"]).check("hitless.upgrade")

    assert check.verdict is Verdict.NOT_CHECKED, check
    assert "before the upgrade already" in check.measured


def test_a_late_answer_is_no_other_answer(service, monkeypatch):
    monkeypatch.setattr("custom_image.rules.lifecycle.determinism.PATIENCE_S", 0.2)
    code = service / "serve.py"
    replace(code, "health = 200\n", "health = 200\nturn = threading.Lock()\n")
    late = (
        "            alone = turn.acquire(blocking=False)\n"
        "            time.sleep(0.05 if alone else 0.5)\n"
        "            alone and turn.release()\n"
    )
    replace(code, PREDICTION, late + PREDICTION)

    check = judge(service, only=["repeated.answers"]).check("repeated.answers")

    assert check.verdict is Verdict.NOT_CHECKED, check
    assert "not answered in time" in check.measured


# --- what becomes of rules that cannot be judged --------------------------------------------------


def test_a_failure_makes_the_rules_that_come_after_it_not_checked_and_is_named(service):
    replace(service / "serve.py", "server = Server", "sys.exit(3)\nserver = Server")

    report = judge(service)

    assert verdicts(report, *BROKEN) == ["health.ready"]
    assert report.check("health.ready").measured.startswith("ended with exit code 3 after ")
    for rule_id in ("api.answers", "api.response-schema", "http.keep-alive", "sigterm.orphans"):
        assert report.check(rule_id).measured == "health.ready FAILED"


def test_the_log_of_a_service_that_never_became_ready_is_evidence(service):
    replace(service / "serve.py", "server = Server", "raise OSError('no such model') #")

    check = judge(service, only=["health.ready"]).check("health.ready")

    assert "OSError: no such model" in check.evidence


def test_a_start_that_takes_too_long_is_no_wrong_port(service):
    """On a slow machine it listens nowhere yet when the watch ends."""
    replace(service / "serve.py", "server = Server", "time.sleep(60)\nserver = Server")

    report = judge(service, only=["health.ready"], ready_timeout_s=2)

    assert verdicts(report, *BROKEN) == ["health.ready"], str(report)
    assert report.check("network.port").measured.startswith("it listens on no port yet")


def test_a_rule_that_breaks_is_not_checked_and_says_why(service, monkeypatch):
    def breaks(context):
        raise ZeroDivisionError("division by zero\nand more")

    broken = dataclasses.replace(REGISTRY["api.answers"], judge=breaks)
    monkeypatch.setitem(REGISTRY, "api.answers", broken)

    report = judge(service, only=["api.content-type", "health.body"])

    check = report.check("api.answers")
    assert check.verdict is Verdict.NOT_CHECKED
    assert check.measured == "the rule itself broke: ZeroDivisionError: division by zero"
    assert report.check("api.content-type").measured == "api.answers NOT CHECKED"
    assert report.check("health.body").verdict is Verdict.PASSED


def test_a_config_that_is_refused_fails_once_and_the_other_rules_are_judged(service):
    replace(service / "config.json", '"Image"', '"image"')

    report = judge(service, only=["api.answers", "health.declared", "http.latency"])

    assert verdicts(report, *BROKEN) == ["config.valid"]
    assert 'expected "Image", found "image"' in report.check("config.valid").measured
    assert report.check("health.declared").verdict is Verdict.PASSED
    assert report.check("http.latency").verdict is Verdict.PASSED


# --- targets ------------------------------------------------------------------------------------


def test_a_url_is_asked_and_neither_stopped_nor_looked_into(service):
    with ProcessEngine().start(str(service)) as instance:
        report = judge(instance.url, config=service / "config.json")

        assert instance.is_running()
    assert verdicts(report, *BROKEN) == []
    passed = set(verdicts(report, Verdict.PASSED))
    assert {"api.answers", "health.answers", "http.bad-input", "http.latency"} <= passed
    assert report.check("sigterm.exit").measured == (
        "a URL has no instances that could be started and stopped"
    )
    assert report.check("http.keep-alive").measured.startswith("200 s not waited")


TLS = """server = Server(address, Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("{folder}/cert.pem", "{folder}/key.pem")
server.socket = context.wrap_socket(server.socket, server_side=True)
"""


def test_a_service_that_declares_https_is_asked_over_tls_whoever_signed(service):
    issued = trustme.CA().issue_cert("x")
    issued.cert_chain_pems[0].write_to_path(service / "cert.pem")
    issued.private_key_pem.write_to_path(service / "key.pem")
    replace(service / "serve.py", "import os", "import os\nimport ssl")
    replace(service / "serve.py", "server = Server(address, Handler)\n", TLS.format(folder=service))
    replace(service / "config.json", '"url": "/",', '"url": "/", "protocol": "https",')

    report = judge(service, only=["http.keep-alive", "http.bad-input", "sigterm.exit-code"])

    assert report.check("api.answers").verdict is Verdict.PASSED
    assert verdicts(report, *BROKEN) == [], str(report)
    assert report.check("http.keep-alive").measured.startswith("200 s not waited")


@pytest.mark.usefixtures("impatience")
def test_a_tls_connection_that_is_reset_before_its_handshake_leaves_no_socket_open():
    """Python warns of every socket that it has to close itself, which fails a test."""
    reset = struct.pack("ii", 1, 0)
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"https://127.0.0.1:{server.getsockname()[1]}"

        def reset_all():
            with suppress(OSError):
                while True:
                    client, _ = server.accept()
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
                    client.close()

        thread = threading.Thread(target=reset_all)
        thread.start()
        with ThreadPoolExecutor(4) as clients:  # so busy that resets come early
            answers = list(clients.map(ask, [url] * 400, [Request("GET", "/")] * 400))
        server.shutdown(socket.SHUT_RDWR)
        thread.join()

    assert all(answer.error for answer in answers)
    gc.collect()


def test_a_slow_request_that_is_turned_away_leaves_no_socket_open():
    """A port may be open on behalf of a service that is gone, as that of a container is."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        slow = SlowRequest(
            f"http://127.0.0.1:{server.getsockname()[1]}", Request("POST", "/", b"a picture")
        )
        turning_away = threading.Thread(target=lambda: server.accept()[0].close())
        turning_away.start()

        assert not slow.begin()
        turning_away.join()

    del slow
    gc.collect()


# --- strangers' services ------------------------------------------------------------------------


def test_pythons_own_file_server_gets_a_sensible_table(tmp_path):
    (tmp_path / "run.sh").write_text('#!/bin/sh\nexec python3 -m http.server "$PORT"\n')

    report = judge(tmp_path)

    assert set(verdicts(report, Verdict.FAILED)) == {"http.keep-alive", "sigterm.serves"}
    assert verdicts(report, Verdict.WARNING) == ["sigterm.exit-code"]
    assert report.check("http.keep-alive").measured == "closed right after the answer"
    assert report.check("sigterm.exit-code").measured == "143: it died of SIGTERM"
    assert report.check("config.valid").measured == "no config.json; name one with --config"
    assert "broke" not in str(report)


def test_who_serves_one_at_a_time_and_ends_at_once_cuts_off_what_it_has_in_hand(service):
    """No client behind that one was answered, so only its own end tells."""
    code = service / "serve.py"
    replace(code, ", ThreadingHTTPServer", ", HTTPServer as ThreadingHTTPServer")
    replace(code, "HTTP/1.1", "HTTP/1.0")
    replace(code, "signal.signal(signal.SIGTERM, stop)\n", "")

    report = judge(service, only=["sigterm.in-flight"])

    assert report.check("sigterm.in-flight").verdict is Verdict.FAILED, str(report)
    assert "cut off" in report.check("sigterm.in-flight").measured


def test_a_server_that_never_answers_costs_no_more_than_the_time_it_is_given():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        report = judge(f"http://127.0.0.1:{silent.getsockname()[1]}", ready_timeout_s=1.5)

    assert time.monotonic() - began < 5
    assert verdicts(report, Verdict.FAILED) == ["health.ready"]


def test_an_answer_without_end_is_cut(service):
    class Endless(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            try:
                while True:
                    self.wfile.write(b"x" * 65536)
            except OSError:
                pass

        def log_message(self, *arguments):
            pass

    with served(Endless) as url:
        report = judge(url, only=["http.keep-alive"])

    assert report.check("health.ready").verdict is Verdict.PASSED
    assert report.check("http.keep-alive").verdict is Verdict.FAILED


def test_what_a_stranger_answers_cannot_steer_the_terminal(service):
    replace(service / "serve.py", '{"health": "true"}', "\\x1b[2Jgone\\x07")

    report = judge(service, only=["health.body"])

    assert "\x1b" not in str(report) + report.to_json() + report._repr_html_()
    assert "gone" in report.check("health.body").evidence


def test_health_that_says_yes_before_the_model_can_is_false_healthy(service):
    replace(service / "serve.py", "health = 200", "health = 200; began = time.monotonic()")
    replace(
        service / "serve.py",
        "        if int(",
        "        if time.monotonic() - began < 1:\n"
        "            self.close_connection = True\n"
        "            return self.answer(503, '{}')\n"
        "        if int(",
    )

    check = judge(service, only=["health.truth"]).check("health.truth")

    assert check.verdict is Verdict.FAILED
    assert check.measured.startswith("healthy at 0.")
    assert "right after a good health check: 503" in check.evidence


# --- watching and interrupting --------------------------------------------------------------------


@pytest.mark.parametrize("waiting_for", ["http.keep-alive", "sigterm.serves"])
def test_an_interrupt_ends_every_drill_and_removes_what_was_started(service, waiting_for):
    replace(service / "run.sh", "exec", f"echo $$ >>{service}/pids; exec")
    code = (
        "from custom_image.verification import verify\n"
        f"verify({str(service)!r}, level='full', only=[{waiting_for!r}])"
    )
    wanted = 1 if waiting_for == "http.keep-alive" else 2

    verifier = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTIBLE + code], stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and len(pids(service)) < wanted:
        time.sleep(0.05)
    for line in verifier.stderr:  # the last rule before the drill has its verdict
        if "api.answers" in line:
            break
    verifier.send_signal(signal.SIGINT)
    _, error = verifier.communicate(timeout=50)  # a drill of level full takes longer

    assert verifier.returncode == -signal.SIGINT, error
    assert error.endswith("KeyboardInterrupt\n")
    assert len(pids(service)) == wanted
    assert [pid for pid in pids(service) if Path(f"/proc/{pid}").exists()] == []


def pids(service: Path) -> list[int]:
    path = service / "pids"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def test_an_error_of_the_verifier_itself_removes_what_was_started(service):
    replace(service / "run.sh", "exec", f"echo $$ >>{service}/pids; exec")

    class Fragile(Diary):
        def ended(self, check):
            if check.id == "api.answers":
                raise RuntimeError("the watcher broke")

    with pytest.raises(RuntimeError, match="the watcher broke"):
        judge(service, progress=Fragile())

    assert [pid for pid in pids(service) if Path(f"/proc/{pid}").exists()] == []
