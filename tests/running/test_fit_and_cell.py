"""A fit says how it ended and what it cost; a cell says what it measured. Failures are records too."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench.budget import Budget
from bench.config.schema import RunConfig
from bench.evaluation import cost
from bench.models import precision
from bench.records import CellResult, FitRecord
from bench.report.costs import cost_of
from bench.report.load import load_run
from bench.running.run import RunResult
from bench.running.verdict import overrun
from bench.store.pricing import set_price
from bench.tasks.probes import query_limit

Configure = Callable[..., RunConfig]
Run = Callable[[RunConfig], RunResult]


def only(outcome: RunResult) -> tuple[FitRecord, CellResult]:
    fits, cells = outcome.store.fits(), outcome.store.results()
    assert len(fits) == len(cells) == 1
    return fits[0], cells[0]


def test_a_fit_records_what_it_spent(toy_config: Configure, run_inline: Run) -> None:
    outcome = run_inline(toy_config(seeds="3"))
    fit, cell = only(outcome)
    assert (fit.status, fit.seed, fit.strategy, fit.dataset, fit.model) == ("ok", 3, "toy", "tiny", "fake-model")
    assert fit.budget["limits"] == {"steps": 5}
    assert fit.budget["spent"]["steps"] == 5 and fit.budget["stopped_by"] == "steps"
    assert fit.cost["fit_seconds"] == fit.budget["spent"]["seconds"] > 0
    assert fit.cost["wall_seconds"] > fit.cost["fit_seconds"]
    assert fit.cost["artifact_bytes"] == fit.files["model/seen.json"].bytes
    assert fit.report["data"]["labels"] == fit.budget["spent"]["examples"] == 40
    assert len(outcome.store.train_relevant(fit.fit)) == 32
    assert fit.environment["machine_class"] and fit.environment["threads"] >= 1
    assert cell.budget == fit.budget and cell.cost["fit_seconds"] == fit.cost["fit_seconds"]


def test_a_strategy_without_need_of_labels_gets_none(toy_config: Configure, run_inline: Run) -> None:
    outcome = run_inline(toy_config(strategies="words", baseline="words"))
    fit, cell = only(outcome)
    assert outcome.store.train_relevant(fit.fit) == [] and fit.report["data"]["labels"] == 0
    assert cell.strata["seen"]["n"] == 0


def test_a_cell_holds_means_and_values_per_query(toy_config: Configure, run_inline: Run) -> None:
    outcome = run_inline(toy_config())
    _, cell = only(outcome)
    frame = outcome.store.per_query(cell.cell)
    assert list(frame.columns) == ["query", "group", "seen", "ndcg@10", "recall@100"]
    assert len(frame) == cell.n_queries == 8 and cell.n_docs == 48
    assert frame["ndcg@10"].mean() == pytest.approx(cell.metrics["ndcg@10"])
    assert set(outcome.store.ranking(cell.cell)) == set(frame["query"])
    assert cell.cost["index_seconds"] == 0.25 and cell.cost["index_bytes"] == 8
    assert cell.cost["query_ms_p95"] >= cell.cost["query_ms_p50"] > 0
    assert cell.cost["query_times_base"] is None  # no model is loaded for what needs none


def test_a_query_is_seen_if_a_relevant_document_was_a_positive(
    toy_config: Configure, run_inline: Run, beir_folder: Path
) -> None:
    test, train = beir_folder / "qrels" / "test.tsv", beir_folder / "qrels" / "train.tsv"
    trained = train.read_text().splitlines()[1].split("\t")[1]
    query = test.read_text().splitlines()[1].split("\t")[0]
    with test.open("a") as stream:
        stream.write(f"{query}\t{trained}\t1\n")
    outcome = run_inline(toy_config())
    _, cell = only(outcome)
    frame = outcome.store.per_query(cell.cell).set_index("query")
    assert frame.index[frame["seen"]].tolist() == [query]
    assert (cell.strata["seen"]["n"], cell.strata["unseen"]["n"]) == (1, 7)


def test_a_probe_is_compared_with_the_untrained_counterpart(
    toy_config: Configure, run_inline: Run, probe_folder: Path
) -> None:
    outcome = run_inline(toy_config(strategies="toy(bonus=100)", baseline="toy(bonus=100)", probes=str(probe_folder)))
    _, cell = only(outcome)
    facts = cell.forgetting["elsewhere"]
    assert facts["before"] > facts["after"] and facts["delta"] == pytest.approx(facts["after"] - facts["before"])
    assert facts["n"] == 8 and facts["ci_low"] <= facts["delta"] <= facts["ci_high"]
    probe = next(each for each in outcome.store.cells() if each.role == "probe")
    assert probe.strata["seen"]["n"] == 0, "documents of another corpus were not seen, whatever their ids"


@pytest.mark.parametrize(("ceiling", "documents"), [(0.2, 96), (1.1, 48)])
def test_a_saturated_probe_is_searched_together_with_the_target(
    toy_config: Configure,
    run_inline: Run,
    probe_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    ceiling: float,
    documents: int,
) -> None:
    monkeypatch.setattr("bench.tasks.probes.CEILING", ceiling)
    outcome = run_inline(toy_config(probes=str(probe_folder)))
    probe = next(each for each in outcome.store.cells() if each.role == "probe")
    assert probe.n_docs == documents
    assert any("among its own 48 documents" in note for note in probe.notes) == (documents == 96)
    assert probe.forgetting["elsewhere"]["delta"] == 0, "before and after are searched in the same documents"
    found = {doc for hits in outcome.store.ranking(probe.cell).hits.values() for doc, _ in hits}
    assert any(doc.startswith("tiny:") for doc in found) == (documents == 96)


def test_a_probe_asks_no_more_queries_than_a_strategy_can_answer(
    toy_config: Configure, run_inline: Run, probe_folder: Path, toy_file: Path
) -> None:
    toy_file.write_text(toy_file.read_text().replace('name = "toy"', 'name = "toy"\n    probe_queries = 3'))
    outcome = run_inline(toy_config(probes=str(probe_folder)))
    cells = {each.role: each for each in outcome.store.cells()}
    assert (cells["target"].n_queries, cells["probe"].n_queries) == (8, 3)
    assert cells["probe"].forgetting["elsewhere"]["n"] == 3


def test_the_query_limit_of_a_nested_component_holds_and_that_of_a_teacher_does_not() -> None:
    def around(limit: int | None, part: Any = None, teacher: Any = None) -> Any:
        components = [each for each in (part, teacher) if each]
        return SimpleNamespace(probe_queries=limit, components=components, serving_components=[part] if part else [])

    few, many = around(2), around(None)
    for strategy, expected in ((around(None, around(None, few)), 2), (around(None, many, few), None), (few, 2)):
        assert query_limit(strategy) == expected


def test_the_querys_own_document_is_dropped_where_the_dataset_says_so(
    toy_config: Configure, run_inline: Run, beir_folder: Path
) -> None:
    test = beir_folder / "qrels" / "test.tsv"
    query = test.read_text().splitlines()[1].split("\t")[0]
    corpus = beir_folder / "corpus.jsonl"
    text = next(json.loads(line)["text"] for line in (beir_folder / "queries.jsonl").open() if query in line)
    with corpus.open("a") as stream:
        stream.write(json.dumps({"_id": query, "title": "", "text": text}) + "\n")
    plain = run_inline(toy_config())
    assert plain.store.ranking(only(plain)[1].cell)[query][0][0] == query
    (beir_folder / "dataset.toml").write_text('kind = "retrieval"\ndrop_same_id = true\n')
    dropped = run_inline(toy_config(out=str(beir_folder.parent / "dropped")))
    ranking = dropped.store.ranking(only(dropped)[1].cell)
    assert query not in dict(ranking[query]) and len(ranking[query]) == 48


@pytest.mark.parametrize(
    ("does", "status", "reason"),
    [
        ("raise", "failed", "ValueError: the first line"),
        ("memory", "oom", "MemoryError"),
        ("refuse", "not_applicable", "toys cannot do this"),
        ("diverge", "diverged", "the loss was nan at step 3"),
        ("overrun", "over_budget", "steps: 10 used, 5 allowed"),
    ],
)
def test_a_fit_and_its_cells_have_the_status_that_fitting_gave(
    toy_config: Configure, run_inline: Run, does: str, status: str, reason: str
) -> None:
    outcome = run_inline(toy_config(set=f"toy.does={does}"))
    fit, cell = only(outcome)
    assert (fit.status, fit.reason) == (cell.status, cell.reason) == (status, reason)
    assert bool(cell.metrics) == (status == "over_budget")
    assert outcome.exit_code == (0 if status in ("over_budget", "not_applicable") else 1)


def test_training_that_moves_nothing_has_no_effect(toy_config: Configure, run_inline: Run) -> None:
    outcome = run_inline(toy_config(strategies="head,head(bonus=0.5)", baseline="head"))
    assert {fit.strategy: fit.status for fit in outcome.store.fits()} == {"head": "no_effect", "head(bonus=0.5)": "ok"}
    still = next(cell for cell in outcome.store.results() if cell.strategy == "head")
    assert still.status == "no_effect" and not still.metrics


def test_a_failed_component_fails_its_composites_with_the_reason(toy_config: Configure, run_inline: Run) -> None:
    outcome = run_inline(toy_config(strategies="both(both(toy)),words", baseline="words", set="toy.does=raise"))
    statuses = {fit.strategy: (fit.status, fit.reason) for fit in outcome.store.fits()}
    assert statuses["words"] == ("ok", "")
    assert statuses["both(toy)"][0] == statuses["both(both(toy))"][0] == "failed"
    assert "ValueError: the first line" in statuses["both(both(toy))"][1]


def test_a_composite_reports_its_own_cost_and_the_total(toy_config: Configure, run_inline: Run) -> None:
    outcome = run_inline(toy_config(strategies="both(toy, teacher=both(toy))", baseline="both(toy, teacher=both(toy))"))
    own = {fit.strategy: fit.cost["fit_seconds"] for fit in outcome.store.fits()}
    composite = next(fit for fit in outcome.store.fits() if "teacher" in fit.strategy)
    assert composite.cost["total_fit_seconds"] == pytest.approx(sum(own.values())), "toy is paid for once"
    assert composite.cost["fit_seconds"] < composite.cost["total_fit_seconds"]


def test_a_price_per_hour_gives_a_cost_in_usd(toy_config: Configure, run_inline: Run, tmp_path: Path) -> None:
    fit, _ = only(run_inline(toy_config(usd_per_hour=3600)))
    assert fit.cost["usd"] == pytest.approx(fit.cost["fit_seconds"])
    assert only(run_inline(toy_config(out=str(tmp_path / "unpriced"))))[0].cost["usd"] is None


def test_a_composite_has_a_total_cost_with_untrained_components_and_a_later_price(
    toy_config: Configure, run_inline: Run
) -> None:
    whole = "both(toy,teacher=words)"
    run_inline(toy_config(strategies=whole, baseline=whole))

    def cost(usd_per_hour: float | None) -> float | None:
        outcome = run_inline(toy_config(strategies=whole, baseline=whole, usd_per_hour=usd_per_hour))
        assert outcome.done == 0, "a price makes no other fit"
        run = load_run(outcome.store)
        (entry,) = run.comparisons[0].candidates.values()
        usd, seconds = (cost_of(entry, key, run.fits) for key in ("usd", "fit_seconds"))
        (own,) = outcome.frame()["cost.usd"]
        if usd is None:
            assert own is None
            return None
        assert seconds is not None
        assert own == pytest.approx(entry.usable[0].cost["usd"]) and 0 < own < usd
        return usd / seconds * 3600

    assert cost(None) is None
    assert cost(3600) == pytest.approx(3600)
    assert cost(7200) == pytest.approx(7200)
    assert cost(None) == pytest.approx(7200), "an invocation without a price takes none back"


def test_an_untrained_strategy_is_planned_with_the_price(toy_config: Configure, run_inline: Run) -> None:
    fit, _ = only(run_inline(toy_config(strategies="words", baseline="words", usd_per_hour=3600)))
    assert fit.budget["limits"] == {}
    assert fit.cost["usd"] == pytest.approx(fit.cost["fit_seconds"])


def test_a_fit_under_a_budget_in_usd_keeps_its_own_price(toy_config: Configure, run_inline: Run) -> None:
    fit, cell = only(run_inline(toy_config(budget={"usd": 5, "steps": 5}, usd_per_hour=3600)))
    for record in (fit, cell):
        set_price(record, 7200.0)
        assert record.cost["usd"] == pytest.approx(record.cost["fit_seconds"])


@pytest.mark.parametrize(("device", "contention"), [("cpu", 0.4), ("cuda", 0.2)])
def test_contention_is_the_share_of_its_own_threads_that_a_fit_lost(
    toy_config: Configure, run_inline: Run, monkeypatch: pytest.MonkeyPatch, device: str, contention: float
) -> None:
    class Lost:
        def __init__(self, threads: int) -> None:
            assert threads == 1

        def measure(self) -> dict[str, float]:
            return {"share": 0.4, "slowed": 0.2}

    monkeypatch.setattr(cost, "Contention", Lost)
    measured = cost.PeakMemory.__init__
    monkeypatch.setattr(cost.PeakMemory, "__init__", lambda self, device: measured(self))
    monkeypatch.setattr(cost, "environment", lambda device: {})
    monkeypatch.setattr(precision, "native_bf16", lambda device: False)
    monkeypatch.setattr("bench.running.run.require", lambda device: None)  # the toy strategy computes on no device
    fit, cell = only(run_inline(toy_config(threads=1, device=device)))
    assert fit.status == "ok", fit.reason
    assert fit.environment["contention"] == cell.environment["contention"] == contention


SPENT: dict[str, float] = {
    "seconds": 10,
    "steps": 10,
    "flops": 1e9,
    "examples": 50,
    "memory": 1e9,
    "trainable_params": 5,
}


@pytest.mark.parametrize(
    ("limits", "over"),
    [
        ({"steps": 10, "examples": 50}, False),
        ({"steps": 9}, True),
        ({"seconds": 8}, False),
        ({"seconds": 7.9}, True),
        ({"flops": 0.95e9}, False),
        ({"flops": 0.5e9}, True),
        ({"steps": 10, "memory": 999_999_999}, True),
        ({"steps": 10, "examples": 49}, True),
    ],
)
def test_overrun(limits: dict[str, Any], over: bool) -> None:
    """Seconds may be planned wrong by a quarter, operations by their last step; nothing else may."""
    assert bool(overrun(Budget(**limits), SPENT)) == over


def test_similarity_is_not_applicable_without_an_encoder(
    toy_config: Configure, run_inline: Run, tmp_path: Path
) -> None:
    pairs = tmp_path / "pairs"
    pairs.mkdir()
    rows = [{"s1": f"a {n}", "s2": f"b {n}", "score": n} for n in range(4)]
    (pairs / "test.jsonl").write_text("\n".join(map(json.dumps, rows)))
    outcome = run_inline(toy_config(strategies="both(words)", baseline="both(words)", probes=str(pairs)))
    probe = next(cell for cell in outcome.store.cells() if cell.role == "probe")
    assert probe.status == "not_applicable" and outcome.exit_code == 0
