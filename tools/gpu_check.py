"""Check the harness on a GPU: `python tools/gpu_check.py --device cuda --out gpu.jsonl`.

Every check prints one line of JSON: `check`, `subject`, `ok`, `seconds`, and what it measured. The exit code is 0 if
all are ok. The checks are:

- `environment`: the device and the versions of the libraries. It comes first.
- `contract`: the contract on every strategy, on the device, in fp32.
- `steps`: ten training steps of every strategy that trains an encoder, on the device and on the CPU from the same seed,
  in fp32; then ten in the device's own precision. Dropout is off, because devices draw it from different generators.
- `encoding`: vectors of the device against those of the CPU, in fp32 and in bf16, with and without prefetching.
- `memory`: a budget of memory is kept, measured by the allocator of the device.
- `speed-encode`, `speed-train`: seconds beside the plain library with its best settings, in one process, alternating.
  They come first, and nothing else runs meanwhile.
- `two-fits`: a run with two jobs at once gives the results of one job at a time. It starts a process for each
  fit and cell, which took minutes on an H200, so it is the first of the checks that run beside each other.

`--device cpu` runs the same checks on the CPU. The tests of this project do that.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np

if TYPE_CHECKING:
    from bench.data.dataset import Dataset, TrainingData
    from bench.models.base import BaseModel
    from bench.speed.rounds import Timing
    from bench.strategy.base import Strategy

COMPOSITES = (
    "hybrid(frozen)", "hybrid(lora)", "compress(lora)", "soup(lora, frozen)",
    "rerank(bm25)", "distill(lora, teacher=rerank(frozen))", "linear(rank=4)",
    "prefix(reparametrise=true)", "lora(targets=query-value)", "gpl",
)  # fmt: skip
"""Expressions that are checked besides the strategies that need no component."""
_LEFT_OUT = ("run", "splade", "t-few", "lsr", "joint")
"""`run` needs a file, `splade` a base model with a masked-language-model head, `t-few` other datasets, and `lsr` and
`joint` a reader."""
STEPS = 10
SEED = 0
_MOST_SHARE = 0.1
"""Largest difference between two devices after ten steps in fp32, as a share of what training changed. Adam divides by
the size of each gradient, so it enlarges rounding where a gradient is almost zero."""
_MOST_LOSS = 1e-4
"""Largest relative difference between the first losses of two devices in fp32."""
_LEAST_COSINE = {"fp32": 0.99999, "bf16": 0.999}
_MEMORY_SHARE = 0.9
"""Share of the peak of a whole batch that the budget of memory allows."""
_LIBRARY_BATCHES = (32, 128, 512)
_ROUNDS = 3

Figures = dict[str, Any]


@dataclass(frozen=True)
class Options:
    """What is checked, on which device, with how much work."""

    device: str
    model: str | None
    dataset: str
    data_dir: Path | None
    texts: int
    """Documents for encoding and its speed."""


@dataclass(frozen=True)
class Task:
    """One check of one subject."""

    check: str
    subject: str = ""


def environment(options: Options, subject: str) -> Figures:
    """Return the device and the versions of the libraries."""
    import torch

    from bench.evaluation.cost import environment as machine

    facts: Figures = {"ok": True, **machine(options.device), "python": sys.version.split()[0]}
    if options.device.startswith("cuda"):
        properties = torch.cuda.get_device_properties(options.device)
        facts |= {"cuda": torch.version.cuda, "gpu_memory": properties.total_memory}
    return facts


def contract(options: Options, subject: str) -> Figures:
    """Run all clauses of the contract on a strategy."""
    from bench.contract import check

    results = check(subject, _model(options), device=options.device)
    return {"ok": all(each.ok for each in results), "clauses": {each.clause: str(each) for each in results}}


def steps(options: Options, subject: str) -> Figures:
    """Train ten steps on the device and on the CPU, without dropout, and compare first losses and answers."""
    from bench.contract.observing import answers_of
    from bench.encoders.strategy import EncoderStrategy

    dataset, data = _sample()
    before = None
    fits: dict[str, tuple[float, np.ndarray, float]] = {}
    for name, device, precision in (
        ("cpu", "cpu", "fp32"), ("device", options.device, "fp32"), ("own", options.device, "auto"),
    ):  # fmt: skip
        with mock.patch.object(EncoderStrategy, "dropout", False):  # objectives can ask for it, as SimCSE does
            strategy, losses, seconds = _fit(subject, options, device, precision, data)
        fits[name] = (losses[0], answers_of(strategy, dataset), seconds)
        counterpart = strategy.untrained_counterpart()
        if before is None and counterpart is not None:
            before = answers_of(counterpart, dataset, getattr(counterpart, "encoder", None))
    reference = fits["cpu"][1]
    same_shape = before is not None and before.shape == reference.shape
    change = _largest(reference, before) if before is not None and same_shape else float(np.abs(reference).max())
    difference, own = _largest(reference, fits["device"][1]), _largest(reference, fits["own"][1])
    loss_error = abs(fits["device"][0] - fits["cpu"][0]) / max(abs(fits["cpu"][0]), 1e-9)
    return {
        "ok": loss_error <= _MOST_LOSS and difference <= _MOST_SHARE * change and math.isfinite(own),
        "first_loss_relative_difference": loss_error,
        "largest_change": change,
        "largest_difference": difference,
        "difference_share": difference / change if change else None,
        "own_precision_difference_share": own / change if change else None,
        "step_seconds": {name: seconds for name, (_, _, seconds) in fits.items()},
    }


def encoding(options: Options, subject: str) -> Figures:
    """Encode on the CPU and on the device, in fp32 and bf16, and with prefetching switched off."""
    from bench.retrieval import encode

    texts = _texts(options)[: min(options.texts, 256)]
    reference = _encoder(options, "cpu", "fp32").uncached(texts, "document")
    figures: Figures = {"n": len(texts)}
    for precision, least in _LEAST_COSINE.items():
        encoder = _encoder(options, options.device, precision)
        vectors = encoder.uncached(texts, "document")
        figures[f"least_cosine_{precision}"] = cosine = float(_cosines(reference, vectors).min())
        figures[f"ok_{precision}"] = cosine >= least
    with mock.patch.object(encode, "ahead", lambda items, depth: items):
        unprefetched = encoder.uncached(texts, "document")
    figures["prefetch_difference"] = _largest(vectors, unprefetched)
    return figures | {"ok": figures["ok_fp32"] and figures["ok_bf16"] and figures["prefetch_difference"] == 0}


def memory(options: Options, subject: str) -> Figures:
    """Measure the peak of a fit, then fit within 90% of it."""
    from bench.budget import Budget
    from bench.evaluation.cost import PeakMemory

    _, data = _sample()
    strategy = _build(subject, options, options.device, "fp32")
    with PeakMemory(options.device) as whole:
        strategy.fit(data, Budget(steps=2), SEED)
    limit = int(whole.bytes * _MEMORY_SHARE)
    with PeakMemory(options.device) as probe:
        limited = _build(subject, options, options.device, "fp32", memory=probe)
        report = limited.fit(data, Budget(steps=2, memory=limit), SEED)
    return {"ok": probe.bytes <= limit, "whole_bytes": whole.bytes, "limit_bytes": limit, "bytes": probe.bytes} | {
        "notes": report.notes
    }


def two_fits(options: Options, subject: str) -> Figures:
    """Run two fits one after the other and at once, and compare every score."""
    from bench import run
    from bench.data.write import write_dataset

    frames = {}
    with tempfile.TemporaryDirectory() as folder:
        data_dir = Path(folder) / "data"
        write_dataset(_sample()[0], data_dir / "sample")
        for jobs in (1, 2):
            result = run(
                quiet=True, strategies="full,lora", baseline="full", datasets="sample", data_dir=str(data_dir),
                probes="none", device=options.device, jobs=jobs, threads=1, budget_steps=STEPS,
                out=str(Path(folder) / f"jobs-{jobs}"),
                **({"models": options.model} if options.model else {}),
            )  # fmt: skip
            frames[jobs] = result.frame().set_index("strategy").sort_index()
    statuses = [str(status) for frame in frames.values() for status in frame["status"]]
    scores = {jobs: frame["ndcg@10"].astype(float) for jobs, frame in frames.items()}
    difference = float((scores[1] - scores[2]).abs().max())
    return {
        "ok": set(statuses) == {"ok"} and difference <= 1e-3,
        "statuses": statuses,
        "largest_difference": difference,
    }


def speed_encode(options: Options, subject: str) -> Figures:
    """Compare the time to encode with the library's, at its best batch size, in its own bf16."""
    import torch

    from bench.speed.rounds import OURS, Timing, interleave

    texts = _texts(options)
    ours = _encoder(options, options.device, "auto")
    plain = replace(_model(options), options={"dtype": torch.bfloat16}).load(options.device)

    def library(batch: int) -> None:
        plain.encode_document(list(texts), batch_size=batch, show_progress_bar=False)

    def harness() -> None:
        ours.uncached(texts, "document")

    systems = {f"library bf16, batch {batch}": partial(library, batch) for batch in _LIBRARY_BATCHES}
    row = Timing("encode", f"{len(texts)} documents", interleave({**systems, OURS: harness}, _ROUNDS))
    return _ratio(row) | {"documents_per_second": len(texts) / row.median(OURS)}


