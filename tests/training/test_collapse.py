"""A fit whose vectors have collapsed says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from bench.budget import Budget
from bench.models.base import BaseModel
from bench.training import collapse
from bench.training.collapse import collapse_note
from strategies.full import Full

TEXTS = [str(number) for number in range(100)]


def vectors(shift: float) -> Callable[[Any], np.ndarray]:
    """Vectors drawn around a point that lies `shift` from the origin."""
    return lambda texts: np.random.default_rng(0).standard_normal((len(texts), 16)) + shift


@pytest.mark.parametrize(("before", "after", "noted"), [(0, 0, False), (0, 9, True), (9, 9, False), (0, 1, False)])
def test_vectors_that_have_become_alike_are_noted(before: float, after: float, noted: bool) -> None:
    assert ("collapsed" in collapse_note(vectors(before), vectors(after), TEXTS, 0)) is noted


def test_the_report_of_a_fit_says_so(
    tiny_bert: BaseModel, tiny_resources: Callable[..., Any], tiny_training: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Collapses(Full):
        """Adds the same numbers to every word."""

        def finish(self, data: Any, report: Any) -> dict[str, Any]:
            with torch.no_grad():
                for parameter in self.model.parameters():
                    if parameter.ndim == 1:
                        parameter += 50
            return {}

    monkeypatch.setattr(collapse, "_LARGEST_RISE", 0.01)  # the tiny model's vectors are close together from the start
    assert not Full(None, tiny_resources(tiny_bert)).fit(tiny_training, Budget(steps=1), 0).notes
    report = Collapses(None, tiny_resources(tiny_bert)).fit(tiny_training, Budget(steps=1), 0)
    assert any("its vectors have collapsed" in note for note in report.notes)
