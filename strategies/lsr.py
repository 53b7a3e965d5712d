"""Distillation of a reader into the retriever: LSR of REPLUG (Shi et al., 2023, section 4)."""

from __future__ import annotations

from bench.strategy.preset import Preset


class LSR(Preset):
    """LoRA, taught by how likely a reader finds the gold answer with each candidate as its passage."""

    name = "lsr"
    summary = "LoRA taught by a reader: passages that make the gold answer likely rank higher (REPLUG)"
    expression = "lora(objective=listwise(teacher=reader(smollm2)))"