def speed_train(options: Options, subject: str) -> Figures:
    """Compare the time of a training step with the library's trainer, in its faster format, on the same pairs."""
    from bench.planning.registry import Registry
    from bench.speed import comparisons
    from bench.speed.workload import FULL, QUICK, Workload

    sizes = replace(FULL, rounds=_ROUNDS) if options.device.startswith("cuda") else QUICK
    workload = Workload(_model(options), _dataset(options), Registry(), (subject,), sizes, options.device)
    (row,) = comparisons.training(workload)
    return _ratio(row)


CHECKS: Mapping[str, Callable[[Options, str], Figures]] = {
    "environment": environment,
    "speed-encode": speed_encode,
    "speed-train": speed_train,
    "two-fits": two_fits,
    "encoding": encoding,
    "memory": memory,
    "contract": contract,
    "steps": steps,
}
"""All checks, in the order in which they start."""
ALONE = ("environment", "speed-encode", "speed-train")
"""Checks during which nothing else runs, because their subject is time."""


def tasks(names: Sequence[str], expressions: Sequence[str]) -> Iterator[Task]:
    """Yield the checks in the order in which they run."""
    trained = [expression for expression in expressions if _trains(expression)]
    subjects = {
        "memory": [name for name in ("full", "lora") if name in expressions],
        "contract": expressions,
        "steps": trained,
        "speed-train": [name for name in ("full", "lora") if name in expressions],
    }
    for name in CHECKS:
        if name in names:
            yield from (Task(name, subject) for subject in subjects.get(name, [""]))


