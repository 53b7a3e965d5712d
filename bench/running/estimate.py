"""How long pending jobs will take: as this run folder has measured, else roughly by counting operations.

A rough estimate takes the model's weights outside its embeddings, two operations per weight and token forward and four
more backward, at a fifth of the rate that a large matrix product reaches now. Encoding and training reached 15 to 25%
of that rate. Such an estimate is good to a factor of two or three, and worse where other work shares the machine.
"""

from __future__ import annotations

import json
import math
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from bench.models.locate import base_model
from bench.planning.jobs import Job
from bench.planning.plan import Plan
from bench.planning.specs import CellSpec, FitSpec
from bench.planning.study_spec import StudySpec
from bench.records import USABLE
from bench.running.tuning.objective import FOLDS
from bench.store.store import Store

if TYPE_CHECKING:
    from bench.planning.registry import Registry

ACHIEVED = 0.2
"""Share of the matrix-product rate that encoding and training are assumed to reach."""
_CHARS_PER_TOKEN = 4.5
_QUERY_TOKENS = 20
_START_SECONDS = 1.0
"""The time of starting a process and reading data and model."""
_MODEL_LENGTH = 256
_DEFAULT_STEPS = 100


@dataclass(frozen=True)
class Estimate:
    """The seconds that one job may take, and where the figure comes from."""

    name: str
    kind: str
    seconds: float
    how: str
    """`budget`, `measured` (an earlier one of this run folder) or `rough`."""


def estimate(
    plan: Plan,
    jobs: Sequence[Job],
    store: Store,
    registry: Registry,
    precision: str = "auto",
    rate: float | None = None,
) -> list[Estimate]:
    """Return an estimate for each pending job, in the order of the jobs.

    Args:
        plan: the plan of the run.
        jobs: the pending jobs.
        store: the store of the run, for what was measured before.
        registry: for what a strategy trains.
        precision: the precision of the run.
        rate: operations/s of a large matrix product; None measures it.
    """
    estimator = _Estimator(plan, store, registry, (rate or matrix_rate(precision)) * ACHIEVED)
    return [estimator.job(job) for job in jobs]


class _Estimator:
    def __init__(self, plan: Plan, store: Store, registry: Registry, rate: float) -> None:
        self.registry, self.rate = registry, rate
        self.datasets = plan.datasets
        self.specs = {fit.name: fit for fit in plan.fits}
        self.tuned = {fit.tuning.study.name: fit for fit in plan.fits if fit.tuning is not None}
        self.fits = [record for record in store.fits() if record.status in USABLE]
        self.cells = [record for record in store.cells() if record.status in USABLE]
        self.trials = {study.study: len(study.trials) for study in store.studies()}
        self._encoded: set[tuple[str, str]] = set()

    def job(self, job: Job) -> Estimate:
        spec = job.spec
        if isinstance(spec, FitSpec):
            return self.fit(spec)
        return self.cell(spec) if isinstance(spec, CellSpec) else self.study(spec)

    def study(self, spec: StudySpec) -> Estimate:
        fit = self.fit(self.tuned[spec.name])
        missing = max(spec.trials - self.trials.get(spec.name, 0), 0)
        return Estimate(spec.name, "study", fit.seconds * missing * FOLDS, fit.how)

    def fit(self, spec: FitSpec) -> Estimate:
        limit = spec.budget.max_seconds
        if limit is not None:
            return Estimate(spec.name, "fit", limit / spec.processes + _START_SECONDS, "budget")
        earlier = [each for each in self.fits if (each.strategy, each.dataset) == (spec.strategy, spec.dataset_name)]
        if earlier:
            cost, steps = earlier[-1].cost, spec.budget.steps
            share = steps / cost["steps"] if steps and cost.get("steps") else 1.0
            return Estimate(spec.name, "fit", cost["wall_seconds"] * share, "measured")
        if self.registry.get(spec.root).trains == "none":
            return Estimate(spec.name, "fit", _START_SECONDS, "rough")
        if spec.budget.flops is not None:
            return Estimate(spec.name, "fit", spec.budget.flops / self.rate + _START_SECONDS, "rough")
        steps = spec.budget.steps or _DEFAULT_STEPS
        tokens = self.tokens(spec.dataset) + _QUERY_TOKENS
        flops = 6.0 * self.weights(spec.model) * tokens * spec.training.batch_size * steps
        return Estimate(spec.name, "fit", flops / self.rate + _START_SECONDS, "rough")

    def cell(self, spec: CellSpec) -> Estimate:
        earlier = [
            each
            for each in self.cells
            if (each.strategy, each.dataset, each.role) == (spec.strategy, spec.dataset_name, spec.role)
            and "index_seconds" in each.cost
        ]
        if earlier:
            return Estimate(spec.name, "cell", earlier[-1].cost["index_seconds"] + _START_SECONDS, "measured")
        dataset, fit = self.datasets[spec.dataset], self.specs[spec.fit]
        texts = dataset.n_docs + dataset.n_queries
        kind = self.registry.get(fit.root)
        if not kind.on_gpu and not fit.components:  # such as `bm25`, which encodes nothing
            return Estimate(spec.name, "cell", _START_SECONDS, "rough")
        untrained = kind.trains == "none"
        place = (spec.dataset, fit.model if untrained else fit.name)
        texts = 0 if place in self._encoded else texts  # its vectors are in the cache then
        self._encoded.add(place)
        flops = 2.0 * self.weights(fit.model) * self.tokens(spec.dataset) * texts
        return Estimate(spec.name, "cell", flops / self.rate + _START_SECONDS, "rough")

    def tokens(self, dataset: str) -> float:
        """Return the mean number of tokens of a document, after cutting."""
        summary = self.datasets[dataset]
        return min(summary.doc_chars / _CHARS_PER_TOKEN + 2, summary.max_length or _MODEL_LENGTH)

    def weights(self, model: str) -> int:
        """Return the number of weights of a model outside its embeddings, read from the headers of its weight files."""
        return _weights(base_model(model or None).path)


@cache
def _weights(folder: Path) -> int:
    total = 0
    for path in sorted(folder.rglob("*.safetensors")):
        with path.open("rb") as stream:
            header = json.loads(stream.read(struct.unpack("<Q", stream.read(8))[0]))
        for name, tensor in header.items():
            if name != "__metadata__" and "embedding" not in name and len(tensor["shape"]) == 2:
                total += math.prod(tensor["shape"])
    return total


def matrix_rate(precision: str = "auto", size: int = 1024) -> float:
    """Return operations/s of a large matrix product in the precision that encodes texts: the best of five."""
    import torch

    from bench.models.precision import resolve

    device = "cuda" if torch.cuda.is_available() else "cpu"
    kind = torch.bfloat16 if resolve(precision, device) == "bf16" else torch.float32
    left = torch.ones((size, size), dtype=kind, device=device)
    best = math.inf
    for _ in range(6):  # the first includes warm-up, and the best leaves it out
        start = time.perf_counter()
        (left @ left).sum().item()
        best = min(best, time.perf_counter() - start)
    return 2.0 * size**3 / best
