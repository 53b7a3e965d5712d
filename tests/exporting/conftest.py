"""One small real run, made once a session."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bench.config.schema import from_mapping
from bench.data.dataset import Dataset
from bench.data.write import write_dataset
from bench.running.run import Run
from bench.store.store import Store
from tests.toy_runs import InProcess, Silent


@pytest.fixture(scope="session")
def finished_run(
    tmp_path_factory: pytest.TempPathFactory, tiny_dataset: Dataset, tiny_folder: Callable[[str], Path]
) -> Store:
    """A run of `bm25`, `frozen` and `lora` with two seeds, with a probe, followed by TensorBoard."""
    root = tmp_path_factory.mktemp("finished")
    write_dataset(replace(tiny_dataset, info=replace(tiny_dataset.info, name="tiny")), root / "tiny")
    corpus = replace(tiny_dataset.corpus, texts=[f"{text} elsewhere" for text in tiny_dataset.corpus.texts])
    write_dataset(replace(tiny_dataset, info=replace(tiny_dataset.info, name="other"), corpus=corpus), root / "other")
    config = from_mapping(
        {
            "strategies": "bm25,frozen,lora",
            "datasets": str(root / "tiny"),
            "probes": str(root / "other"),
            "model": str(tiny_folder("bert")),
            "budget_steps": 10,
            "seeds": "0,1",
            "set": ["train.batch_size=8", "train.selection_floor=8", "train.warmup=0", "lora.r=4", "lora.lr=0.01"],
            "measures": "ndcg@10,mrr@10,recall@100,Judged@10,P(rel=1)@5",
            "precision": "fp32",
            "device": "cpu",
            "report_to": "tensorboard",
            "out": str(root / "run"),
        }
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_CACHE", str(root / "cache"))
        outcome = Run.prepare(config).execute(Silent(), InProcess)
    assert set(outcome.statuses) == {"ok"}, outcome.failed
    return outcome.store
