"""Attachments train under bf16 autocast and encode with bf16 weights, close to what fp32 gives."""

from typing import Any

import numpy as np
import pytest

from bench.budget import Budget
from bench.contract import Blueprint
from bench.data.sample import sample_dataset, sample_training
from bench.encoders.strategy import EncoderStrategy

EVERY = ("adapter", "prefix", "prompt", "ptuning", "ia3", "bitfit", "dora", "adalora", "vera", "full-merge")
CASES = [("bert", name) for name in EVERY] + [("mpnet", "prefix"), ("mpnet", "prompt"), ("modernbert", "prompt")]


@pytest.mark.parametrize(("family", "expression"), CASES)
def test_bf16_is_close_to_fp32(family: str, expression: str, tiny_base: Any, tiny_resources: Any) -> None:
    texts = sample_dataset().corpus.texts[:12]
    found = []
    for precision in ("fp32", "bf16"):
        strategy = Blueprint.of(expression).build(tiny_resources(tiny_base(family), precision=precision), ())
        assert isinstance(strategy, EncoderStrategy)
        strategy.fit(sample_training(), Budget(steps=2), 0)
        with strategy.merged():
            found.append(strategy.encoder.uncached(texts, "document"))

    fp32, bf16 = found
    assert bf16.dtype == np.float32
    assert float((fp32 * bf16).sum(axis=1).min()) > 0.99
    assert float(np.abs(fp32 - bf16).max()) > 0
