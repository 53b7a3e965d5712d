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
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.data.dataset import Dataset
from bench.data.splits import training_data
from bench.data.write import write_dataset
from bench.errors import BenchError
from bench.scratch import scratch_folder
from bench.speed.rounds import OURS, PLAIN, PLAIN_BF16, Timing
from bench.speed.workload import BATCH, SEED, Workload, filled

EPOCHS = 2


def whole_job(workload: Workload, threads: int, rounds: int = 1) -> tuple[Timing, dict[str, Any]]:
    """Time the whole job with the library and with the harness.

    Args:
        workload: the work.
        threads: of both sides.
        rounds: number of rounds; each takes minutes.

    Returns:
        The timing, and how the harness spent its time in the last round: seconds by kind of work.

    Raises:
        BenchError: a side ended with an error; the message ends with the last lines it wrote.
    """
    dataset = _slice(workload)
    pairs = training_data(dataset, SEED, None, workload.split).pairs
    steps = EPOCHS * math.ceil(len(pairs) / BATCH)
    row = Timing(
        "whole job",
        f"{', '.join(workload.strategies)}: {len(dataset.corpus):,} documents, {len(dataset.qrels(workload.split))} "
        f"queries, {len(pairs)} training pairs, {EPOCHS} epochs",
    )
    results: dict[str, dict[str, Any]] = {}
    with scratch_folder() as temporary:
        folder = temporary / (Path(dataset.name).name.partition("?")[0].replace(":", "-") or "dataset")
        write_dataset(dataset, folder)
        shared = {
            "folder": str(folder),
            "model": str(workload.base.path),
            "strategies": list(workload.strategies),
            "split": workload.split,
            "device": workload.device,
            "threads": threads,
            "max_length": workload.max_length,
            "seed": SEED,
        }
        sides: dict[str, tuple[str, dict[str, Any]]] = {
            PLAIN: ("plain_job", shared | {"bf16": False, "epochs": EPOCHS}),
            OURS: ("harness_job", shared | {"steps": steps}),
        }
        if workload.bf16:
            sides[PLAIN_BF16] = ("plain_job", shared | {"bf16": True, "epochs": EPOCHS})
        for number in range(rounds):
            for name, (module, settings) in sides.items():
                scratch = temporary / f"{name.replace(' ', '-')}-{number}"
                seconds, results[name] = _in_own_process(module, settings | {"scratch": str(scratch)}, threads)
                row.seconds.setdefault(name, []).append(seconds)
    for name, result in results.items():
        scores = ", ".join(f"{strategy} {score:.4f}" for strategy, score in result["scores"].items())
        row.notes.append(f"nDCG@10, {name}: {scores}")
    return row, own_time(results[OURS], row.seconds[OURS][-1])


def own_time(result: Mapping[str, Any], wall: float) -> dict[str, Any]:
    """Return how the harness spent its time.

    Returns:
        `phases`, seconds by kind of work: loading, training (with its development evaluations), encoding, search,
        measuring costs. `harness`, the rest of the wall clock, and its `share`. `own`, the known parts of that rest.
    """
    phases, own = dict(result["phases"]), dict(result["own"])
    rest = wall - sum(phases.values())
    own["imports and the like"] = rest - sum(own.values())
    return {"phases": phases, "own": own, "harness": rest, "share": rest / wall, "wall": wall, "jobs": result["jobs"]}


def _slice(workload: Workload) -> Dataset:
    """Return the dataset, or the part of it for a quick measurement: test queries and some training queries."""
    dataset, limit = workload.dataset, workload.sizes.whole
    if limit is None:
        return dataset
    data = workload.data
    test = dataset.judged(workload.split)[: workload.sizes.queries // 2]
    train = sorted({pair.query_id for pair in workload.pairs})
    qrels = {
        workload.split: {query: dataset.qrels(workload.split)[query] for query in test},
        "train": {query: data.train_qrels[query] for query in train},
    }
    relevant = [doc for split in qrels.values() for docs in split.values() for doc in docs]
    corpus = dataset.corpus.subset(filled(dataset.corpus, relevant, limit))
    queries = {query: dataset.queries[query] for split in qrels.values() for query in split}
    return replace(dataset, corpus=corpus, queries=queries, splits=qrels, groups={}, warnings=())


def _in_own_process(module: str, settings: Mapping[str, Any], threads: int) -> tuple[float, dict[str, Any]]:
    """Run `bench.speed.<module>` and return its wall-clock seconds, from its start, and its result."""
    scratch = Path(str(settings["scratch"]))
    scratch.mkdir(parents=True)
    environment = os.environ | {
        "BENCH_CACHE": str(scratch / "cache"),
        "HF_HUB_OFFLINE": "1",
        **{name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")},
    }
    result = scratch / "result.json"
    command = [sys.executable, "-m", f"bench.speed.{module}"]
    request = dict(settings) | {"result": str(result)}
    start = time.perf_counter()
    done = subprocess.run(
        command, input=json.dumps(request), env=environment, capture_output=True, text=True, check=False
    )
    seconds = time.perf_counter() - start
    if done.returncode or not result.exists():
        raise BenchError(f"{module} ended with code {done.returncode}:\n{done.stderr[-2000:]}")
    return seconds, dict(json.loads(result.read_text(encoding="utf-8")))
