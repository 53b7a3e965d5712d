"""Ten questions that a reader asks of a report are answered by the first screen of a committed run."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.report import open_run
from bench.report.analysis import Analysis
from bench.report.build import build
from bench.report.document import Report
from bench.report.load import load_run
from bench.report.markdown import render

RUN = Path(__file__).resolve().parents[2] / "docs" / "reports" / "scifact-choice"


@pytest.fixture(scope="module")
def screen() -> str:
    """The first screen of the run as Markdown, without markup of code."""
    report = build(Analysis(load_run(open_run(RUN))))
    return render(Report(report.title, [report.sections[0]])).replace("`", "")


@pytest.mark.parametrize(
    ("question", "answers"),
    [
        ("What should I deploy?", ["**Use hybrid(frozen)**"]),
        ("How sure is that?", ["95% CI +0.044 to +0.144", "Holm-adjusted p = 0.001 on 104 unseen test queries"]),
        ("Compared with what?", ["over frozen, the base model without training", "all-MiniLM-L6-v2"]),
        (
            "Does training pay, and what earned the gain?",
            ["It trains nothing", "as in hybrid(lora), adds +0.009, 95% CI −0.002 to +0.020: inconclusive"],
        ),
        (
            "What does it cost?",
            ["917 labelled pairs", "16.8 s of fitting", "0 trained parameters", "--usd-per-hour", "809 bytes", "2,345"],
        ),
        ("What does it forget?", ["Worst probe: general −0.187, 95% CI −0.516 to +0.141", "0.516 is possible"]),
        ("What would more labels or steps give?", ["More labels or steps: unknown, try --budget-examples 50,200,800"]),
        ("Was it chosen without test scores?", ["Best of 6 on 401 development queries", "Test queries only confirm."]),
        (
            "How much did each strategy read, and is that fair?",
            ["frozen reads 38% of the text, bm25 100%", "the same labels and budget"],
        ),
        (
            "What would change the answer?",
            ["On test queries hybrid(lora) differs by +0.009", "On development queries hybrid(lora) is within two"],
        ),
    ],
)
def test_the_first_screen_answers(screen: str, question: str, answers: list[str]) -> None:
    assert [answer for answer in answers if answer not in screen] == [], question
