"""The catalogue of rules, and the judgements that need no running service."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass, field
from typing import Any

import pytest

from custom_image.drills.sigterm import Drain
from custom_image.drills.sigterm_clients import Event
from custom_image.engines import ImageFacts, ImageFile
from custom_image.report import Verdict
from custom_image.rules import GROUPS, Level, Needs, Requirement, catalogue, docs
from custom_image.rules.static.accounts import Account, can_read
from custom_image.rules.static.boot import boot_path
from custom_image.specification import EDITIONS, HUAWEICLOUD

RULES = {rule.id: rule for rule in catalogue()}


def facts(*command: str, **changes: Any) -> ImageFacts:
    known = {
        "reference": "mnist:1",
        "id": "sha256:0",
        "size_bytes": 250_000_000,
        "layers": (),
        "command": command or ("sh", "/home/run.sh"),
        "shell_form": command[:2] == ("/bin/sh", "-c"),
        "user": "1000:100",
        "working_dir": "/home/ma-user",
        "environment": {},
        "exposed_ports": (8080,),
        "architecture": "amd64",
        "os": "linux",
        "labels": {},
        "history": (("COPY weights", 200_000_000), ("FROM base", 50_000_000)),
    }
    return ImageFacts(**known | changes)


@dataclass
class Seen:
    """What a static rule sees: an image's facts and files, nothing that runs."""

    image: ImageFacts = field(default_factory=facts)
    files: dict[str, ImageFile] = field(default_factory=dict)
    edition: Any = HUAWEICLOUD

    def find_file(self, path: str) -> ImageFile | None:
        return self.files.get(path)

    def read_file(self, path: str) -> bytes | None:
        return self.files[path].content if path in self.files else None


def file(content: bytes = b"#!/bin/sh\n", mode: int = 0o755, uid: int = 1000, gid: int = 100):
    return ImageFile(content, mode, uid, gid)


def judge(rule_id: str, seen: Seen):
    return RULES[rule_id].judge(seen)


# --- the catalogue ------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_every_rule_says_what_why_and_how_to_fix(rule):
    assert re.fullmatch(r"[a-z]+\.[a-z]+(-[a-z]+)*", rule.id)
    assert len(rule.title) <= 90
    assert not rule.title.endswith(".")
    assert rule.why.endswith(".")
    assert rule.remediation
    assert rule.profiles
    assert rule.source.url.startswith("https://")
    assert rule.required_by(HUAWEICLOUD)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_a_rule_stands_in_the_file_of_its_group(rule):
    module = GROUPS[rule.id.split(".")[0]]

    assert inspect.getmodule(rule.judge).__name__ == f"custom_image.rules.{module}"


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_a_rule_comes_after_rules_that_stand_above_it(rule):
    ids = list(RULES)

    assert all(ids.index(before) < ids.index(rule.id) for before in rule.requires)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_only_rules_that_run_nothing_say_something_at_level_static(rule):
    runs_something = rule.needs & (Needs.SERVICE | Needs.INSTANCE | Needs.CONTAINER)

    assert rule.level == (Level.QUICK if runs_something else Level.STATIC)


def test_the_table_in_the_readme_is_that_of_the_catalogue():
    assert docs.PAGE.read_text() == docs.current_page(), "run python -m custom_image.rules.docs"


def test_levels_are_ordered():
    assert Level.FULL.reaches(Level.QUICK)
    assert Level.QUICK.reaches(Level.QUICK)
    assert not Level.STATIC.reaches(Level.QUICK)


# --- image --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("edition", "size_gb", "verdict"),
    [
        ("huaweicloud", 50, "PASSED"),
        ("classic", 50.1, "FAILED"),
        ("otc", 30.1, "FAILED"),
        ("otc", 29.9, "PASSED"),
    ],
)
def test_the_size_is_held_to_the_limit_of_the_edition(edition, size_gb, verdict):
    seen = Seen(facts(size_bytes=int(size_gb * 1e9)), edition=EDITIONS[edition])

    assert judge("image.size", seen).verdict == verdict


def test_an_image_for_an_ecs_is_too_large_for_a_notebook_and_names_its_largest_layers():
    finding = judge("image.notebook-size", Seen(facts(size_bytes=40 * 10**9)))

    assert finding.verdict is Verdict.FAILED
    assert finding.measured == "40.0 GB"
    assert finding.evidence.splitlines()[0].endswith("0.200 GB  COPY weights")


@pytest.mark.parametrize(
    ("os", "architecture", "verdict"),
    [
        ("linux", "amd64", "PASSED"),
        ("linux", "arm64", "PASSED"),
        ("linux", "riscv64", "FAILED"),
        ("windows", "amd64", "FAILED"),
    ],
)
def test_the_platform_has_two_architectures_of_linux(os, architecture, verdict):
    seen = Seen(facts(os=os, architecture=architecture))

    assert judge("image.platform", seen).verdict == verdict


# --- boot ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "path"),
    [
        (["sh", "/home/run.sh"], "/home/run.sh"),
        (["/bin/bash", "-e", "run.sh"], "/home/ma-user/run.sh"),
        (["/home/run.sh"], "/home/run.sh"),
        (["/usr/bin/tini", "--", "sh", "/home/run.sh"], "/home/run.sh"),
        (["python3", "-u", "/opt/test_app.py"], "/opt/test_app.py"),
        (["python3", "-m", "http.server"], ""),
        (["gunicorn", "--chdir", "/opt/app", "app:app"], ""),
        (["/bin/sh", "-c", "python3  /opt/test_app.py"], "/opt/test_app.py"),
        (["/bin/sh", "-c", "exec sh /home/mind/run.sh"], "/home/mind/run.sh"),
        (["/bin/sh", "-c", "cd /opt && sh run.sh"], ""),
        (["/bin/sh", "-c", "sh 'unclosed"], ""),
        (["tini", "--"], ""),
    ],
)
def test_the_boot_file_is_the_one_that_the_command_names(command, path):
    assert boot_path(facts(*command)) == path


