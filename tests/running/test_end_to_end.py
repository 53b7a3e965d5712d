"""Real strategies on a tiny model, each in its own process: scored, repeated to the bit, put back from the store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bench.config.execution import ExecutionSettings
from bench.config.schema import RunConfig, from_mapping
from bench.records import CellResult
from bench.running.environment import JobEnvironment
from bench.running.executors.local import LocalExecutor
from bench.running.progress import Quiet
from bench.running.run import execute
from bench.store.store import Store

PRELOAD = ("torch", "sentence_transformers", "peft", "bench.training.encoder_task", "bench.running.worker")


@pytest.fixture
def config(
    tiny_folder: Callable[[str], Path], beir_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], RunConfig]:
    """Return a function from a name to a configuration that writes into a folder, with a cache, of that name."""

    def named(name: str) -> RunConfig:
        monkeypatch.setenv("BENCH_CACHE", str(tmp_path / f"cache-{name}"))
        return from_mapping(
            {
                "strategies": "bm25,frozen,lora",
                "datasets": str(beir_folder),
                "model": str(tiny_folder("bert")),
                "budget_steps": 4,
                "set": ["train.batch_size=8", "lora.lr=0.01"],
                "precision": "fp32",
                "device": "cpu",
                "threads": 1,
                "out": str(tmp_path / name),
            }
        )

    return named


def comparable(cell: CellResult) -> object:
    return cell.strategy, cell.status, cell.reason, cell.metrics, cell.strata, cell.files["ranking.trec.gz"].sha256


def test_a_run_is_scored_and_its_repetition_gives_the_same_bytes(config: Callable[[str], RunConfig]) -> None:
    from rich.console import Console

    runs: list[Store] = []
    for name in ("first", "second"):
        workers = LocalExecutor(preload=PRELOAD)
        outcome = execute(config(name), Quiet(Console(stderr=True), 6), workers=workers)
        assert outcome.statuses == {"ok": 3}, outcome.failed
        runs.append(outcome.store)
    first, second = ({cell.strategy: cell for cell in store.results()} for store in runs)
    assert [comparable(first[name]) for name in first] == [comparable(second[name]) for name in first]
    assert first["lora"].metrics != first["frozen"].metrics, "training changed the ranking"
    for name in ("frozen", "lora"):
        cost = first[name].cost
        assert all(cost[key] > 0 for key in ("total_params", "query_flops", "encode_docs_per_second", "index_bytes"))
    assert (
        first["lora"].cost["total_params"] - first["frozen"].cost["total_params"]
        == first["lora"].cost["trainable_params"]
    )
    assert first["bm25"].cost["encode_docs_per_second"] is None
    assert first["lora"].cost["query_flops"] == first["frozen"].cost["query_flops"], "folded in while it serves"

    drift = first["lora"].drift
    assert 0 < drift["documents_cka"] < 1 and drift["documents_cosine"] < 1 and drift["queries_cosine"] < 1
    assert first["frozen"].drift == first["bm25"].drift == {}, "nothing trained, nothing moved"
    old = drift["old_index"]
    assert (old["before"], old["encoded_again"]) == pytest.approx(
        (first["frozen"].metrics["ndcg@10"], first["lora"].metrics["ndcg@10"])
    )
    assert old["ci_low"] <= old["delta"] <= old["ci_high"] and old["n"] == 8 and old["stratum"] == "all"

    curve = runs[0].curve(first["lora"].fit)
    assert curve["step"].iloc[-1] == 4 and curve["loss"].notna().all()
    with JobEnvironment(runs[0], ExecutionSettings(device="cpu")) as environment:
        strategy = environment.strategy(first["lora"].fit)
        dataset = environment.dataset(config("first").datasets[0])
        queries = {query: dataset.queries[query] for query in dataset.judged("test")}  # type: ignore[union-attr]
        again = strategy.search(queries, strategy.index(dataset.corpus), 100)  # type: ignore[union-attr]
    kept = runs[0].ranking(first["lora"].cell)
    assert {query: [doc for doc, _ in hits[:5]] for query, hits in again.hits.items()} == {
        query: [doc for doc, _ in hits[:5]] for query, hits in kept.hits.items()
    }