def perform(task: Task, options: Options) -> Figures:
    """Run one check and return its line. What a check raises is its result."""
    import torch

    torch.set_num_threads(1 if task.check not in ALONE else max(1, multiprocessing.cpu_count() // 2))
    start = time.perf_counter()
    try:
        figures = CHECKS[task.check](options, task.subject)
    except Exception as error:  # a check that fails in a new way is what this script looks for
        figures = {"ok": False, "error": f"{type(error).__name__}: {error}", "trace": traceback.format_exc()[-2000:]}
    return {"check": task.check, "subject": task.subject, **figures, "seconds": time.perf_counter() - start}


def expressions_of_the_registry() -> list[str]:
    """Return every strategy that needs no component and no file, and the composites."""
    from bench.contract.blueprint import Blueprint
    from bench.planning.registry import Registry

    registry = Registry()
    alone = [name for name in registry.entries if not registry.get(name).n_components and name not in _LEFT_OUT]
    return [*(name for name in alone if not Blueprint.of(name).components), *COMPOSITES]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the checks, print and write their lines, and return the exit code."""
    parser = argparse.ArgumentParser(description="Check the harness on a GPU.")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--out", type=Path, help="file for the lines of JSON")
    parser.add_argument("--only", default=",".join(CHECKS), help="checks, separated by commas")
    parser.add_argument("--strategies", help="expressions, separated by semicolons  [default: all]")
    parser.add_argument("--model", help="base model  [default: the packaged one]")
    parser.add_argument("--dataset", default="pydocs", help="texts for encoding and speed")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--texts", type=int, default=4096, help="documents to encode")
    parser.add_argument("--workers", type=int, default=6, help="checks at once")
    parser.add_argument("--limit", type=float, default=480, help="seconds after which no further check starts")
    parsed = parser.parse_args(arguments)
    names = parsed.only.split(",")
    if unknown := set(names) - set(CHECKS):
        parser.error(f"unknown checks: {', '.join(sorted(unknown))}")
    options = Options(parsed.device, parsed.model, parsed.dataset, parsed.data_dir, parsed.texts)
    expressions = parsed.strategies.split(";") if parsed.strategies else expressions_of_the_registry()
    todo = list(tasks(names, expressions))
    failed, deadline = 0, time.monotonic() + parsed.limit
    with (parsed.out or Path("/dev/null")).open("w", encoding="utf-8") as out:
        for line in _lines(todo, options, parsed.workers, deadline):
            failed += not line["ok"]
            text = json.dumps(line)
            sys.stdout.write(text + "\n")
            sys.stdout.flush()
            print(text, file=out, flush=True)
    return 1 if failed else 0


def _lines(todo: Sequence[Task], options: Options, workers: int, deadline: float) -> Iterator[Figures]:
    """Yield a line for each task: first those that run alone, then the others in a pool of processes."""
    context = multiprocessing.get_context("spawn")  # a forked process cannot use CUDA
    alone = [task for task in todo if task.check in ALONE]
    together = [task for task in todo if task.check not in ALONE]
    for group, size in ((alone, 1), (together, workers)):
        if not group:
            continue
        with ProcessPoolExecutor(min(size, len(group)), mp_context=context) as pool:
            futures = {pool.submit(_in_time, task, options, deadline): task for task in group}
            for future in as_completed(futures):
                yield future.result()


def _in_time(task: Task, options: Options, deadline: float) -> Figures:
    if time.monotonic() > deadline:
        return {"check": task.check, "subject": task.subject, "ok": False, "error": "not started: out of time"}
    return perform(task, options)


def _trains(expression: str) -> bool:
    from bench.contract.blueprint import Blueprint

    return Blueprint.of(expression).strategy.trains == "encoder"


def _model(options: Options) -> BaseModel:
    from bench.models.locate import base_model

    return base_model(options.model)


def _dataset(options: Options) -> Dataset:
    from bench.data.dataset import Dataset
    from bench.data.locate import load_dataset

    dataset = load_dataset(options.dataset, options.data_dir)
    assert isinstance(dataset, Dataset), f"{options.dataset} holds sentence pairs"
    return dataset


def _texts(options: Options) -> list[str]:
    return list(_dataset(options).corpus.texts[: options.texts])


def _sample() -> tuple[Dataset, TrainingData]:
    from bench.data.sample import sample_dataset, sample_training

    dataset = sample_dataset()
    return dataset, sample_training(dataset, SEED)


def _build(expression: str, options: Options, device: str, precision: str, memory: Any = None) -> Strategy:
    """Build a strategy on a device; its components are fitted."""
    from bench.contract.blueprint import Blueprint
    from bench.strategy.resources import Resources
    from bench.strategy.settings import TrainingSettings
    from bench.training.selection import DevelopmentPools

    training = TrainingSettings(batch_size=16, precision=precision)
    resources = Resources(
        model=_model(options), device=device, training=training, pools=DevelopmentPools(), memory=memory
    )

    def build(blueprint: Blueprint) -> Strategy:
        return blueprint.build(resources, [_fitted(build(each)) for each in blueprint.components])

    return build(Blueprint.of(expression))


def _fitted(strategy: Strategy) -> Strategy:
    from bench.budget import Budget

    strategy.fit(_sample()[1], Budget(steps=STEPS), SEED)
    return strategy


def _fit(
    expression: str, options: Options, device: str, precision: str, data: TrainingData
) -> tuple[Strategy, list[float], float]:
    """Fit for ten steps. Returns the strategy, the loss of each step, and the seconds of a step."""
    from bench.budget import Budget

    losses: list[float] = []

    def progress(event: str, values: Mapping[str, Any]) -> None:
        if event == "step":
            losses.append(float(values["loss"]))

    strategy = _build(expression, options, device, precision)
    strategy.resources = replace(strategy.resources, progress=progress)
    report = strategy.fit(data, Budget(steps=STEPS), SEED)
    return strategy, losses, report.train_seconds / max(report.steps, 1)


def _encoder(options: Options, device: str, precision: str) -> Any:
    from bench.strategy.resources import Resources
    from bench.strategy.settings import TrainingSettings

    return Resources(model=_model(options), device=device, training=TrainingSettings(precision=precision)).encoder


def _ratio(row: Timing) -> Figures:
    """Return how many times faster ours is than the library's best settings, with the median seconds of all."""
    from bench.speed.rounds import OURS

    best = min((name for name in row.seconds if name != OURS), key=row.median)
    ratio = row.ratio(best)
    return {
        "ok": True,
        "n": row.n,
        "best_of_library": best,
        "times_faster": ratio.median,
        "times_faster_range": [ratio.low, ratio.high],
        "median_seconds": {name: row.median(name) for name in row.seconds},
    }


def _largest(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one - other).max())


def _cosines(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.sum(one * other, axis=1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)


if __name__ == "__main__":
    sys.exit(main())
