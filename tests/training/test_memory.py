"""A budget of memory: pieces as large as fit, found by measuring, the contrastive batch left alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from bench.budget import Budget
from bench.encoders.base import BaseEncoder
from bench.encoders.cross_encoder_task import CrossEncoderTask
from bench.errors import BudgetError
from bench.evaluation.cost import PeakMemory
from bench.models.base import BaseModel
from bench.strategy.resources import Resources
from bench.training.encoder_task import EncoderTask
from bench.training.memory import WHOLE, fit_into_memory, largest_piece
from bench.training.monitor import snapshot
from strategies.full import Full
from strategies.rerank import Rerank

QUICK = Full.Config(lr=1e-3)
"""A rate at which a few steps show."""


class Machine:
    """Takes `fixed` bytes and `text` more for each text at once, and remembers what was tried."""

    def __init__(self, fixed: int, text: int, batch: int = 32, columns: int = 2) -> None:
        self.fixed, self.text, self.whole, self.tried = fixed, text, batch * columns, list[int]()

    def __call__(self, piece: int) -> int:
        self.tried.append(piece)
        return self.fixed + self.text * (piece or self.whole)


@pytest.mark.parametrize(
    ("limit", "piece"), [(10_000, WHOLE), (700, WHOLE), (699, 32), (380, 32), (379, 16), (219, 8), (99, 2), (79, 1)]
)
def test_the_largest_piece_that_fits_is_taken(limit: int, piece: int) -> None:
    machine = Machine(fixed=60, text=10)
    assert largest_piece(limit, 32, 2, machine) == (piece, 60 + 10 * (piece or 64))
    assert len(machine.tried) <= 2 or max(60 + 10 * (tried or 64) for tried in machine.tried) <= limit


def test_where_a_pair_is_one_text_the_whole_batch_is_tried_once() -> None:
    machine = Machine(fixed=60, text=10, columns=1)
    assert largest_piece(10_000, 32, 1, machine) == (WHOLE, 380)
    assert machine.tried == [1, 2, 4, 8, 16, WHOLE]


def test_one_text_that_does_not_fit_is_refused_with_both_figures() -> None:
    with pytest.raises(BudgetError, match="takes 70 bytes with one text at a time, 69 are allowed"):
        largest_piece(69, 32, 2, Machine(fixed=60, text=10))


def test_a_batch_that_is_no_power_of_two_is_tried_whole_too() -> None:
    machine = Machine(fixed=0, text=1, batch=24, columns=3)
    assert largest_piece(1_000, 24, 3, machine)[0] == WHOLE
    assert machine.tried == [1, 2, 4, 8, 16, 24, WHOLE]


class Gauge:
    """Stands for the measurement of memory: a piece of more than two texts takes too much."""

    def __init__(self) -> None:
        self.pieces = list[int]()

    @property
    def so_far(self) -> int:
        return 100 * (self.pieces[-1] or 1_000)


@pytest.fixture
def gauge(monkeypatch: pytest.MonkeyPatch) -> Gauge:
    """The gauge, told of each piece that is tried or taken."""
    found = Gauge()
    for task in (EncoderTask, CrossEncoderTask):
        plain = task.run_steps

        def run_steps(self: Any, *args: Any, plain: Any = plain, **kwargs: Any) -> None:
            found.pieces.append(self.mini_batch)
            plain(self, *args, **kwargs)

        monkeypatch.setattr(task, "run_steps", run_steps)
    return found


def test_training_goes_on_in_pieces_with_the_same_batches(
    tiny_bert: BaseModel, tiny_resources: Callable[..., Resources], tiny_training: Any, gauge: Gauge
) -> None:
    roomy = Full(QUICK, tiny_resources(tiny_bert))
    roomy.fit(tiny_training, Budget(steps=3), 0)
    resources = replace(tiny_resources(tiny_bert), memory=gauge)
    tight = Full(QUICK, resources)
    report = tight.fit(tiny_training, Budget(steps=3, memory=250), 0)
    assert gauge.pieces[-1] == 2 and resources.training.batch_size == 8
    assert [note for note in report.notes if "2 texts at a time" in note]
    assert (report.steps, len(report.curve)) == (3, 3)
    for name, weight in snapshot(roomy.model).items():
        torch.testing.assert_close(weight, snapshot(tight.model)[name], atol=2e-3, rtol=1e-2)


def test_a_re_ranker_trains_in_pieces_with_the_same_gradients(
    tiny_bert: BaseModel, tiny_resources: Callable[..., Resources], tiny_training: Any, gauge: Gauge
) -> None:
    def rerank(resources: Resources) -> Rerank:
        return Rerank(Rerank.Config(lr=1e-3, max_length=48), resources, (BaseEncoder(None, resources),))

    roomy = rerank(tiny_resources(tiny_bert))
    whole = roomy.fit(tiny_training, Budget(steps=3), 0)
    resources = replace(tiny_resources(tiny_bert), memory=gauge)
    tight = rerank(resources)
    report = tight.fit(tiny_training, Budget(steps=3, memory=350), 0)
    assert gauge.pieces[-1] == 2 and resources.training.batch_size == 8
    assert [note for note in report.notes if "2 texts at a time" in note]
    assert [point.loss for point in report.curve] == pytest.approx([point.loss for point in whole.curve], rel=1e-3)
    for name, weight in snapshot(roomy.ranker.model).items():
        torch.testing.assert_close(weight, snapshot(tight.ranker.model)[name], atol=2e-3, rtol=1e-2)


def test_a_divided_batch_never_has_more_examples_in_memory_than_a_piece(
    tiny_bert: BaseModel, tiny_resources: Callable[..., Resources], tiny_training: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, sizes = CrossEncoderTask.loss, list[int]()
    monkeypatch.setattr(CrossEncoderTask, "loss", lambda self, batch: sizes.append(len(batch)) or plain(self, batch))
    resources = tiny_resources(tiny_bert, mini_batch=3)
    Rerank(Rerank.Config(max_length=48), resources, (BaseEncoder(None, resources),)).fit(
        tiny_training, Budget(steps=2), 0
    )
    assert sizes == [3, 3, 2] * 2


def test_where_the_batch_fits_nothing_changes_and_nothing_is_said(
    tiny_bert: BaseModel, tiny_resources: Callable[..., Resources], tiny_training: Any
) -> None:
    with PeakMemory() as memory:
        resources = replace(tiny_resources(tiny_bert), memory=memory)
        report = Full(QUICK, resources).fit(tiny_training, Budget(steps=1, memory=2**34), 0)
    assert report.notes == []


def test_a_piece_that_the_user_has_set_stays(tiny_bert: BaseModel, tiny_resources: Callable[..., Resources]) -> None:
    task: Any = SimpleNamespace(mini_batch=3, divisible=True, run_steps=lambda *args: pytest.fail("measured"))
    assert fit_into_memory(Budget(steps=1, memory=1), task, tiny_resources(tiny_bert)) == ""
    assert task.mini_batch == 3
