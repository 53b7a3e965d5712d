"""TSDAE on the user's own corpus (Wang et al., 2021)."""

from __future__ import annotations

from bench.strategy.preset import Preset


class TSDAE(Preset):
    """Every parameter, trained to restore documents from the vectors of damaged ones."""

    name = "tsdae"
    summary = "full fine-tuning without labels: a decoder restores damaged documents from their vectors"
    expression = "full(objective=tsdae)"
