"""The whole job, from nothing to scores: a run of the harness against a script around the plain library.

Each side is a process of its own with an empty cache, on the same dataset folder, with the same training pairs and the
same number of optimiser steps.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.data.dataset import Dataset
from bench.errors import BenchError
from bench.speed.rounds import OURS, PLAIN, PLAIN_BF16, Row
from bench.speed.subject import BATCH, SEED, Subject, filled

EPOCHS = 2


def whole_job(subject: Subject, threads: int, rounds: int = 1) -> tuple[Row, dict[str, Any]]:
    """Time the whole job on both sides.

    Args:
        subject: the work.
        threads: of both sides.
        rounds: how often; each takes minutes.

    Returns:
        The row, and how the harness spent its time: seconds by kind of work, of the last round.

    Raises:
        BenchError: a side ended with an error; the text holds the end of what it wrote.
    """
    from bench.data.splits import training_data
    from bench.data.write import write_dataset

    dataset = _slice(subject)
    pairs = training_data(dataset, SEED, None, subject.split).pairs
    steps = EPOCHS * math.ceil(len(pairs) / BATCH)
    row = Row(
        "whole job",
        f"{', '.join(subject.strategies)}: {len(dataset.corpus):,} documents, {len(dataset.qrels(subject.split))} "
        f"queries, {len(pairs)} training pairs, {EPOCHS} epochs",
    )
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix="adaptbench-speed-") as temporary:
        folder = Path(temporary) / (Path(dataset.name).name.partition("?")[0].replace(":", "-") or "dataset")
        write_dataset(dataset, folder)
        shared = {
            "folder": str(folder),
            "model": str(subject.base.path),
            "strategies": list(subject.strategies),
            "split": subject.split,
            "device": subject.device,
            "threads": threads,
            "max_length": subject.max_length,
            "seed": SEED,
        }
        sides: dict[str, tuple[str, dict[str, Any]]] = {
            PLAIN: ("plain_job", shared | {"bf16": False, "epochs": EPOCHS}),
            OURS: ("own_job", shared | {"steps": steps}),
        }
        if subject.bf16:
            sides[PLAIN_BF16] = ("plain_job", shared | {"bf16": True, "epochs": EPOCHS})
        for number in range(rounds):
            for name, (module, asked) in sides.items():
                scratch = Path(temporary) / f"{name.replace(' ', '-')}-{number}"
                seconds, found[name] = _in_own_process(module, asked | {"scratch": str(scratch)}, threads)
                row.seconds.setdefault(name, []).append(seconds)
    for name, result in found.items():
        scores = ", ".join(f"{strategy} {score:.4f}" for strategy, score in result["scores"].items())
        row.notes.append(f"nDCG@10, {name}: {scores}")
    return row, own_time(found[OURS], row.seconds[OURS][-1])


def own_time(result: Mapping[str, Any], wall: float) -> dict[str, Any]:
    """Return how the harness spent its time.

    Returns:
        `phases`, seconds by kind of work: loading, training (with its development evaluations), encoding, search,
        measuring costs; `harness`, the rest of the wall clock, and its `share`; `own`, what is known of that rest.
    """
    phases, own = dict(result["phases"]), dict(result["own"])
    rest = wall - sum(phases.values())
    own["imports and the like"] = rest - sum(own.values())
    return {"phases": phases, "own": own, "harness": rest, "share": rest / wall, "wall": wall, "jobs": result["jobs"]}


def _slice(subject: Subject) -> Dataset:
    """Return the dataset, or the part of it that a quick measurement takes: its test queries, some training queries."""
    from dataclasses import replace

    dataset, limit = subject.dataset, subject.sizes.whole
    if limit is None:
        return dataset
    data = subject.data
    test = dataset.judged(subject.split)[: subject.sizes.queries // 2]
    train = sorted({pair.query_id for pair in subject.pairs})
    qrels = {
        subject.split: {query: dataset.qrels(subject.split)[query] for query in test},
        "train": {query: data.train_qrels[query] for query in train},
    }
    relevant = [doc for split in qrels.values() for docs in split.values() for doc in docs]
    corpus = dataset.corpus.subset(filled(dataset.corpus, relevant, limit))
    queries = {query: dataset.queries[query] for split in qrels.values() for query in split}
    return replace(dataset, corpus=corpus, queries=queries, splits=qrels, groups={}, warnings=())


def _in_own_process(module: str, asked: Mapping[str, Any], threads: int) -> tuple[float, dict[str, Any]]:
    """Run `bench.speed.<module>`; returns its wall-clock seconds, start and imports included, and its result."""
    scratch = Path(str(asked["scratch"]))
    scratch.mkdir(parents=True)
    environment = os.environ | {
        "BENCH_CACHE": str(scratch / "cache"),
        "HF_HUB_OFFLINE": "1",
        **{name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")},
    }
    result = scratch / "result.json"
    command = [sys.executable, "-m", f"bench.speed.{module}"]
    asked = dict(asked) | {"result": str(result)}
    start = time.perf_counter()
    done = subprocess.run(
        command, input=json.dumps(asked), env=environment, capture_output=True, text=True, check=False
    )
    seconds = time.perf_counter() - start
    if done.returncode or not result.exists():
        raise BenchError(f"{module} ended with code {done.returncode}:\n{done.stderr[-2000:]}")
    return seconds, dict(json.loads(result.read_text(encoding="utf-8")))
