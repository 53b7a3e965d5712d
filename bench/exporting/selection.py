"""Which fit of a run to export, and the settings with which the run loads it again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bench.config.execution import ExecutionSettings
from bench.config.schema import from_mapping
from bench.errors import BenchError, StoreError, unknown
from bench.expression import parse
from bench.planning.build import OBJECTIVE, REPRESENTATION, layers
from bench.records import USABLE, CellResult, FitRecord
from bench.report.load import budget_label
from bench.running.environment import JobEnvironment
from bench.store.store import Store


@dataclass(frozen=True)
class FitSelection:
    """The fits of a run that a user means. An empty field leaves that axis open."""

    strategy: str = ""
    """The expression, such as `lora` or `linear(rank=4)`."""
    dataset: str = ""
    model: str = ""
    budget: str = ""
    """As tables show it: `60 steps`."""
    seed: int | None = None
    fit: str = ""
    """The fit's full name. It decides alone."""


def select_fit(store: Store, selection: FitSelection) -> FitRecord:
    """Return the selected fit. Among seeds it is the one with the best development score, then the lowest seed.

    Raises:
        BenchError: no fit matches, or several that differ in more than the seed; the message lists them.
    """
    candidates = matching_fits(store, selection)
    for axis, value_of in _AXES.items():
        values = sorted({value_of(fit) for fit in candidates})
        if len(values) > 1:
            names = ", ".join(value or "none (untrained)" for value in values)
            raise BenchError(f"the fits of this run differ in {axis}: choose one with --{axis}. There are: {names}.")
    if len({fit.seed for fit in candidates}) < len(candidates):
        names = ", ".join(fit.fit for fit in candidates)
        raise BenchError(f"the fits of this run differ in settings: choose one with --fit. There are: {names}.")
    return max(candidates, key=lambda fit: (_development_score(fit), -(fit.seed or 0)))


def matching_fits(store: Store, selection: FitSelection) -> list[FitRecord]:
    """Return the usable fits that match a selection. Components of composites match by their own name only.

    Raises:
        BenchError: no fit matches, and the message lists what there is; or the fits that match are not usable.
    """
    fits = store.fits()
    if not fits:
        raise StoreError(f"{store.folder} holds no fit: 'run' makes them, and --out names their folder")
    if selection.fit:
        by_name = {fit.fit: fit for fit in fits}
        if selection.fit not in by_name:
            raise unknown("fit", selection.fit, by_name)
        matching = [by_name[selection.fit]]
    else:
        measured = {cell.fit for cell in store.cells() if cell.role == "target"}
        matching = fits if selection.strategy else [fit for fit in fits if fit.fit in measured]
        for axis, value_of in _AXES.items():
            if value := getattr(selection, axis):
                in_every_budget = axis == "budget"  # as a fit that trains nothing is
                agreeing = [fit for fit in matching if value_of(fit) == value or (in_every_budget and not _trains(fit))]
                if not agreeing:
                    raise unknown(f"{axis} of this run", value, {value_of(fit) for fit in matching} - {""})
                matching = agreeing
        if selection.seed is not None:
            seeds = {str(fit.seed) for fit in matching if _trains(fit)}
            if seeds and str(selection.seed) not in seeds:
                raise unknown("seed of this run", str(selection.seed), seeds)
            matching = [fit for fit in matching if fit.seed in (None, selection.seed)]
    usable = [fit for fit in matching if fit.status in USABLE]
    if not usable:
        first = matching[0]
        raise BenchError(f"{first.fit} ended as {first.status.replace('_', ' ')}: {first.reason or 'no reason given'}")
    return usable


def _trains(fit: FitRecord) -> bool:
    return fit.seed is not None


def _development_score(fit: FitRecord) -> float:
    score = fit.report.get("best_dev")
    return float("-inf") if score is None else float(score)


def budget_words(fit: FitRecord) -> str:
    """Return a fit's budget as tables show it; empty for a fit that trains nothing."""
    return budget_label(fit.budget.get("limits") or {}) if _trains(fit) else ""


_AXES: dict[str, Callable[[FitRecord], str]] = {
    "strategy": lambda fit: fit.strategy,
    "dataset": lambda fit: fit.dataset,
    "model": lambda fit: fit.model,
    "budget": budget_words,
}


def target_cell(store: Store, fit: FitRecord) -> CellResult | None:
    """Return the measurement of a fit on its own dataset, with its probes; None where there is none."""
    return next((cell for cell in store.results() if cell.fit == fit.fit), None)


def latest_config(store: Store) -> dict[str, Any]:
    """Return the configuration of a run's latest invocation, as plain values; empty where none is recorded."""
    return next((call["config"] for call in reversed(store.invocations()) if call.get("config")), {})


def execution_settings(
    store: Store, strategy_files: Sequence[str] = (), trust_remote_code: bool = False
) -> ExecutionSettings:
    """Return the settings of a run's latest invocation, such as data folder and device, without permission to run code.

    Anyone may have written a run folder. So the strategy files that it names are not imported, and its permission for
    code of models from the hub is not taken over.

    Args:
        store: the run.
        strategy_files: the files that the user gives again.
        trust_remote_code: whether the user allows code of models again.
    """
    config = latest_config(store)
    recorded = ExecutionSettings.of(from_mapping(config, f"{store.folder}/run.json")) if config else ExecutionSettings()
    return replace(
        recorded,
        strategy_files=tuple(strategy_files),
        trust_remote_code=trust_remote_code,
        from_record=True,
        report_to=(),
    )


class UntrustedCodeError(BenchError):
    """A record needs code that the user has not allowed again."""


def require_strategies(environment: JobEnvironment, record: FitRecord) -> None:
    """Refuse a fit whose strategies come from files that the user has not given.

    Raises:
        UntrustedCodeError: a name is unknown. The message names the files that the run used.
    """
    registry = environment.registry
    known = {*registry.names(), *registry.objectives.names(), *registry.representations.names()}
    names = [parse(record.strategy).name]
    for axis in (OBJECTIVE, REPRESENTATION):
        if value := record.hyperparameters.get(axis):
            names += [each.name for each in layers(parse(str(value)))]
    missing = [name for name in names if name not in known and ":" not in name]
    files = [str(file) for file in latest_config(environment.store).get("strategy_files") or ()]
    if missing and files:
        raise UntrustedCodeError(
            f"{record.fit} uses {missing[0]!r} from a strategy file of the run. Code that a record names is not run. "
            f"Where you trust it, give it again: {' '.join(f'--strategy-file {file}' for file in files)}"
        )
    for component in record.components:
        require_strategies(environment, environment.store.fit(component))
