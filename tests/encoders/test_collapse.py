"""A fit whose vectors have collapsed says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from bench.data.sample import sample_dataset
from bench.encoders import collapse
from bench.encoders.collapse import collapse_note
from bench.models.base import BaseModel
from strategies.full import Full

TEXTS = [str(number) for number in range(100)]


def vectors(shift: float) -> Callable[[Any], np.ndarray]:
    """Vectors drawn around a point that lies `shift` from the origin."""
    return lambda texts: np.random.default_rng(0).standard_normal((len(texts), 16)) + shift


@pytest.mark.parametrize(("before", "after", "noted"), [(0, 0, False), (0, 9, True), (9, 9, False), (0, 1, False)])
def test_vectors_that_have_become_alike_are_noted(before: float, after: float, noted: bool) -> None:
    assert ("collapsed" in collapse_note(vectors(before), vectors(after), TEXTS, 0)) is noted


def test_a_strategy_whose_vectors_have_become_alike_is_noted(
    tiny_bert: BaseModel, tiny_resources: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collapse, "_LARGEST_RISE", 0.01)  # the tiny model's vectors are close together from the start
    strategy, texts = Full(None, tiny_resources(tiny_bert)), sample_dataset().corpus.texts
    assert collapse.notes_on_vectors(strategy, texts, 0) == []
    with torch.no_grad():
        for parameter in strategy.model.parameters():
            if parameter.ndim == 1:
                parameter += 50
    (note,) = collapse.notes_on_vectors(strategy, texts, 0)
    assert "its vectors have collapsed" in note
