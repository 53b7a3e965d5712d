"""The options that select a fit of a run."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, reduce
from typing import TYPE_CHECKING, Any

from bench.commands._options import DATASET, STRATEGY, option

if TYPE_CHECKING:
    from bench.exporting.selection import FitSelection

_which = partial(option, section="Which fit (give as many of these as select one fit of the run)")
_OPTIONS = (
    _which("--strategy", type=STRATEGY, help="strategy, as the report names it"),
    _which("--dataset", type=DATASET, help="dataset that it was adapted to"),
    _which("--model", metavar="NAME", help="base model"),
    _which("--budget", metavar="WORDS", help="budget in words, such as '60 steps'"),
    _which("--seed", type=int, metavar="N", help="seed  [default: the one with the best development score]"),
    _which("--fit", metavar="NAME", help="folder of the fit under fits/, instead of all these"),
)


def fit_options(function: Callable[..., int]) -> Callable[..., int]:
    """Add the options that select a fit to the function of a command."""
    return reduce(lambda decorated, add: add(decorated), reversed(_OPTIONS), function)


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
