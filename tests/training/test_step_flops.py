"""What a step is said to cost is what torch counts while the loop runs it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from bench.budget import Budget
from bench.data.dataset import TrainingData
from bench.models.base import BaseModel
from bench.models.locate import base_model
from bench.objectives.listwise import Listwise
from bench.representations.query_side import QuerySide
from bench.strategy.resources import Resources
from bench.training.encoder_task import EncoderTask
from bench.training.hard_negatives import with_hard_negatives
from bench.training.task import StepDecision
from strategies.full import Full
from strategies.lora import Lora
from strategies.vera import Vera

Contexts = Callable[..., Resources]
CLOSE = 0.02
"""What is left out: a pooler, which in 32 dimensions shows, and the similarities."""


def query_lora(config: Any, resources: Resources) -> Lora:
    """LoRA for queries alone."""
    return Lora(Lora.Config(representation="query-side"), resources, representation=QuerySide())


def listwise(config: Any, resources: Resources) -> Full:
    """Full fine-tuning on lists, as distillation does it."""
    return Full(Full.Config(objective="listwise"), resources, objective=Listwise(None, resources))


def _lists(data: TrainingData) -> TrainingData:
    """Give each pair another's document and a teacher's scores."""
    others = [*data.pairs[1:], data.pairs[0]]
    pairs = [
        replace(pair, negatives=(other.document,), scores=(1.0, 0.2))
        for pair, other in zip(data.pairs, others, strict=True)
    ]
    return replace(data, pairs=pairs)


def _said_and_counted(strategy: Any, data: TrainingData, steps: int) -> tuple[float, int]:
    task = EncoderTask(strategy, with_hard_negatives(data, strategy.resources), data, 0)
    said = sum(islice(task.step_flops(), steps))
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        task.run_steps(steps, lambda loss, seconds, learning_rate: StepDecision(), trial=True)
    return said, int(counter.get_total_flops())


@pytest.mark.parametrize(
    ("kind", "mini_batch"),
    [
        *((Full, 0), (Full, 3), (Lora, 3), (Vera, 0)),
        *((kind, piece) for kind in (query_lora, listwise) for piece in (0, 3, 8)),
    ],
)
def test_a_run_costs_what_torch_counts_in_pieces_too(
    kind: Any, mini_batch: int, tiny_bert: BaseModel, tiny_resources: Contexts, tiny_training: TrainingData
) -> None:
    data = _lists(tiny_training) if kind is listwise else tiny_training
    said, counted = _said_and_counted(kind(None, tiny_resources(tiny_bert, mini_batch=mini_batch)), data, steps=6)
    assert said == pytest.approx(counted, rel=CLOSE)


def test_cached_gradients_cost_a_second_forward_pass(
    tiny_bert: BaseModel, tiny_resources: Contexts, tiny_training: TrainingData
) -> None:
    whole, pieces = (
        Full(None, tiny_resources(tiny_bert, mini_batch=piece)).fit(tiny_training, Budget(steps=2), 0).train_flops
        for piece in (0, 8)
    )
    assert pieces == pytest.approx(whole * 4 / 3, rel=1e-6), "as many texts at once as the batch has: padding is equal"


@pytest.mark.parametrize("hard_negatives", [0, 2])
def test_a_document_that_is_kept_is_paid_for_once(
    hard_negatives: int, tiny_bert: BaseModel, tiny_resources: Contexts, tiny_training: TrainingData
) -> None:
    strategy = query_lora(None, tiny_resources(tiny_bert, hard_negatives=hard_negatives))
    work = EncoderTask(strategy, with_hard_negatives(tiny_training, strategy.resources), tiny_training, 0)
    epoch = len(tiny_training.pairs) // 8
    costs = list(islice(work.step_flops(), 3 * epoch))
    assert sum(costs[epoch : 2 * epoch]) < 0.8 * sum(costs[:epoch]), "no document is new in the second epoch"
    assert costs == list(islice(work.step_flops(), 3 * epoch)), "asked again, a fit begins without documents"
    said, counted = _said_and_counted(strategy, tiny_training, 3 * epoch)
    assert said == pytest.approx(counted, rel=CLOSE)


def test_a_budget_of_operations_counts_each_document_once_too(
    tiny_bert: BaseModel, tiny_resources: Contexts, tiny_training: TrainingData
) -> None:
    ten = query_lora(None, tiny_resources(tiny_bert)).fit(tiny_training, Budget(steps=10), 0).train_flops
    eleven = query_lora(None, tiny_resources(tiny_bert)).fit(tiny_training, Budget(steps=11), 0).train_flops
    report = query_lora(None, tiny_resources(tiny_bert)).fit(tiny_training, Budget(flops=(ten + eleven) / 2), 0)
    assert (report.steps, report.stopped_by) == (10, "flops")
    assert report.train_flops == pytest.approx(ten)


def test_pieces_that_a_budget_of_memory_asks_for_are_charged_like_those_of_the_user(
    tiny_bert: BaseModel, tiny_resources: Contexts, tiny_training: TrainingData, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces = list[int]()
    plain = EncoderTask.run_steps

    def run_steps(self: EncoderTask, *args: Any, **kwargs: Any) -> None:
        pieces.append(self.mini_batch)
        plain(self, *args, **kwargs)

    class Gauge:
        """Stands for the measurement of memory: a piece of more than two texts takes too much."""

        @property
        def so_far(self) -> int:
            return 100 * (pieces[-1] or 1_000)

    monkeypatch.setattr(EncoderTask, "run_steps", run_steps)
    resources = replace(tiny_resources(tiny_bert), memory=Gauge())
    found = Full(None, resources).fit(tiny_training, Budget(steps=2, memory=250), 0).train_flops
    own = Full(None, tiny_resources(tiny_bert, mini_batch=2)).fit(tiny_training, Budget(steps=2), 0).train_flops
    whole = Full(None, tiny_resources(tiny_bert)).fit(tiny_training, Budget(steps=2), 0).train_flops
    assert pieces.count(2) >= 2
    assert found == own != whole


def test_a_step_pays_for_the_models_prompts(
    tiny_bert: BaseModel, tiny_resources: Contexts, tiny_training: TrainingData, tmp_path: Path
) -> None:
    model = tiny_bert.load()
    model.prompts = {"query": "what is said of the ", "document": "a passage of the "}
    model.save(str(tmp_path / "prompted"), create_model_card=False)
    prompted = base_model(str(tmp_path / "prompted"))
    for kind in (Full, query_lora):
        said, counted = _said_and_counted(kind(None, tiny_resources(prompted)), tiny_training, steps=2)
        plain, _ = _said_and_counted(kind(None, tiny_resources(tiny_bert)), tiny_training, steps=2)
        assert said == pytest.approx(counted, rel=CLOSE)
        assert said > 1.1 * plain
