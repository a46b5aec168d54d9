"""Reports: what they say in a terminal, in a notebook and to tools."""

from __future__ import annotations

import io
import json
import re

import pytest
from rich.console import Console

from custom_image.errors import VerificationFailed
from custom_image.report import Check, Report, Severity, Verdict
from custom_image.report.markdown import to_markdown
from custom_image.report.page import to_page
from custom_image.report.terminal import EVIDENCE_LINES, TERMINAL_COLUMNS, InFull


def check(rule_id: str = "http.keep-alive", verdict: Verdict = Verdict.PASSED, **changes) -> Check:
    facts = {
        "id": rule_id,
        "title": "An idle connection is kept open",
        "severity": Severity.ERROR,
        "verdict": verdict,
        "required": "200 s",
        "measured": "closed after 5.0 s idle",
        "evidence": "GET /: 200",
        "remediation": "Set the server's keep-alive.",
        "source": "Specifications <https://example.com/page.html>",
        "duration_s": 5.1,
    }
    return Check(**facts | changes)


def report(*checks: Check, **changes) -> Report:
    facts = {"target": "mnist:1", "level": "quick", "profile": "v2", "checks": checks}
    return Report(**facts | changes)


@pytest.mark.parametrize(
    ("verdicts", "worst"),
    [
        (["PASSED", "FAILED", "WARNING", "NOT CHECKED"], "FAILED"),
        (["PASSED", "WARNING", "NOT CHECKED"], "WARNING"),
        (["PASSED", "NOT CHECKED"], "PASSED"),
        (["NOT CHECKED", "NOT CHECKED"], "NOT CHECKED"),
        ([], "NOT CHECKED"),
    ],
)
def test_the_verdict_is_the_worst_and_nothing_checked_is_no_pass(verdicts, worst):
    found = report(*(check(f"a.{n}", Verdict(v)) for n, v in enumerate(verdicts)))

    assert found.verdict == worst


def test_a_waived_failure_is_counted_apart_and_neither_fails_nor_passes():
    waived = check("a.b", Verdict.FAILED, waived="the gateway keeps connections itself, OPS-12")
    found = report(waived, check("a.c"))

    assert found.verdict == "PASSED"
    assert (found.count(Verdict.FAILED), found.count(Verdict.PASSED)) == (0, 1)
    assert found.counts == {"PASSED": 1, "FAILED": 0, "WARNING": 0, "NOT CHECKED": 0, "WAIVED": 1}
    assert found.summary == "mnist:1 (v2, quick): 1 passed, 1 waived"
    found.raise_for_failures()
    assert report(waived).verdict == "NOT CHECKED"


def test_a_waiver_is_shown_with_its_reason_and_what_was_found():
    waived = check("a.b", Verdict.FAILED, waived="ticket OPS-12")
    found = report(waived, overrides={"waive": {"a.b": "ticket OPS-12"}})

    for shown in (str(found), found._repr_html_()):
        assert "WAIVED" in shown
        assert "ticket OPS-12" in shown
        assert "closed after 5.0 s idle" in shown
    assert json.loads(found.to_json())["checks"][0]["verdict"] == "FAILED"
    assert found.remarks == ()


def test_a_waiver_that_is_not_needed_is_said_to_be_idle():
    found = report(check("a.b"), overrides={"waive": {"a.b": "x", "a.z": "y"}, "limit": {"a.b": 3}})

    assert found.remarks == (
        "limit of a.b replaced: 3",
        "waiver of a.b has no effect, it is PASSED (x)",
        "waiver of a.z has no effect: no such rule in this profile",
    )
    assert all(remark in str(found) for remark in found.remarks)
    assert all(remark in found._repr_html_() for remark in found.remarks)


def test_the_summary_counts_each_verdict():
    found = report(check("a.b"), check("a.c", Verdict.NOT_CHECKED), duration_s=3.14)

    assert found.summary == "mnist:1 (v2, quick): 1 passed, 1 not checked, in 3.1 s"


def test_a_report_without_rules_says_so():
    assert report().summary == "mnist:1 (v2, quick): no rule applies"


def test_a_terminal_of_100_columns_holds_every_line_and_loses_no_word():
    long = " ".join(f"word{number}" for number in range(60))
    text = str(
        report(check(verdict=Verdict.FAILED, measured=long, remediation=long, evidence=long))
    )

    assert max(map(len, text.splitlines())) <= TERMINAL_COLUMNS
    assert len(re.findall(r"\bword59\b", text)) == 3  # measured, evidence, remediation


def test_what_stands_behind_a_failure_is_shown_and_behind_a_pass_is_not():
    text = str(
        report(
            check("a.good", evidence="a good sign"),
            check("a.bad", Verdict.FAILED, evidence="a bad sign"),
            check("a.odd", Verdict.WARNING, evidence="an odd sign"),
        )
    )

    assert "a bad sign" in text
    assert "an odd sign" in text
    assert "a good sign" not in text
    assert text.index("a bad sign") < text.index("an odd sign")


def test_long_evidence_is_cut_and_the_cut_is_said():
    evidence = "\n".join(f"line {number}" for number in range(EVIDENCE_LINES + 5))
    text = str(report(check(verdict=Verdict.FAILED, evidence=evidence)))

    assert f"line {EVIDENCE_LINES - 1}\n" in text
    assert f"line {EVIDENCE_LINES}\n" not in text
    assert "... 5 more lines in the JSON report" in text


