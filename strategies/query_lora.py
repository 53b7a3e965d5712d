"""LoRA for the encoder of queries alone; documents keep the base model's vectors (Hu et al., 2022, section 4.1)."""

from __future__ import annotations

from bench.strategy.preset import Preset


class QueryLora(Preset):
    """LoRA on the queries' side. Documents keep the base model's vectors."""

    name = "query-lora"
    summary = "LoRA for queries alone; the index of the base model stays"
    expression = "lora(representation=query-side)"
