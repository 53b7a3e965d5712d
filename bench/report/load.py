"""From a store to comparisons: which records may stand in one table.

A comparison is one dataset (by content), split, base model and budget. Under a budget in seconds or usd it is also one
machine class, because results then depend on the machine. Untrained strategies have no budget and no seed, and join
every comparison of their dataset and model.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.budget import MACHINE_BOUND
from bench.config.schema import BASELINE
from bench.errors import StoreError, unknown
from bench.records import PRIMARY_MEASURE, CellResult, FitRecord
from bench.report.comparison import Candidate, Comparison, Margin
from bench.report.numbers import amount
from bench.store.pricing import price_of, set_price
from bench.store.store import CURVE, Store

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class LoadedRun:
    """The content of a store, arranged for the report."""

    store: Store = field(repr=False)
    results: list[CellResult]
    fits: dict[str, FitRecord]
    comparisons: list[Comparison]
    invocations: list[dict[str, Any]]
    baseline: str
    primary: str
    """The key of the measure that decides."""

    @cached_property
    def probes(self) -> list[CellResult]:
        """The cells of probes."""
        return [cell for cell in self.store.cells() if cell.role == "probe"]

    @cached_property
    def development(self) -> dict[str, list[pd.DataFrame]]:
        """Fit -> its development scores: tables with a row for each seed, label budget and query.

        There is a table for each development cell. A fit that trains nothing has another one where seeds were added.
        """
        tables: dict[str, list[pd.DataFrame]] = {}
        for cell in self.store.cells():
            if cell.role == "development" and cell.usable:
                table = self.store.per_query(cell.cell)
                if self.primary in table:
                    tables.setdefault(cell.fit, []).append(table)
        return tables

    @property
    def labels(self) -> list[str]:
        """The labels of all candidates, sorted."""
        return sorted({label for comparison in self.comparisons for label in comparison.candidates})

    def fits_of(self, candidate: Candidate) -> list[FitRecord]:
        """Return the fits of a candidate's usable cells."""
        return [self.fits[cell.fit] for cell in candidate.usable if cell.fit in self.fits]

    def has_curve(self, candidate: Candidate) -> bool:
        """Return whether a learning curve was recorded for a seed of the candidate."""
        return any(CURVE in fit.files for fit in self.fits_of(candidate))


def load_run(store: Store, baseline: str | None = None, margin: float | None = None) -> LoadedRun:
    """Return the records of a store, arranged into comparisons.

    Args:
        store: the run.
        baseline: the strategy that all others are tested against; None is the baseline in the run's configuration.
        margin: an equivalence margin chosen after the run; None is the one that the run declared.

    Raises:
        StoreError: there is no result in the store.
        BenchError: `baseline` is not among the strategies of the run.
    """
    results, invocations = store.results(), store.invocations()
    if not results:
        raise StoreError("there is no result in this folder yet. `run` writes results, and --out sets the folder")
    fits = {record.fit: record for record in store.fits()}
    price = price_of(invocations)
    for cell in results:
        set_price(cell, price)
    for fit in fits.values():
        set_price(fit, price)
    strategies = {cell.strategy for cell in results}
    if baseline is not None and baseline not in strategies:
        raise unknown("baseline", baseline, strategies)
    baseline = baseline or _configured(invocations, "baseline") or BASELINE
    primary = _configured(invocations, "primary") or PRIMARY_MEASURE
    declared = margin_of(invocations) if margin is None else Margin(margin)
    comparisons = [
        Comparison(
            key.dataset,
            key.split,
            key.model,
            budget_label(dict(key.limits)),
            dict(key.limits),
            key.machine,
            candidates,
            baseline,
            primary,
            store,
            declared,
        )
        for key, candidates in _comparisons(results, fits).items()
    ]
    return LoadedRun(store, results, fits, comparisons, invocations, baseline, primary)


