"""A table of token vectors that is distilled from the base model (Model2Vec; Tulkens and van Dongen, 2024)."""

from __future__ import annotations

from bench.strategy.preset import Preset


class Static(Preset):
    """The base model's vectors of single tokens, averaged: no transformer runs, and nothing is trained."""

    name = "static"
    summary = "a table of token vectors distilled from the base model, without labels; the cheap end"
    expression = "frozen(representation=static)"
