"""Damaged and missing records are named by every command; no answer comes from half of a run unless asked for."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.cli import main
from bench.report.analysis import Analysis
from bench.report.build import build
from bench.report.lacking import lacking
from bench.report.load import load_run
from bench.store import studies
from bench.store.store import Store
from bench.store.studies import Study, Trial

STUDY = Study(study="tune-big", strategy="big", dataset="domain", model="base", budget={}, space={}, defaults={})


@pytest.fixture
def store(planter: Any, plant: Callable[..., Any], untrained: Callable[..., Any]) -> Store:
    """A complete run: an untrained baseline, a strategy with two seeds and a probe, and a study."""
    found: Store = planter.run({"base": untrained(), "big": plant(gains=(0.1,), seeds=(0, 1), probes={"other": -0.01})})
    fits, cells = [fit.fit for fit in found.fits()], [cell.cell for cell in found.cells()]
    planter.invoke(plan={"fits": len(fits), "cells": len(cells)}, planned={"fits": fits, "cells": cells})
    studies.begin(found.folder / "tuning" / STUDY.study, STUDY)
    studies.append(found.folder / "tuning" / STUDY.study, Trial(number=0, params={}, value=0.5))
    tuned = found.fits()[-1]
    tuned.tuning = {"study": STUDY.study, "trials": 1}
    found.put_fit(tuned)
    return found


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def commands(folder: Path, tmp_path: Path) -> list[list[str]]:
    return [
        ["recommend", str(folder)],
        ["compare", str(folder), "--strategies", "base,big"],
        ["export", str(folder), "--strategy", "big", "--out", str(tmp_path / "exported")],
        ["similarity", str(folder), "one text", "another"],
    ]


DAMAGE: list[tuple[Callable[[Path], None], str]] = [
    *((change, f"fits/big*0*/{name}") for change in (cut, flip, remove) for name in ("fit.json", "curve.parquet")),
    *(
        (change, f"cells/big*0*-test/{name}")
        for change in (cut, flip, remove)
        for name in ("result.json", "per_query.parquet", "ranking.trec.gz")
    ),
    *((change, f"cells/big*0*-other/{name}") for change in (flip, remove) for name in ("result.json",)),
    *((change, "tuning/tune-big/study.json") for change in (cut, flip)),
    *((change, "tuning/tune-big/trials.jsonl") for change in (cut, flip, remove)),
    *((change, "run.json") for change in (cut, flip, remove)),
    (remove, "fits/big*0*"),
    (remove, "cells/big*0*-test"),
    (remove, "cells/base*-test"),
]


@pytest.mark.parametrize(("change", "where"), DAMAGE, ids=lambda value: getattr(value, "__name__", value))
def test_every_command_names_what_is_damaged_or_missing_and_refuses_to_answer(
    store: Store, change: Callable[[Path], None], where: str, tmp_path: Path, capsys: Any
) -> None:
    assert lacking(store) == []
    path = next(store.folder.glob(where))
    change(path)
    named = str(path.parent if path.suffix == ".json" and change is remove and path.name != "run.json" else path)
    for command in commands(store.folder, tmp_path):
        assert main(command) == 2, command
        shown = capsys.readouterr().err
        assert named in shown and "--allow-incomplete" in shown, shown
    assert not (tmp_path / "exported").exists()
    if path.suffix not in (".parquet", ".gz"):  # a report that needs a damaged file fails, and names it
        words = build(Analysis(load_run(store))).words
        assert words.startswith("This run is incomplete: ") and named in words


def test_a_complete_run_has_no_banner(store: Store) -> None:
    assert "incomplete" not in build(Analysis(load_run(store))).words


def test_what_is_there_is_used_on_request_and_the_rest_is_named(store: Store, capsys: Any) -> None:
    record = next(store.folder.glob("cells/big*0*-test/result.json"))
    cut(record)
    assert main(["recommend", str(store.folder), "--allow-incomplete", "--json"]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["recommendations"] and f"incomplete: {record} is damaged" in shown.err


def test_an_older_run_that_lacks_cells_is_noticed_by_their_number(store: Store, planter: Any) -> None:
    values = [call for call in store.invocations() if "planned" not in call]
    (store.folder / "run.json").unlink()
    (store.folder / "run.previous.json").unlink()
    for call in values:
        store.put_invocation(call | {"plan": {"cells": 7}})
    assert lacking(store) == [f"{store.folder / 'cells'}: 7 cells were planned, and 6 are there"]


def test_what_an_interrupted_run_planned_counts_until_another_one_has_ended(store: Store) -> None:
    store.put_invocation({"planned": {"cells": ["cell-1"]}, "exit_code": 130})
    assert lacking(store) == [f"{store.folder / 'cells' / 'cell-1'} is missing: it is planned"]
    store.put_invocation({"planned": {}, "exit_code": 130})
    assert len(lacking(store)) == 1
    store.put_invocation({"planned": {}, "exit_code": 1})
    assert lacking(store) == []


def test_a_component_and_a_study_that_a_record_names_are_missed(store: Store) -> None:
    fit = store.fits()[-1]
    fit.components, fit.tuning = ["part-1"], {"study": "tune-small"}
    store.put_fit(fit)
    assert [sentence.partition(" is missing")[0] for sentence in store.missing()] == [
        str(store.folder / "fits" / "part-1"), str(store.folder / "tuning" / "tune-small"),
    ]  # fmt: skip


def test_many_problems_are_counted(store: Store, capsys: Any) -> None:
    planned = {"cells": [f"cell-{number}" for number in range(40)]}
    store.put_invocation({"planned": planned})
    assert main(["recommend", str(store.folder)]) == 2
    shown = capsys.readouterr().err
    assert "cell-17" in shown and "cell-39" not in shown and "and 30 more" in shown


def test_a_report_is_written_whole_or_not_at_all(store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Killed in between, the earlier page stays."""
    from bench.report import write_report

    out = tmp_path / "out"
    out.mkdir()
    pages = [out / "report.md", out / "report.html"]
    for page in pages:
        page.write_text("the earlier one")

    def die(self: Path, target: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", die)
    monkeypatch.setattr("bench.report.plots.draw", lambda analysis: [])
    monkeypatch.setattr("bench.report.svg.inline_svg", lambda plot, alt: "")
    monkeypatch.setattr("bench.report.html.render", lambda *arguments: "page")
    with pytest.raises(KeyboardInterrupt):
        write_report(store, out)
    assert [page.read_text() for page in pages] == ["the earlier one"] * 2
    assert sorted(path.name for path in out.iterdir()) == ["plots", "report.html", "report.md"]
