"""DPR: full fine-tuning of two encoders, one for questions and one for passages (Karpukhin et al., 2020)."""

from __future__ import annotations

from bench.strategy.preset import Preset


class Dpr(Preset):
    """Full fine-tuning of an encoder for queries and another one for documents."""

    name = "dpr"
    summary = "as `full`, with an encoder for queries and another one for documents"
    expression = "full(representation=untied)"
