"""`sources=`: a start on the labels of other datasets, planned once, charged, and without queries of the target."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.config.schema import ConfigError, RunConfig
from bench.data.dataset import Dataset, DatasetInfo, positive_pairs
from bench.data.locate import load_dataset
from bench.data.sample import sample_dataset
from bench.data.sources import source_data
from bench.errors import DataError
from bench.planning.plan import plan
from bench.running.environment import JobEnvironment
from bench.running.run import Run, RunResult

Configure = Callable[..., RunConfig]
LEAK, REPEAT = "q-harbour-5", "q-harbour-0"
"""A test query and a training query of the target."""


def renamed(dataset: Dataset, name: str) -> Dataset:
    """Return a dataset of another name, whose queries ask in other words, except for two."""
    queries = {
        query: text if query in (LEAK, REPEAT) else f"{name} says {text}" for query, text in dataset.queries.items()
    }
    train = dict(dataset.splits["train"]) | {LEAK: dataset.splits["test"][LEAK]}
    test = {query: docs for query, docs in dataset.splits["test"].items() if query != LEAK}
    splits = {"train": train, "dev": dataset.splits["dev"], "test": test}
    return replace(dataset, info=DatasetInfo(name), queries=queries, splits=splits)


@pytest.fixture
def source_folder(tmp_path: Path, beir_folder: Path) -> Path:
    """The tiny dataset in other words, with a planted leak: one of its training queries is a test query."""
    from bench.data.write import write_dataset

    write_dataset(renamed(sample_dataset(), "source"), tmp_path / "source")
    return tmp_path / "source"


def test_queries_of_the_target_are_removed_and_counted() -> None:
    target = sample_dataset()
    sources = [renamed(target, name) for name in ("one", "two")]
    data = source_data(sources, target, 0, "test", 10_000)
    texts = {pair.query for pair in data.pairs} | set(data.dev_queries.values())
    assert target.queries[LEAK] not in texts and target.queries[REPEAT] not in texts
    assert "2 queries of the sources repeat a test query of 'contract-sample' and were removed" in data.notes
    assert any("repeat a training or development query" in note for note in data.notes)
    train = len(list(positive_pairs(target.splits["train"], target.queries, target.corpus)))
    assert len(data.pairs) == 2 * (train - 1) and data.repeats_removed == 2
    assert {pair.doc_id.partition(":")[0] for pair in data.pairs} == {"one", "two"}
    assert all(data.corpus.text_of(pair.doc_id) == pair.document for pair in data.pairs)
    own_test = {f"one says {target.queries[query]}" for query in target.splits["test"]}
    assert texts.isdisjoint(own_test)
    with pytest.raises(DataError, match="two datasets have one name"):
        source_data([sources[0], sources[0]], target, 0, "test", 10_000)


def test_a_start_on_sources_is_one_fit_for_all_label_counts(
    toy_config: Configure, source_folder: Path, beir_folder: Path, tmp_path: Path
) -> None:
    settings = {"baseline": "frozen", "strategy_files": [], "budget": {"steps": 5, "examples": [8, 32]}}
    found = plan(
        toy_config(strategies=f"t-few(sources={source_folder}),full(start=lora,sources={source_folder})", **settings)
    )
    starts = {fit.strategy: fit for fit in found.fits if fit.sources}
    assert set(starts) == {"ia3(objective=mined(contrastive))", "lora"}
    assert {fit.budget.examples for fit in starts.values()} == {None}
    for fit in found.fits:
        if fit.strategy.startswith(("t-few", "full")):
            assert fit.components == (
                starts["lora" if fit.strategy.startswith("full") else "ia3(objective=mined(contrastive))"].name,
            )
    for strategies, message in (
        (f"ia3(sources={beir_folder})", "is the target tiny itself"),
        ("t-few", r"t-few: it needs sources=, as in t-few\(sources=\.\.\.\)"),
        ("ia3(sources=|x)", "a dataset is missing beside"),
    ):
        with pytest.raises(ConfigError, match=message):
            plan(toy_config(strategies=strategies, **settings))
    with pytest.raises(ConfigError, match=r"set ia3\.sources: write it in the strategy"):
        plan(toy_config(strategies="ia3", set=["ia3.sources=x"], **settings))
    tuning = toy_config(strategies=f"ia3(sources={source_folder})", tune_trials=2, seeds="1", **settings)
    tuned = plan(tuning)
    (loaded,) = {node.fitted for study in tuned.studies for node in study.root.walk() if node.fitted}
    assert next(fit.seed for fit in tuned.fits if fit.name == loaded) == 0
    start, *studies = Run.prepare(tuning, studies_only=True).pending()
    assert start.name == loaded and {(job.kind, job.after) for job in studies} == {("study", frozenset({loaded}))}


def test_the_start_trains_and_the_target_goes_on_from_it(
    toy_config: Configure,
    run_inline: Callable[[RunConfig], RunResult],
    tiny_folder: Callable[[str], Path],
    source_folder: Path,
) -> None:
    done = run_inline(
        toy_config(
            strategies=f"t-few(sources={source_folder})",
            baseline="frozen",
            strategy_files=[],
            model=str(tiny_folder("bert")),
            budget={"steps": 3, "examples": 8},
        )
    )
    fits = {record.strategy.partition("(")[0]: record for record in done.store.fits()}
    start, last = fits["ia3"], fits["t-few"]
    assert (start.status, last.status) == ("ok", "ok") and start.dataset == "source"
    assert "1 queries of the sources repeat a test query" in json.dumps(start.report["notes"])
    assert start.fingerprints["dataset"] == load_dataset(str(source_folder)).fingerprint, "one name, one content"
    assert start.report["examples"] > last.report["examples"] == 8
    assert last.cost["total_fit_seconds"] == pytest.approx(last.cost["fit_seconds"] + start.cost["fit_seconds"])
    with JobEnvironment(done.store) as environment:
        texts = ["the tide of the harbour"]
        base, warm, tuned = (
            environment.strategy(record.fit).encoder.uncached(texts, "document")
            for record in (fits["frozen"], start, last)
        )
    assert np.abs(warm - base).max() > 1e-4
    assert np.abs(tuned - warm).max() > 0 and np.abs(tuned - base).max() > 1e-4
