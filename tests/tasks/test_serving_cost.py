"""What serving costs: strategies with the same weights share one measurement of throughput."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.data.sample import sample_dataset
from bench.encoders.base import BaseEncoder
from bench.models.base import BaseModel
from bench.tasks import serving_cost
from strategies.frozen import Frozen
from strategies.full import Full


def test_throughput_is_measured_once_for_the_same_weights(
    tiny_bert: BaseModel, tiny_resources: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = iter([100.0, 50.0])
    monkeypatch.setattr(serving_cost, "throughput", lambda encode, texts: next(measured))
    texts = sample_dataset().corpus.texts
    base = tiny_resources(tiny_bert)
    tuned = Full(None, base)
    found = [
        serving_cost._documents_per_second(encoder, texts, tmp_path / "calibrations")
        for encoder in (Frozen(None, base).encoder, BaseEncoder(None, base).encoder, tuned.encoder)
    ]
    assert found == pytest.approx([100, 100, 50])
