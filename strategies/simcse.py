"""Unsupervised SimCSE on the user's own corpus (Gao et al., 2021)."""

from __future__ import annotations

from bench.strategy.preset import Preset


class SimCSE(Preset):
    """Every parameter, trained on documents that are encoded twice under dropout."""

    name = "simcse"
    summary = "full fine-tuning without labels: two passes of a document under dropout belong together"
    expression = "full(objective=simcse)"
