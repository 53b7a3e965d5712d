"""People compare answers on a blind sheet, which is read back: rates, agreement, and odd files."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.answering.answer import AnswerSettings, answer
from bench.answering.preferences import preferences
from bench.answering.sheet import COLUMNS, SheetSettings, write_pairs
from bench.cli import main
from bench.errors import DataError
from bench.report.load import LoadedRun
from bench.store.answers import answer_records, per_query_answers
from bench.store.preferences import SheetRecord, judged_sheets
from tests.toy_answers import PlantedReader

Row = dict[str, str]


def rows_of(path: Path) -> list[Row]:
    with path.open(encoding="utf-8-sig", newline="") as stream:
        return list(csv.DictReader(stream))


def written(rows: list[Row], path: Path) -> Path:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture
def sheet(finished: LoadedRun, beir_folder: Path, tmp_path: Path) -> tuple[Path, SheetRecord]:
    """A sheet of every query, and what it hides."""
    reader = PlantedReader(beir_folder)
    (record,) = answer(finished, reader, AnswerSettings())
    path = tmp_path / "sheet.csv"
    return path, write_pairs(finished, record, reader, path, SheetSettings())


def judged(sheet: tuple[Path, SheetRecord], name: str, choose: Callable[[Row, bool], str]) -> Path:
    """Write the file of a judge who sees a row, and who knows (as no person does) whether the strategy is first."""
    path, hidden = sheet
    rows = rows_of(path)
    for row in rows:
        row["choice"] = choose(row, hidden.pairs[row["pair"]].strategy_is_first)
    return written(rows, path.with_name(name))


def right(row: Row, is_first: bool) -> str:
    """Choose the right answer: the wrong one is `zebra`."""
    return "1" if row["answer_2"] == "zebra" else "2"


def test_a_sheet_is_blind_and_its_choices_are_read_back(
    finished: LoadedRun, sheet: tuple[Path, SheetRecord], beir_folder: Path
) -> None:
    path, hidden = sheet
    rows = rows_of(path)
    assert "toy" not in path.read_text(encoding="utf-8") and [row["pair"] for row in rows] == list(
        map(str, range(1, len(rows) + 1))
    )
    assert {pair.strategy_is_first for pair in hidden.pairs.values()} == {True, False}
    (comparison,), ((record,), _) = finished.comparisons, answer_records(finished.store)
    frame = per_query_answers(finished.store, record).set_index("query")
    f1 = {
        label: frame.loc[frame["context"] == candidate.usable[0].cell, "f1"]
        for label, candidate in comparison.candidates.items()
    }
    assert hidden.answers == record.name
    found = preferences(finished, [judged(sheet, "right.csv", right)])
    assert found.agreement is None and len(found.preferences) == 2
    for each in found.preferences:
        difference = f1[each.strategy] - f1["words"]
        assert each.same == (difference == 0).sum() and each.pairs == (difference != 0).sum() > 0
        assert each.wins == pytest.approx((difference > 0).sum() / each.pairs) and each.ties == 0
        if each.finding is not None:
            assert each.interval[0] <= each.rate <= each.interval[1]


def test_judges_agree_or_do_not(finished: LoadedRun, sheet: tuple[Path, SheetRecord]) -> None:
    best = judged(sheet, "a.csv", lambda _, is_first: "1" if is_first else "2")
    same = judged(sheet, "b.csv", lambda _, is_first: "1.0" if is_first else "2")
    other = judged(sheet, "c.csv", lambda _, is_first: "2" if is_first else "1")
    tied = judged(sheet, "d.csv", lambda row, _: "" if row["pair"] == "1" else "TIE")
    two = preferences(finished, [best, same])
    assert two.agreement is not None and (two.agreement.same, two.agreement.kappa) == (1, 1)
    assert two.agreement.name == "Cohen's kappa" and all(each.rate == 1 for each in two.preferences)
    against = preferences(finished, [best, other])
    assert against.agreement is not None and against.agreement.kappa < 0
    assert all(each.rate == each.wins == 0.5 for each in against.preferences)
    for each in against.preferences:
        assert each.finding is None or each.interval == (0.5, 0.5)
    three = preferences(finished, [best, other, tied])
    assert three.agreement is not None and three.agreement.name == "Fleiss' kappa"
    assert three.agreement.pairs == len(sheet[1].pairs) - 1 and three.agreement.same == 0


def test_odd_files_are_refused_by_line(finished: LoadedRun, sheet: tuple[Path, SheetRecord], tmp_path: Path) -> None:
    good = rows_of(judged(sheet, "good.csv", right))
    n = len(good)
    odd: list[tuple[list[Row], str]] = [
        (good[:-1], rf"odd\.csv:{n}: the file ends without 1 of the {n} pairs of the sheet, such as pair '{n}'"),
        ([*good, good[0]], rf"odd\.csv:{n + 2}: pair '1' stands in line 2 already"),
        ([good[0] | {"choice": "left"}, *good[1:]], r"odd\.csv:2: choice 'left' is not one of 1, 2, tie"),
        ([good[0], good[1] | {"pair": "x"}], r"odd\.csv:3: the sheet has no pair 'x'"),
        ([good[0] | {"sheet": "../../etc"}], r"odd\.csv:2: the run has no sheet '../../etc'"),
        ([good[0], good[1] | {"sheet": "s0"}], r"odd\.csv:3: sheet 's0', but the rows before"),
        ([row | {"choice": ""} for row in good], rf"odd\.csv:{n + 1}: the column choice is empty in all rows"),
        ([], r"odd\.csv:1: the file has no pair"),
    ]
    for rows, message in odd:
        flat = [row | {"passages_1": "", "passages_2": ""} for row in rows]
        with pytest.raises(DataError, match=message):
            preferences(finished, [written(flat, tmp_path / "odd.csv")])
    with pytest.raises(DataError, match="named twice"):
        preferences(finished, [tmp_path / "good.csv"] * 2)


def test_the_command_writes_a_page_whose_choices_are_read_back(
    finished: LoadedRun, beir_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chromium: Any, capsys: Any
) -> None:
    reader = PlantedReader(beir_folder)
    monkeypatch.setattr("bench.readers.locate.reader_of", lambda *_: reader)
    folder, path = str(finished.store.folder), tmp_path / "pairs.html"
    assert main(["answer", folder, "--sheet", str(path), "--sheet-strategies", "toy(bonus=1.0)", "--json"]) == 0
    assert "pairs of answers that differ" in " ".join(capsys.readouterr().err.split())
    text = path.read_text(encoding="utf-8")
    assert "toy" not in text and "default-src 'none'" in text
    page = chromium.new_page()
    page.goto(path.as_uri())
    answers = [page.locator(f"#answer_{side}") for side in (1, 2)]
    assert not page.locator("#passages_1").is_visible()
    page.locator("summary").first.click()
    assert page.locator("#passages_1").inner_text()
    first = [each.inner_text() for each in answers]
    page.keyboard.press("1" if first[1] == "zebra" else "2")
    assert "1 judged" in page.locator("#status").inner_text() and not page.locator("#passages_1").is_visible()
    page.keyboard.press("0")
    with page.expect_download() as download:
        page.keyboard.press("s")
    assert download.value.suggested_filename == "pairs.csv"
    download.value.save_as(tmp_path / "pairs.csv")
    page.close()
    assert main(["answer", folder, "--judged", str(tmp_path / "pairs.csv"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    (row,) = found["preferences"]
    assert row["strategy"] == "toy(bonus=1.0)" and row["pairs"] in (1, 2) and row["ties"] <= 0.5
    for name in ("report.md", "report.html"):
        report = (finished.store.folder / name).read_text(encoding="utf-8")
        _, _, table = report.partition("people preferred on")
        assert f"{row['rate']:.3f}" in table.partition("Equal answers are not on the sheet")[0]
        assert "1 judge saw a question" in table
    assert main(["answer", folder, "--judged", str(tmp_path / "pairs.csv")]) == 0
    assert "a tie counts one half" in capsys.readouterr().out
    (kept,) = (finished.store.folder / "answers" / "sheets").glob("*.judged.json")
    kept.write_text(kept.read_text(encoding="utf-8").replace("tie", "1"), encoding="utf-8")
    found, problems = judged_sheets(finished.store)
    assert found == [] and "does not match its digest" in problems[0] and kept.name in problems[0]
    for arguments, message in (
        (["--sheet", str(path)], "exists already, and may hold judgements"),
        (["--sheet", str(tmp_path / "x.txt")], "ends in .csv or .html"),
        (["--sheet", str(tmp_path / "x.csv"), "--sheet-strategies", "toi"], "unknown strategy 'toi'"),
    ):
        assert main(["answer", folder, *arguments]) != 0
        assert message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "x.csv").exists()
