"""From a store to comparisons: which records may stand in one table.

A comparison is one comparison: dataset (by content), split, base model and budget; under a budget in seconds or usd the
machine class too, as results then depend on it: machine classes under a time budget never share a table. What does not
train has neither budget nor seed, and stands in every comparison of its dataset and model.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from bench.budget import MACHINE_BOUND
from bench.errors import StoreError, unknown
from bench.records import CellResult, FitRecord
from bench.report.comparison import Candidate, Comparison, RunStore
from bench.report.numbers import amount
from bench.store.pricing import price_of, set_price


@dataclass(frozen=True)
class Run:
    """All that a store holds, arranged for the report."""

    store: RunStore = field(repr=False)
    results: list[CellResult]
    fits: dict[str, FitRecord]
    comparisons: list[Comparison]
    invocations: list[dict[str, Any]]
    baseline: str

    @cached_property
    def probes(self) -> list[CellResult]:
        """The cells of probes, read once."""
        return [cell for cell in self.store.cells() if cell.role == "probe"]

    @property
    def labels(self) -> list[str]:
        """Every candidate's label, sorted."""
        return sorted({label for comparison in self.comparisons for label in comparison.candidates})


def load_run(store: RunStore, baseline: str | None = None) -> Run:
    """Read a store and arrange it into comparisons.

    Args:
        store: the run.
        baseline: what the others are tested against; by default what the run was asked for, else the configured one.

    Raises:
        StoreError: there is no result in the store.
        BenchError: `baseline` is not among the strategies of the run.
    """
    results, invocations = store.results(), store.invocations()
    if not results:
        raise StoreError("there is no result in this folder yet: `run` writes them, and --out says where")
    fits = {record.fit: record for record in store.fits()}
    price = price_of(invocations)
    for cell in results:
        set_price(cell, price)
    for fit in fits.values():
        set_price(fit, price)
    strategies = {cell.strategy for cell in results}
    if baseline is not None and baseline not in strategies:
        raise unknown("baseline", baseline, strategies)
    chosen = baseline or _asked_baseline(invocations)
    comparisons = [
        Comparison(
            key.dataset,
            key.split,
            key.model,
            budget_label(dict(key.limits)),
            dict(key.limits),
            key.machine,
            candidates,
            chosen,
            store,
        )
        for key, candidates in _comparisons(results, fits).items()
    ]
    return Run(store, results, fits, comparisons, invocations, chosen)


def budget_label(limits: Mapping[str, float]) -> str:
    """Return a budget in words: `150 steps`, `200 examples, 60 seconds`, `0.5% trainable params`."""
    return ", ".join(f"{amount(value, name)} {name.replace('_', ' ')}" for name, value in limits.items())


def machine_class(record: CellResult | FitRecord) -> str:
    """Return the machine class that a record was made on; empty where it does not say."""
    return str(record.environment.get("machine_class") or record.environment.get("machine") or "")


def _asked_baseline(invocations: Sequence[Mapping[str, Any]]) -> str:
    from bench.config.schema import BASELINE

    asked = [call.get("config", {}).get("baseline") for call in invocations if isinstance(call.get("config"), Mapping)]
    return next((str(name) for name in reversed(asked) if name), BASELINE)


class Key(NamedTuple):
    """What makes a comparison."""

    dataset: str
    split: str
    model: str
    content: str
    """Fingerprint of the dataset."""
    limits: tuple[tuple[str, float], ...]
    machine: str


def _comparisons(results: Sequence[CellResult], fits: Mapping[str, FitRecord]) -> dict[Key, dict[str, Candidate]]:
    """Group cells by comparison; what does not train joins each of its dataset, split, model and content."""
    trained: dict[Key, list[CellResult]] = {}
    untrained: dict[Key, list[CellResult]] = {}
    for cell in results:
        where = (cell.dataset, cell.split, cell.model, cell.fingerprints.get("dataset", ""))
        limits = tuple((cell.budget.get("limits") or {}).items())
        timed = any(name in MACHINE_BOUND for name, _ in limits)
        if cell.seed is None:
            untrained.setdefault(Key(*where, limits, ""), []).append(cell)
        else:
            trained.setdefault(Key(*where, limits, machine_class(cell) if timed else ""), []).append(cell)
    for key in untrained:
        if not any(_joins(key, known) for known in trained):
            trained[key] = []
    ordered = sorted(trained, key=lambda key: (*key[:3], sorted(key.limits), key.machine))
    return {
        key: _candidates(
            [*trained[key], *(cell for other, cells in untrained.items() if _joins(other, key) for cell in cells)], fits
        )
        for key in ordered
    }


def _joins(untrained: Key, comparison: Key) -> bool:
    """Whether what does not train belongs to a comparison. A cell that failed early has no fingerprint to compare.

    It has a budget of its own only where labels have tuned it.
    """
    same = untrained[:3] == comparison[:3] and untrained.content in ("", comparison.content)
    return same and untrained.limits in ((), comparison.limits)


def _candidates(cells: Iterable[CellResult], fits: Mapping[str, FitRecord]) -> dict[str, Candidate]:
    """Make one candidate a strategy, or one a variant where a strategy was run with several sets of options."""
    strategies: dict[str, list[CellResult]] = {}
    for cell in cells:
        strategies.setdefault(cell.strategy, []).append(cell)
    candidates = {}
    for strategy, members in sorted(strategies.items()):
        for suffix, chosen in _variants(members, fits).items():
            ordered = sorted(chosen, key=lambda cell: (cell.seed is not None, cell.seed or 0, cell.cell))
            candidates[strategy + suffix] = Candidate(strategy + suffix, tuple(ordered))
    return candidates


def _variants(cells: Sequence[CellResult], fits: Mapping[str, FitRecord]) -> dict[str, list[CellResult]]:
    """Split cells of one strategy where a seed appears twice, by the options in which they differ."""
    if len({cell.seed for cell in cells}) == len(cells):
        return {"": list(cells)}
    options = {}
    for cell in cells:
        record = fits.get(cell.fit)
        training = {f"train.{name}": value for name, value in (record.training if record else {}).items()}
        version = {"version": record.strategy_version} if record else {}
        options[cell.cell] = {**cell.hyperparameters, **training, **version}
    names = sorted({name for values in options.values() for name in values})
    varying = [name for name in names if len({repr(values.get(name)) for values in options.values()}) > 1]
    variants: dict[str, list[CellResult]] = {}
    for cell in cells:
        settings = ", ".join(f"{name}={options[cell.cell].get(name)}" for name in varying)
        variants.setdefault(f" [{settings or cell.fit}]", []).append(cell)
    doubled = [key for key, members in variants.items() if len({cell.seed for cell in members}) < len(members)]
    for key in doubled:
        for cell in variants.pop(key):
            variants.setdefault(f" [{cell.fit}]", []).append(cell)
    return variants
