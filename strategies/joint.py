"""A retriever and a reader that learn in turns (`bench.objectives.joint`)."""

from __future__ import annotations

from bench.strategy.preset import Preset


class Joint(Preset):
    """LoRA on the retriever and on the reader: each learns from the other, round after round."""

    name = "joint"
    summary = "LoRA on retriever and reader in turns: the reader on what is found, the retriever from the reader"
    expression = "lora(objective=joint)"