def budget_label(limits: Mapping[str, float]) -> str:
    """Return a budget in words: `150 steps`, `200 examples, 60 seconds`, `0.5% trainable params`."""
    return ", ".join(f"{amount(value, name)} {name.replace('_', ' ')}" for name, value in limits.items())


def machine_of(record: CellResult | FitRecord) -> str:
    """Return the machine class that a record was made on; empty where the record does not name it."""
    return str(record.environment.get("machine_class") or record.environment.get("machine") or "")


def margin_of(invocations: Sequence[Mapping[str, Any]]) -> Margin:
    """Return the equivalence margin of a run: that of its latest invocation.

    It is declared if all invocations have it. One that a later invocation brought may have been chosen from results.
    """
    runs = [call for call in invocations if list(call.get("command") or ())[3:4] != ["tune"]]
    margins = [(call.get("config") or {}).get("equivalence_margin") for call in runs]
    if not margins or margins[-1] is None:
        return Margin()
    return Margin(float(margins[-1]), all(margin == margins[-1] for margin in margins))


def _configured(invocations: Sequence[Mapping[str, Any]], name: str) -> str:
    """Return a setting of the latest invocation that has it, or an empty string."""
    configs = [call["config"] for call in reversed(invocations) if isinstance(call.get("config"), Mapping)]
    return next((str(config[name]) for config in configs if config.get(name)), "")


class Key(NamedTuple):
    """What distinguishes comparisons."""

    dataset: str
    split: str
    model: str
    content: str
    """The fingerprint of the dataset."""
    limits: tuple[tuple[str, float], ...]
    machine: str


def _comparisons(results: Sequence[CellResult], fits: Mapping[str, FitRecord]) -> dict[Key, dict[str, Candidate]]:
    """Return the candidates of each comparison."""
    trained: dict[Key, list[CellResult]] = {}
    untrained: dict[Key, list[CellResult]] = {}
    for cell in results:
        where = (cell.dataset, cell.split, cell.model, cell.fingerprints.get("dataset", ""))
        limits = tuple((cell.budget.get("limits") or {}).items())
        timed = any(name in MACHINE_BOUND for name, _ in limits)
        if cell.seed is None:
            untrained.setdefault(Key(*where, limits, ""), []).append(cell)
        else:
            trained.setdefault(Key(*where, limits, machine_of(cell) if timed else ""), []).append(cell)
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
    """Return whether an untrained strategy belongs to a comparison.

    A cell that failed early has no fingerprint to compare. An untrained strategy has a budget only where labels tuned
    it.
    """
    same = untrained[:3] == comparison[:3] and untrained.content in ("", comparison.content)
    return same and untrained.limits in ((), comparison.limits)


def _candidates(cells: Iterable[CellResult], fits: Mapping[str, FitRecord]) -> dict[str, Candidate]:
    """Return one candidate per strategy, or one per variant where a strategy was run with several sets of options."""
    strategies: dict[str, list[CellResult]] = {}
    for cell in cells:
        strategies.setdefault(cell.strategy, []).append(cell)
    candidates = {}
    for strategy, members in sorted(strategies.items()):
        for suffix, variant in _variants(members, fits).items():
            ordered = sorted(variant, key=lambda cell: (cell.seed is not None, cell.seed or 0, cell.cell))
            candidates[strategy + suffix] = Candidate(strategy + suffix, tuple(ordered))
    return candidates


def _variants(cells: Sequence[CellResult], fits: Mapping[str, FitRecord]) -> dict[str, list[CellResult]]:
    """Return suffix -> cells of one strategy. Where a seed occurs twice, variants are split by differing options."""
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
        differing = ", ".join(f"{name}={options[cell.cell].get(name)}" for name in varying)
        variants.setdefault(f" [{differing or cell.fit}]", []).append(cell)
    doubled = [key for key, members in variants.items() if len({cell.seed for cell in members}) < len(members)]
    for key in doubled:
        for cell in variants.pop(key):
            variants.setdefault(f" [{cell.fit}]", []).append(cell)
    return variants
