"""How long a plan will take, before it runs: from what this run folder has measured, else roughly by operations.

Rough means: the model's weights outside its embeddings, two operations a weight and token forward and four more
backward, at a fifth of the rate that a large matrix product reaches here now. Encoding and training were seen to reach
15 to 25% of it. Good to a factor of two or three, and worse where other work shares the machine.
"""

from __future__ import annotations

import json
import math
import struct
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from bench.config.schema import RunConfig
from bench.planning.plan import Plan
from bench.planning.specs import CellSpec, FitSpec
from bench.planning.summary import DatasetSummary
from bench.records import USABLE
from bench.running.tuning.objective import FOLDS
from bench.store.store import Store

if TYPE_CHECKING:
    from bench.planning.registry import Registry

ACHIEVED = 0.2
"""Share of the matrix-product rate that encoding and training are taken to reach."""
_CHARS_A_TOKEN = 4.5
_QUERY_TOKENS = 20
_START_SECONDS = 1.0
"""Of a process, its data and its model."""
_MODEL_LENGTH = 256
_DEFAULT_STEPS = 100


@dataclass(frozen=True)
class Estimate:
    """Seconds that one fit or cell may take, and where the figure comes from."""

    name: str
    kind: str
    seconds: float
    how: str
    """`budget`, `measured` (an earlier one of this run folder) or `rough`."""


def estimate(
    config: RunConfig, planned: Plan, fits: set[str], cells: set[str], registry: Registry, rate: float | None = None
) -> list[Estimate]:
    """Estimate the pending fits and cells of a plan, in its order.

    Args:
        config: the run.
        planned: its plan.
        fits: names of the fits to be made.
        cells: names of the cells to be made.
        registry: for what a strategy trains.
        rate: operations/s of a large matrix product; None measures it.
    """
    rate = (rate or matrix_rate(config.precision)) * ACHIEVED
    estimator = _Estimator(config, planned, Store(Path(config.out)), registry, rate)
    found = [estimator.fit(fit) for fit in planned.fits if fit.name in fits]
    return found + [estimator.cell(cell) for cell in planned.cells if cell.name in cells]


class _Estimator:
    def __init__(self, config: RunConfig, planned: Plan, store: Store, registry: Registry, rate: float) -> None:
        self.config, self.registry, self.rate = config, registry, rate
        self.facts: dict[str, DatasetSummary] = planned.datasets
        self.specs = {fit.name: fit for fit in planned.fits}
        self.fits = [record for record in store.fits() if record.status in USABLE]
        self.cells = [record for record in store.cells() if record.status in USABLE]
        self.studies = store.studies()
        self._encoded: set[tuple[str, str]] = set()
        self._tuned: set[str] = set()

    def fit(self, spec: FitSpec) -> Estimate:
        alone = self.without_tuning(spec)
        if spec.tuning is None or spec.tuning.study.name in self._tuned:
            return alone
        self._tuned.add(spec.tuning.study.name)
        made = [study for study in self.studies if study.study == spec.tuning.study.name]
        missing = spec.tuning.study.trials - sum(len(study.trials) for study in made)
        fits = 1 + max(missing, 0) * FOLDS
        return Estimate(spec.name, "fit", alone.seconds * fits, alone.how)

    def without_tuning(self, spec: FitSpec) -> Estimate:
        limit = spec.budget.max_seconds
        if limit is not None:
            return Estimate(spec.name, "fit", limit + _START_SECONDS, "budget")
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
        facts, fit = self.facts[spec.dataset], self.specs[spec.fit]
        texts = facts.n_docs + facts.n_queries
        place = (spec.dataset, fit.model)
        if self.registry.get(fit.root).trains == "none":
            texts = 0 if place in self._encoded else texts  # the base model's vectors are in the cache by then
            self._encoded.add(place)
        flops = 2.0 * self.weights(fit.model) * self.tokens(spec.dataset) * texts
        return Estimate(spec.name, "cell", flops / self.rate + _START_SECONDS, "rough")

    def tokens(self, dataset: str) -> float:
        """Return the mean tokens of a document after cutting."""
        facts = self.facts[dataset]
        return min(facts.doc_chars / _CHARS_A_TOKEN + 2, facts.max_length or _MODEL_LENGTH)

    def weights(self, model: str) -> int:
        """Return the scalars of a model outside its embeddings, read from the headers of its weight files."""
        from bench.models.locate import base_model

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
    """Return operations/s of a large matrix product in the precision in which texts would be encoded: best of five."""
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
