"""Which fit of a run is meant, and the run's means to put it back together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.errors import BenchError, StoreError, unknown
from bench.records import USABLE, CellResult, FitRecord

if TYPE_CHECKING:
    import argparse

    from bench.config.execution import ExecutionSettings
    from bench.store.store import Store


@dataclass(frozen=True)
class Wanted:
    """What a user says of the fit that is meant; what is empty is left open."""

    strategy: str = ""
    """The expression, such as `lora` or `linear(rank=4)`."""
    dataset: str = ""
    model: str = ""
    budget: str = ""
    """In words, as tables show it: `60 steps`."""
    seed: int | None = None
    fit: str = ""
    """The fit's full name; decides alone."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options that say which fit is meant."""
    group = parser.add_argument_group("which fit", "as much as tells it from the others of the run")
    group.add_argument("--strategy", default="", metavar="NAME", help="strategy, as the report names it")
    group.add_argument("--dataset", default="", metavar="NAME", help="dataset that it was adapted to")
    group.add_argument("--model", default="", metavar="NAME", help="base model")
    group.add_argument("--budget", default="", metavar="WORDS", help="budget in words, such as '60 steps'")
    group.add_argument(
        "--seed", type=int, default=None, metavar="N", help="seed (default: the one with the best development score)"
    )
    group.add_argument("--fit", default="", metavar="NAME", help="the fit's folder under fits/, instead of all these")


def wanted_of(args: argparse.Namespace) -> Wanted:
    """Return what was said of the fit on the command line.

    Raises:
        BenchError: the strategy's expression cannot be read.
    """
    from bench.expression import parse

    strategy = str(parse(args.strategy)) if args.strategy else ""
    return Wanted(strategy, args.dataset, args.model, args.budget, args.seed, args.fit)


def choose(store: Store, wanted: Wanted) -> FitRecord:
    """Return the fit that is meant. Among seeds it is the one with the best development score, then the lowest seed.

    Raises:
        BenchError: there is none, or several that are not told apart by a seed; says what there is.
    """
    candidates = matching(store, wanted)
    for what, of in _AXES.items():
        kinds = sorted({of(fit) for fit in candidates})
        if len(kinds) > 1:
            some = ", ".join(kind or "none (untrained)" for kind in kinds)
            raise BenchError(f"fits of this run differ in {what}: say which is meant with --{what}. There are: {some}.")
    if len({fit.seed for fit in candidates}) < len(candidates):
        some = ", ".join(fit.fit for fit in candidates)
        raise BenchError(f"fits of this run differ in settings: say which is meant with --fit. There are: {some}.")
    return max(candidates, key=lambda fit: (_development(fit), -(fit.seed or 0)))


def matching(store: Store, wanted: Wanted) -> list[FitRecord]:
    """Return the usable fits that agree with what was said, the parts of composites left out unless they are meant.

    Raises:
        BenchError: nothing agrees; says what there is, or why the fits that do are of no use.
    """
    everything = store.fits()
    if not everything:
        raise StoreError(f"{store.folder} holds no fit: 'run' makes them, and --out says where")
    if wanted.fit:
        by_name = {fit.fit: fit for fit in everything}
        if wanted.fit not in by_name:
            raise unknown("fit", wanted.fit, by_name)
        found = [by_name[wanted.fit]]
    else:
        measured = {cell.fit for cell in store.cells() if cell.role != "probe"}
        found = everything if wanted.strategy else [fit for fit in everything if fit.fit in measured]
        given = {"strategy": wanted.strategy, "dataset": wanted.dataset, "model": wanted.model, "budget": wanted.budget}
        for what, of in _AXES.items():
            if value := given[what]:
                agreeing = [fit for fit in found if of(fit) == value or (what == "budget" and fit.seed is None)]
                if not agreeing:
                    raise unknown(f"{what} of this run", value, {of(fit) for fit in found} - {""})
                found = agreeing
        if wanted.seed is not None:
            seeds = {str(fit.seed) for fit in found if fit.seed is not None}
            if seeds and str(wanted.seed) not in seeds:
                raise unknown("seed of this run", str(wanted.seed), seeds)
            found = [fit for fit in found if fit.seed in (None, wanted.seed)]
    usable = [fit for fit in found if fit.status in USABLE]
    if not usable:
        first = found[0]
        raise BenchError(f"{first.fit} ended as {first.status.replace('_', ' ')}: {first.reason or 'no reason given'}")
    return usable


def _development(fit: FitRecord) -> float:
    score = fit.report.get("best_dev")
    return float("-inf") if score is None else float(score)


def budget_of(fit: FitRecord) -> str:
    """Return a fit's budget in words, as tables show it; empty for what does not train."""
    from bench.report.load import budget_label

    return "" if fit.seed is None else budget_label(fit.budget.get("limits") or {})


_AXES: dict[str, Callable[[FitRecord], str]] = {
    "strategy": lambda fit: fit.strategy,
    "dataset": lambda fit: fit.dataset,
    "model": lambda fit: fit.model,
    "budget": budget_of,
}


def target_cell(store: Store, fit: FitRecord) -> CellResult | None:
    """Return how a fit was measured on its own dataset, its probes joined in; None where it was not."""
    return next((cell for cell in store.results() if cell.fit == fit.fit), None)


def setup_of(store: Store) -> ExecutionSettings:
    """Return the setup of a run's latest invocation: its strategy files, data folder, device."""
    from bench.config.execution import ExecutionSettings
    from bench.config.schema import from_mapping

    config = next((call["config"] for call in reversed(store.invocations()) if call.get("config")), None)
    return (
        ExecutionSettings()
        if config is None
        else ExecutionSettings.of(from_mapping(config, f"{store.folder}/run.json"))
    )
