"""A fault planted into a real training of the default model: the report calls it out in words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bench.config.schema import RunConfig, from_mapping
from bench.data.dataset import Dataset
from bench.data.locate import load_dataset
from bench.data.write import write_dataset
from bench.report.analysis import Analysis
from bench.report.build import build
from bench.report.load import load_run
from bench.running.run import RunResult

PLANTED = """
import random
from dataclasses import dataclass, replace

from strategies.full import Full


class Shuffled(Full):
    '''Full fine-tuning towards documents that answer other queries.'''

    name = "shuffled"

    @dataclass(frozen=True)
    class Config(Full.Config):
        lr: float = 5e-4

    def examples(self, data):
        pairs = list(data.pairs)
        others = random.Random(data.seed).sample(pairs, len(pairs))
        return [replace(pair, doc_id=o.doc_id, document=o.document) for pair, o in zip(pairs, others)]

"""


@pytest.fixture
def everyday(tmp_path: Path) -> Path:
    """A part of the general probe."""
    whole = load_dataset("general")
    assert isinstance(whole, Dataset)
    kept = list(whole.corpus.ids[:80])
    qrels = {query: docs for query, docs in whole.qrels("test").items() if set(docs) <= set(kept)}
    queries = {query: whole.queries[query] for query in qrels}
    part = replace(whole, corpus=whole.corpus.subset(kept), queries=queries, splits={"test": qrels}, groups={})
    write_dataset(part, tmp_path / "everyday")
    return tmp_path / "everyday"


@pytest.fixture
def planted(
    tmp_path: Path,
    beir_folder: Path,
    everyday: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> RunConfig:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "planted.py"
    file.write_text(PLANTED, encoding="utf-8")
    return from_mapping(
        {
            "strategies": "frozen,shuffled",
            "strategy_files": [str(file)],
            "datasets": str(beir_folder),
            "probes": str(everyday),
            "budget_steps": 8,
            "set": ["train.batch_size=16", "train.evaluations=1"],
            "max_length": 48,
            "device": "cpu",
            "out": str(tmp_path / "run"),
        }
    )


def test_the_report_says_that_training_on_shuffled_pairs_forgets(
    planted: RunConfig, run_inline: Callable[[RunConfig], RunResult]
) -> None:
    outcome = run_inline(planted)
    assert outcome.statuses == {"ok": 6}, outcome.failed
    run = load_run(outcome.store)
    words = build(Analysis(run)).words
    assert "shuffled forgets on everyday: nDCG@10 falls from 0." in words
