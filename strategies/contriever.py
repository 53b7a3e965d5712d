"""Contriever's training without labels, on the user's own corpus (Izacard et al., 2022)."""

from __future__ import annotations

from bench.strategy.preset import Preset


class Contriever(Preset):
    """Every parameter, trained on pairs of spans of a document."""

    name = "contriever"
    summary = "full fine-tuning without labels: two spans of a document belong together"
    expression = "full(objective=cropping)"