def test_a_command_that_names_no_file_is_not_checked_for_one():
    finding = judge("boot.file", Seen(facts("python3", "-m", "http.server")))

    assert finding.verdict is Verdict.NOT_CHECKED


def test_an_image_without_a_command_fails():
    assert judge("boot.command", Seen(facts(command=()))).verdict is Verdict.FAILED


def test_a_boot_file_that_is_not_there_fails_by_its_path():
    finding = judge("boot.file", Seen())

    assert finding.verdict is Verdict.FAILED
    assert "/home/run.sh" in finding.measured


@pytest.mark.parametrize(
    ("user", "found", "verdict"),
    [
        ("1000:100", file(mode=0o700), "PASSED"),
        ("1000:100", file(mode=0o700, uid=0), "FAILED"),
        ("1000:100", file(mode=0o740, uid=0), "PASSED"),
        ("ma-user", file(mode=0o640, uid=0), "PASSED"),
        ("ma-user", file(mode=0o604, uid=0, gid=0), "PASSED"),
        ("", file(mode=0o000, uid=0), "PASSED"),
        ("nobody", file(mode=0o644), "PASSED"),
    ],
)
def test_the_boot_file_is_readable_by_the_user_that_the_image_starts_as(user, found, verdict):
    passwd = file(b"root:x:0:0::/root:/bin/sh\nma-user:x:1000:100::/home/ma-user:/bin/sh\n")
    seen = Seen(facts(user=user), {"/home/run.sh": found, "/etc/passwd": passwd})

    assert judge("boot.file", seen).verdict == verdict


@pytest.mark.parametrize(
    ("content", "verdict"),
    [
        (b"#!/bin/sh\nexec python3 serve.py\n", "PASSED"),
        (b"#!/bin/sh\r\nexec python3 serve.py\r\n", "FAILED"),
        (b"\xef\xbb\xbf#!/bin/sh\nexec python3 serve.py\n", "FAILED"),
        (b"exec python3 serve.py\n", "WARNING"),
        (b"", "WARNING"),
    ],
)
def test_the_boot_file_is_text_for_a_shell(content, verdict):
    assert judge("boot.text", Seen(files={"/home/run.sh": file(content)})).verdict == verdict


def test_a_boot_file_that_is_run_directly_needs_its_shebang():
    seen = Seen(facts("/home/run.sh"), {"/home/run.sh": file(b"exec python3 serve.py\n")})

    assert judge("boot.text", seen).verdict is Verdict.FAILED


def test_older_pages_call_the_shell_by_its_path():
    assert judge("batch.boot-file", Seen(facts("/bin/sh", "/home/run.sh"))).verdict == "PASSED"
    assert judge("batch.boot-file", Seen(facts("sh", "/opt/run.sh"))).verdict == "FAILED"


# --- user ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "verdict"),
    [
        ("ma-user:x:1000:100::/home/ma-user:/bin/bash", "PASSED"),
        ("ubuntu:x:1000:1000::/home/ubuntu:/bin/bash", "FAILED"),
        ("ma-user:x:1000:100::/root:/bin/bash", "FAILED"),
        ("ma-user:x:1001:100::/home/ma-user:/bin/bash", "FAILED"),
        ("not a line of passwd", "FAILED"),
    ],
)
def test_the_account_has_the_name_ids_and_home_of_the_platform(line, verdict):
    seen = Seen(files={"/etc/passwd": file(f"root:x:0:0::/root:/bin/sh\n{line}\n".encode())})

    assert judge("user.account", seen).verdict == verdict


def test_root_reads_everything_and_others_what_the_mode_lets_them():
    secret = file(mode=0o600, uid=0, gid=0)

    assert can_read(Account("root", 0, 0), secret)
    assert not can_read(Account("ma-user", 1000, 100), secret)


# --- the SIGTERM drill's record -------------------------------------------------------------------


def drain(*events: Event, **changes: Any) -> Drain:
    known = {
        "drain_s": 60,
        "exit_s": 90,
        "events": events,
        "exited_s": 61.0,
        "exit_code": 0,
        "is_caught": True,
        "orphans": (),
    }
    return Drain(**known | changes)


def test_a_request_is_lost_only_while_the_service_has_to_serve():
    found = drain(
        Event(-0.5, "new", False),
        Event(0.0, "new", False),
        Event(59.7, "kept-alive", False),
        Event(60.1, "new", False),
        Event(30.0, "health", False),
        Event(30.0, "slow", False),
    )

    assert [event.t_s for event in found.lost()] == [0.0, 59.7]
    assert [event.t_s for event in found.cut_off()] == [30.0]


def test_the_timeline_is_plain_data_for_plots():
    fact = drain(Event(0.0, "signal", True, "SIGTERM"), Event(60.98765, "exit", True)).to_fact()

    assert fact["timeline"] == [[0.0, "signal", True], [60.988, "exit", True]]
    assert fact["exited_s"] == 61.0
    assert fact["exit_code"] == 0


def test_requirements_print_as_people_write_them():
    assert str(Requirement(50, "GB", HUAWEICLOUD.image_size.source)) == "50 GB"