def test_markup_in_a_strangers_answer_is_shown_and_not_obeyed():
    hostile = "[bold red]x[/] <script>alert(1)</script> :smile:"
    found = report(check(verdict=Verdict.FAILED, measured=hostile, evidence=hostile))

    assert str(found).count(hostile) == 2
    assert "<script>" not in to_markdown(found).replace(f"```\n{hostile}\n```", "")
    assert "<script>" not in found._repr_html_()


def test_colours_are_for_terminals_only():
    found = report(check(verdict=Verdict.FAILED))
    terminal = io.StringIO()
    Console(file=terminal, force_terminal=True, width=TERMINAL_COLUMNS).print(found)

    assert "\x1b[" in terminal.getvalue()
    assert "\x1b[" not in str(found)


def test_html_leaves_background_and_letters_to_the_page_but_for_its_badges():
    html = report(check(), check("a.b", Verdict.FAILED))._repr_html_()
    style, body = html.split("</style>")

    colours = re.findall(r"(?<!-)(?:color|background):\s*([^;}']+)", style)
    assert set(colours) <= {"inherit", "transparent", "#fff"}
    assert body.count("class='badge' style='background:#") == 2


def test_html_unfolds_what_is_broken_and_folds_what_is_not():
    html = report(check("a.b", evidence="good"), check("a.c", Verdict.FAILED))._repr_html_()

    assert html.count("<details open>") == 1
    assert html.count("<details>") == 2  # the rules that passed, and what stands behind one
    assert html.index("a.c") < html.index("1 rules passed") < html.index("a.b")


def test_what_was_not_checked_is_grouped_by_reason_and_what_passed_is_counted():
    waits = [
        check(f"w.{n}", Verdict.NOT_CHECKED, measured=f"{n} s not waited; use --level full (x)")
        for n in (60, 90)
    ]
    blamed = check("a.c", Verdict.NOT_CHECKED, measured="health.ready FAILED")
    itself = check("a.d", Verdict.NOT_CHECKED, measured="the rule itself broke: KeyError: 1")
    found = report(check("a.b"), *waits, blamed, itself)
    full = str(InFull(found))

    for shown in (str(found), found._repr_html_(), to_page(found), to_markdown(found)):
        text = " ".join(shown.replace("\\", "").split())
        assert text.index("the rule itself broke: KeyError: 1 (a.d)") < text.index(
            "2 true durations not waited, use --level full (w.60, w.90)"
        )
        assert "1 after health.ready, FAILED (a.c)" in text
    assert "1 rules; --all lists every rule" in str(found)
    assert "PASSED       a.b" in full
    assert "PASSED       a.b" not in str(found)


def test_markdown_brings_nothing_of_a_stranger_to_life():
    hostile = (
        "![x](http://e.example/x) <b> | a \n# b @you :tada: www.e.example `code` ``` \n```\nout"
    )
    text = to_markdown(report(check(verdict=Verdict.FAILED, measured=hostile, evidence=hostile)))

    outside = re.sub(r"^````\n.*?^````$", "", text, flags=re.MULTILINE | re.DOTALL)
    outside = re.sub(r"^\* source:.*$|\\.", "", outside, flags=re.MULTILINE)
    assert "\nout" not in outside
    for alive in ("![", "](", "http:", "<b>", " | a", "@you", " :tada", "www.", " `code"):
        assert alive not in outside


def test_json_holds_what_tools_read():
    facts = {"ready_s": 0.6, "sigterm": {"timeline": [[0.0, "signal", True]]}}
    found = report(check(verdict=Verdict.NOT_CHECKED), facts=facts, duration_s=12.5)

    document = json.loads(found.to_json())

    assert document["target"] == "mnist:1"
    assert document["level"] == "quick"
    assert document["profile"] == "v2"
    assert document["verdict"] == "NOT CHECKED"
    assert document["duration_s"] == 12.5
    assert document["facts"] == facts
    assert set(document["checks"][0]) == {
        *("id", "title", "severity", "verdict", "required", "measured", "evidence", "remediation"),
        *("source", "duration_s", "began_s", "waited_s", "requires", "waived"),
    }


def test_a_failure_is_raised_with_what_was_required_found_and_how_to_fix_it():
    found = report(check("a.good"), check("a.bad", Verdict.FAILED), check("a.c", Verdict.WARNING))

    with pytest.raises(VerificationFailed) as failure:
        found.raise_for_failures()

    first, line = str(failure.value).splitlines()
    assert first == found.summary
    assert line == (
        "a.bad: required 200 s, found closed after 5.0 s idle. Set the server's keep-alive."
    )
    assert failure.value.report is found


def test_warnings_and_what_was_not_checked_raise_nothing():
    report(check("a.b", Verdict.WARNING), check("a.c", Verdict.NOT_CHECKED)).raise_for_failures()


def test_a_check_is_found_by_the_id_of_its_rule():
    found = report(check("a.b"), check("a.c"))

    assert found.check("a.c") is found.checks[1]
    with pytest.raises(KeyError, match=r"a\.d"):
        found.check("a.d")
