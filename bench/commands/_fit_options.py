"""The options that select a fit of a run."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, reduce
from typing import TYPE_CHECKING, Any

from bench.commands._options import DATASET, FILE, STRATEGY, option

if TYPE_CHECKING:
    from bench.config.execution import ExecutionSettings
    from bench.exporting.selection import FitSelection
    from bench.store.store import Store

_which = partial(option, section="Which fit (give as many of these as select one fit of the run)")
_OPTIONS = (
    _which("--strategy", type=STRATEGY, help="strategy, as the report names it"),
    _which("--dataset", type=DATASET, help="dataset that it was adapted to"),
    _which("--model", metavar="NAME", help="base model"),
    _which("--budget", metavar="WORDS", help="budget in words, such as '60 steps'"),
    _which("--seed", type=int, metavar="N", help="seed  [default: the one with the best development score]"),
    _which("--fit", metavar="NAME", help="folder of the fit under fits/, instead of all these"),
)
_code = partial(option, section="Code that the run used, which is not run without these")
_CODE_OPTIONS = (
    _code("--strategy-file", type=FILE, multiple=True, metavar="FILE", help="import this strategy file"),
    _code("--trust-remote-code", is_flag=True, help="run code that comes with the base model"),
)


def fit_options(function: Callable[..., int]) -> Callable[..., int]:
    """Add the options that select a fit, and those that allow its code, to the function of a command."""
    return reduce(lambda decorated, add: add(decorated), reversed((*_OPTIONS, *_CODE_OPTIONS)), function)


def trusted_settings(store: Store, given: dict[str, Any]) -> ExecutionSettings:
    """Return the run's settings, with the code that the options allow. Takes these options out of `given`."""
    from bench.exporting.selection import execution_settings

    files, trust = given.pop("strategy_file"), given.pop("trust_remote_code")
    return execution_settings(store, [str(file) for file in files], trust)


def fit_selection(given: dict[str, Any]) -> FitSelection:
    """Return the selection that the options make.

    Raises:
        BenchError: the strategy's expression cannot be read.
    """
    from bench.exporting.selection import FitSelection
    from bench.expression import parse

    selected = {name: value for name, value in given.items() if value is not None}
    if "strategy" in selected:
        selected["strategy"] = str(parse(selected["strategy"]))
    return FitSelection(**selected)
