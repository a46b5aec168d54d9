"""Notebooks of a list, each a process of its own: `custom-image fleet notebooks`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from custom_image.cli import app

FIXTURES = Path(__file__).parent / "fixtures"


@pytest.fixture
def fleet(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("well_behaved", "failing_cell"):
        shutil.copy(FIXTURES / f"{name}.ipynb", tmp_path)

    def run(lines: str) -> tuple[int, dict]:
        (tmp_path / "notebooks.txt").write_text(lines)
        with pytest.raises(SystemExit) as ended:
            app(["fleet", "notebooks", "notebooks.txt", "--output", "runs", "--format", "json"])
        return int(ended.value.code or 0), json.loads(capsys.readouterr().out)

    return run


def test_a_notebook_that_fails_is_told_and_what_ran_is_not_run_again(fleet, tmp_path):
    code, found = fleet("well_behaved.ipynb digit=3\nfailing_cell.ipynb\nno_such\n")
    again, known = fleet("well_behaved.ipynb digit=3\n")

    good, bad = found["tasks"]
    assert code == 1
    assert [row["state"] for row in (good, bad)] == ["DONE", "FAILED"]
    (results,) = good["output"]
    assert results["parameters"]["digit"] == 3
    assert Path(results["executed"]).is_relative_to(tmp_path / "runs")
    assert Path(results["executed"]).is_file()
    assert "seven is not a picture" in bad["error"]
    assert [line["number"] for line in found["bad_lines"]] == [3]
    assert again == 0
    assert known["tasks"][0]["ran"] is False
    assert known["tasks"][0]["output"] == good["output"]
