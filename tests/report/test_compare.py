"""`compare`: two strategies of one run, or two runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.cli import main
from bench.errors import BenchError
from bench.report.compare import compare_runs, compare_strategies
from bench.report.load import load_run


def test_two_strategies_are_compared_in_every_stratum_with_the_headline_first(planter, plant, untrained):
    planter.run({"base": untrained(), "a": plant(gains=(0.05,)), "b": plant(gains=(0.12,))}, seen=0.3)
    (pair,) = compare_strategies(load_run(planter.store), "a", "b")
    assert [finding.stratum for finding in pair.findings] == ["unseen", "all", "seen"]
    assert pair.findings[0].test.paired_seeds and pair.findings[0].verdict == "better"
    assert pair.findings[0].difference == pytest.approx(0.07, abs=0.02)
    assert {cost.name for cost in pair.costs} >= {"fit", "artefact", "query p50"}


def test_two_runs_are_compared_strategy_by_strategy(planter, planter_type, plant, untrained, tmp_path):
    planter.run({"base": untrained(), "a": plant(gains=(0.05,))})
    other = planter_type(tmp_path / "other")
    other.invoke()
    other.run({"base": untrained(), "a": plant(gains=(0.1,)), "c": plant()}, tag="-again")
    pairs = compare_runs(load_run(planter.store), load_run(other.store), ("old", "new"))
    assert [pair.second for pair in pairs] == ["base (new)", "a (new)"]
    assert pairs[0].findings[0].difference == 0
    assert pairs[1].findings[0].verdict == "better" and pairs[1].findings[0].test.family == 2


def test_two_runs_are_compared_first_on_queries_that_neither_has_seen(
    planter, planter_type, plant, untrained, tmp_path
):
    """The second run saw 40 more queries, and gains on those it saw only."""
    planter.run({"base": untrained(), "a": plant()}, seen=0.1)
    other = planter_type(tmp_path / "other")
    other.run({"base": untrained(), "a": plant(seen_gain=0.3)}, seen=0.35)
    pair = compare_runs(load_run(planter.store), load_run(other.store), ("old", "new"))[1]
    found = {finding.stratum: finding for finding in pair.findings}
    assert list(found) == ["unseen", "all", "seen"]
    assert found["unseen"].test.n_queries == 160 - 56 and found["unseen"].verdict != "better"
    assert found["all"].verdict == found["seen"].verdict == "better"


def test_runs_without_common_data_are_refused(planter, planter_type, plant, untrained, tmp_path):
    planter.run({"base": untrained(), "a": plant()})
    other = planter_type(tmp_path / "other")
    other.run({"base": untrained(), "a": plant()}, dataset="elsewhere")
    with pytest.raises(BenchError, match="in common"):
        compare_runs(load_run(planter.store), load_run(other.store), ("old", "new"))


def test_mistyped_names_get_a_suggestion(planter, plant, untrained, capsys):
    planter.run({"base": untrained(), "big": plant()})
    folder = str(planter.store.folder)
    with pytest.raises(BenchError, match="did you mean 'big'"):
        compare_strategies(load_run(planter.store), "base", "bog")
    with pytest.raises(BenchError, match="with itself"):
        compare_strategies(load_run(planter.store), "big", "big")
    for arguments, message in (
        (["compare", folder, "--strategies", "base,big", "--measure", "ndgc@10"], "did you mean 'ndcg@10'"),
        (["compare", folder], "two run folders, or one run folder with --strategies"),
        (["report", folder[:-1] + "m"], "did you mean 'run'"),
    ):
        assert main(arguments) == 2
        assert message in capsys.readouterr().err


def test_the_commands_print_tables_json_and_paths(planter, plant, untrained, capsys):
    planter.run({"base": untrained(), "big": plant(gains=(0.1,))})
    folder = str(planter.store.folder)
    assert main(["compare", folder, "--strategies", "base,big"]) == 0
    assert "big against base" in capsys.readouterr().out
    assert main(["compare", folder, "--strategies", "base,big", "--json"]) == 0
    (made,) = json.loads(capsys.readouterr().out)["comparisons"]
    assert made["measure"] == "ndcg@10" and made["strata"]["all"]["verdict"] == "better"
    assert made["costs"]["fit (charged time)"] == [0.0, 60.0]
    assert main(["report", folder, "--json", "--export", "csv"]) == 0
    written = json.loads(capsys.readouterr().out)["written"]
    assert [Path(path).name for path in (*written[:2], written[-1])] == ["report.md", "report.html", "results.csv"]


@pytest.mark.usefixtures("narrow_console")
def test_a_piped_comparison_fits_80_columns_and_breaks_no_word(planter, plant, untrained, capsys):
    planter.run({"base": untrained(), "hybrid(one)": plant(), "hybrid(two)": plant(gains=(0.002,))}, seen=0.3)
    assert main(["compare", str(planter.store.folder), "--strategies", "hybrid(one),hybrid(two)"]) == 0
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    words = set(printed.split())
    assert {"hybrid(one)", "hybrid(two)", "conclusion", "difference", "unseen", "encoding)"} <= words
    assert {"inconclusive", "equivalent"} & words
