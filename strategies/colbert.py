"""ColBERT: full fine-tuning of token vectors under late interaction (Khattab and Zaharia, 2020)."""

from __future__ import annotations

from bench.strategy.preset import Preset


class Colbert(Preset):
    """Full fine-tuning with one vector a token, compared by MaxSim."""

    name = "colbert"
    summary = "as `full`, with one vector a token, compared by late interaction"
    expression = "full(representation=multi)"
