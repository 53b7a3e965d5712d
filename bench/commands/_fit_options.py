"""The options that select a fit of a run."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.exporting.selection import FitSelection


def add_fit_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options that select a fit."""
    group = parser.add_argument_group("which fit", "give as many of these as select one fit of the run")
    group.add_argument("--strategy", default="", metavar="NAME", help="strategy, as the report names it")
    group.add_argument("--dataset", default="", metavar="NAME", help="dataset that it was adapted to")
    group.add_argument("--model", default="", metavar="NAME", help="base model")
    group.add_argument("--budget", default="", metavar="WORDS", help="budget in words, such as '60 steps'")
    group.add_argument(
        "--seed", type=int, default=None, metavar="N", help="seed (default: the one with the best development score)"
    )
    group.add_argument("--fit", default="", metavar="NAME", help="folder of the fit under fits/, instead of all these")


def fit_selection(args: argparse.Namespace) -> FitSelection:
    """Return the selection that the options make.

    Raises:
        BenchError: the strategy's expression cannot be read.
    """
    from bench.exporting.selection import FitSelection
    from bench.expression import parse

    strategy = str(parse(args.strategy)) if args.strategy else ""
    return FitSelection(strategy, args.dataset, args.model, args.budget, args.seed, args.fit)
