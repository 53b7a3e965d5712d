"""Real strategies on a tiny model, each in its own process: scored, repeated to the bit, read back from the store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.config.execution import ExecutionSettings
from bench.config.schema import RunConfig, from_mapping
from bench.data.locate import load_dataset
from bench.records import CellResult
from bench.running.environment import JobEnvironment
from bench.running.run import Run, RunResult
from tests.toy_runs import Silent


@pytest.fixture
def run_in(
    tiny_folder: Callable[[str], Path], beir_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., RunResult]:
    """Return a function that runs into a folder of its own, with a cache of its own: only the inputs are shared."""

    def run(name: str, **changes: Any) -> RunResult:
        monkeypatch.setenv("BENCH_CACHE", str(tmp_path / f"cache-{name}"))
        config: RunConfig = from_mapping(
            {
                "strategies": "bm25,frozen,lora",
                "datasets": str(beir_folder),
                "model": str(tiny_folder("bert")),
                "budget_steps": 8,
                "set": ["train.batch_size=8", "train.selection_floor=20", "train.warmup=0", "lora.lr=0.01"],
                "precision": "fp32",
                "device": "cpu",
                "threads": 1,
                "out": str(tmp_path / name),
                **changes,
            }
        )
        result = Run.prepare(config).execute(Silent())
        assert set(result.statuses) == {"ok"}, result.failed
        return result

    return run


def cells_of(result: RunResult) -> dict[str, CellResult]:
    return {cell.strategy: cell for cell in result.store.results()}


def content(result: RunResult, cell: CellResult, name: str) -> bytes:
    return (result.store.cell_folder(cell.cell) / name).read_bytes()


@pytest.mark.timeout(900)  # fourteen processes
def test_a_run_is_scored_and_repeated_to_the_byte_and_threads_move_only_last_digits(
    run_in: Callable[..., RunResult],
) -> None:
    run, repeated = run_in("first"), run_in("again")
    assert run.statuses == Counter(ok=6)
    first, again = cells_of(run), cells_of(repeated)
    for name, cell in first.items():
        other = again[name]
        assert (cell.metrics, cell.strata, cell.cell) == (other.metrics, other.strata, other.cell)
        for file in ("ranking.trec.gz", "per_query.parquet"):
            assert content(run, cell, file) == content(repeated, other, file)
    curve, same = (result.store.curve(cells_of(result)["lora"].fit) for result in (run, repeated))
    assert list(curve["loss"]) == list(same["loss"]) and list(curve["dev"]) == list(same["dev"])
    assert curve["step"].iloc[-1] == 8 and curve["loss"].notna().all()

    threaded = cells_of(run_in("threaded", strategies="lora", baseline="lora", threads=2))["lora"]
    assert threaded.cell == first["lora"].cell, "neither the folder nor the threads are part of the identity"
    assert threaded.metrics == pytest.approx(first["lora"].metrics, abs=0.02)

    assert first["lora"].metrics != first["frozen"].metrics, "training changed the ranking"
    for name in ("frozen", "lora"):
        cost = first[name].cost
        assert all(cost[key] > 0 for key in ("total_params", "query_flops", "encode_docs_per_second", "index_bytes"))
    added = first["lora"].cost["total_params"] - first["frozen"].cost["total_params"]
    assert added == first["lora"].cost["trainable_params"]
    assert first["bm25"].cost["encode_docs_per_second"] is None
    assert first["lora"].cost["query_flops"] == first["frozen"].cost["query_flops"], "merged while it serves"

    drift = first["lora"].drift
    assert 0 < drift["documents_cka"] < 1 and drift["documents_cosine"] < 1 and drift["queries_cosine"] < 1
    assert first["frozen"].drift == first["bm25"].drift == {}, "nothing trained, nothing moved"
    old = drift["old_index"]
    assert (old["before"], old["encoded_again"]) == pytest.approx(
        (first["frozen"].metrics["ndcg@10"], first["lora"].metrics["ndcg@10"])
    )
    assert old["ci_low"] <= old["delta"] <= old["ci_high"] and old["n"] == 8 and old["stratum"] == "all"

    with JobEnvironment(run.store, ExecutionSettings(device="cpu")) as environment:
        strategy = environment.strategy(first["lora"].fit)
        dataset: Any = load_dataset(run.store.invocations()[-1]["config"]["datasets"][0])
        queries = {query: dataset.queries[query] for query in dataset.judged("test")}
        found = strategy.search(queries, strategy.index(dataset.corpus), 100)
    kept = run.store.ranking(first["lora"].cell)
    assert {query: [doc for doc, _ in hits[:5]] for query, hits in found.hits.items()} == {
        query: [doc for doc, _ in hits[:5]] for query, hits in kept.hits.items()
    }
