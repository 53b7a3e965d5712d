"""The console: tables on a narrow terminal or piped, in which no name is cut and no word broken, and progress."""

from __future__ import annotations

import pytest
from rich.table import Table

from bench.commands._console import print_table, tenths

NAME = "hybrid-full-objective-listwise--medquad--60-steps--s0--307b904c49"
WHY = "the embeddings did not move [at all] although the fit was trained"


@pytest.mark.usefixtures("narrow_console")
def test_a_long_name_is_never_cut_and_texts_wrap_between_words(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table("name", "why", box=None)
    names = [NAME, NAME.replace("s0", "s1")]
    for name in names:
        table.add_row(name, WHY)
    print_table(table)
    words = capsys.readouterr().out.split()
    assert set(names) <= set(words) and set(WHY.split()) <= set(words)


@pytest.mark.usefixtures("narrow_console")
def test_words_are_measured_without_markup(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table("name", box=None)
    table.add_row("[green]OK[/]")
    print_table(table, markup=True)
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == [" name", " OK"]


def test_progress_begins_again_with_other_work_and_says_nothing_of_none(capsys: pytest.CaptureFixture[str]) -> None:
    show = tenths("readings")
    for done, total in ((0, 0), (0, 20), (1, 20), (10, 20), (20, 20), (0, 3), (3, 3)):
        show("reading", {"done": done, "total": total})
    lines = [line.removeprefix("readings: ") for line in capsys.readouterr().err.splitlines()]
    assert lines == ["0 of 20", "10 of 20", "20 of 20", "0 of 3", "3 of 3"]
