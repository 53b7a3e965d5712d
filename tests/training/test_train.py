"""The training loop: budgets are met, the best checkpoint is kept, the same seed gives the same weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.budget import OVERRUN, Budget
from bench.data.dataset import TrainingData
from bench.encoders.strategy import EncoderStrategy
from bench.models.base import BaseModel
from bench.records import FitReport
from bench.strategy.hyperparameters import EncoderConfig
from bench.strategy.resources import Resources
from bench.training.monitor import snapshot
from bench.training.selection import DevelopmentPools

Contexts = Callable[..., Resources]


class Everything(EncoderStrategy):
    """Trains all parameters."""

    name = "everything"

    @dataclass(frozen=True)
    class Config(EncoderConfig):
        """A rate at which a few steps show."""

        lr: float = 1e-3

    def attach(self, tower: Any) -> Any:
        return tower.requires_grad_(True)


def _fit(resources: Resources, data: TrainingData, budget: Budget, seed: int = 0) -> tuple[Everything, FitReport]:
    strategy = Everything(None, resources)
    resources.meter.start()
    report = strategy.fit(data, budget, seed)
    resources.meter.stop()
    return strategy, report


def _same(one: Everything, other: Everything) -> bool:
    first, second = snapshot(one.model), snapshot(other.model)
    return all(torch.equal(first[name], second[name]) for name in first)


def test_a_budget_of_steps_is_met_exactly(tiny_bert: BaseModel, tiny_resources: Contexts, tiny_training: Any) -> None:
    _, report = _fit(tiny_resources(tiny_bert), tiny_training, Budget(steps=7))
    assert (report.steps, report.planned_steps, report.stopped_by) == (7, 7, "steps")
    assert report.train_seconds > 0
    assert report.train_flops > 0


def test_ten_evaluations_and_the_best_is_kept(
    tiny_bert: BaseModel, tiny_resources: Contexts, tiny_training: TrainingData
) -> None:
    resources = tiny_resources(tiny_bert, selection_floor=1)
    strategy, report = _fit(resources, tiny_training, Budget(steps=20))
    scores = [point.dev for point in report.curve]
    assert [point.step for point in report.curve] == list(range(2, 21, 2))
    assert report.best_dev == max(score for score in scores if score is not None)
    assert float(resources.development(tiny_training).scores(strategy).mean()) == pytest.approx(report.best_dev)
    assert report.base_dev is not None and report.train_measure is not None


def test_below_the_floor_nothing_is_selected(
    tiny_bert: BaseModel, tiny_resources: Contexts, tiny_training: TrainingData
) -> None:
    _, report = _fit(tiny_resources(tiny_bert, selection_floor=10_000), tiny_training, Budget(steps=5))
    assert report.best_step is None and report.base_dev is None
    assert [point.dev for point in report.curve] == [None] * 5


def test_same_seed_same_weights_other_seed_others(
    tiny_bert: BaseModel, tiny_resources: Contexts, tiny_training: TrainingData
) -> None:
    first, _ = _fit(tiny_resources(tiny_bert), tiny_training, Budget(steps=4), seed=1)
    again, _ = _fit(tiny_resources(tiny_bert), tiny_training, Budget(steps=4), seed=1)
    other, _ = _fit(tiny_resources(tiny_bert), tiny_training, Budget(steps=4), seed=2)
    assert _same(first, again)
    assert not _same(first, other)


def test_cached_gradients_train_as_the_whole_batch_does(
    tiny_bert: BaseModel, tiny_resources: Contexts, tiny_training: TrainingData
) -> None:
    whole, _ = _fit(tiny_resources(tiny_bert), tiny_training, Budget(steps=3))
    pieces, _ = _fit(tiny_resources(tiny_bert, mini_batch=3), tiny_training, Budget(steps=3))
    for name, weight in snapshot(whole.model).items():
        torch.testing.assert_close(weight, snapshot(pieces.model)[name], atol=2e-3, rtol=1e-2)


def test_a_loss_that_is_not_finite_ends_as_diverged(
    tiny_bert: BaseModel, tiny_resources: Contexts, tiny_training: TrainingData
) -> None:
    class Broken(Everything):
        def loss(self, settings: Any) -> Any:
            model = self.model

            class Nan(torch.nn.Module):
                def forward(self, features: Any, labels: Any) -> torch.Tensor:
                    return model(next(iter(features)))["sentence_embedding"].sum() * float("nan")

            return Nan()

    report = Broken(None, tiny_resources(tiny_bert)).fit(tiny_training, Budget(steps=9), 0)
    assert report.diverged
    assert report.steps == 1


def test_a_budget_of_seconds_is_planned_once_and_kept(
    tiny_bert: BaseModel, tiny_resources: Contexts, tiny_training: TrainingData, tmp_path: Path
) -> None:
    resources = replace(tiny_resources(tiny_bert), calibrations=tmp_path / "calibrations")
    _, report = _fit(resources, tiny_training, Budget(seconds=2.0, steps=200))
    assert report.planned_steps == report.steps or report.stopped_by == "hard stop"
    assert resources.meter.seconds < 2.0 * OVERRUN + 1.0
    assert len(list((tmp_path / "calibrations").iterdir())) == 1


def test_measuring_a_step_leaves_the_model_as_it_was(
    tiny_bert: BaseModel, tiny_resources: Contexts, tiny_training: TrainingData
) -> None:
    by_steps, report = _fit(tiny_resources(tiny_bert), tiny_training, Budget(steps=3))
    by_time, timed = _fit(tiny_resources(tiny_bert), tiny_training, Budget(steps=3, seconds=600))
    assert (report.steps, timed.steps) == (3, 3)
    assert _same(by_steps, by_time)


def test_dropout_is_off_unless_asked_for(
    tiny_bert: BaseModel, tiny_resources: Contexts, tiny_training: TrainingData
) -> None:
    without, _ = _fit(tiny_resources(tiny_bert), tiny_training, Budget(steps=2))
    with_dropout, _ = _fit(tiny_resources(tiny_bert, dropout=True), tiny_training, Budget(steps=2))
    assert not _same(without, with_dropout)


def test_hard_negatives_are_never_relevant(
    tiny_bert: BaseModel, tiny_resources: Contexts, tiny_training: TrainingData
) -> None:
    from bench.training.hard_negatives import mine

    resources = tiny_resources(tiny_bert)
    mined = mine(tiny_training, tiny_training.pairs, 3, 0, resources)
    corpus = tiny_training.corpus
    for pair, texts in zip(tiny_training.pairs, mined, strict=True):
        relevant = {corpus.text_of(doc) for doc in tiny_training.train_qrels[pair.query_id]}
        assert len(texts) == 3
        assert relevant.isdisjoint(texts)
    _, report = _fit(tiny_resources(tiny_bert, hard_negatives=2), tiny_training, Budget(steps=2))
    assert report.steps == 2


def test_the_pool_holds_the_relevant_documents_and_depends_on_the_data_alone(
    tiny_bert: BaseModel, tiny_resources: Contexts, tiny_training: TrainingData
) -> None:
    settings = tiny_resources(tiny_bert, dev_queries=5, dev_docs=20)
    pools = [DevelopmentPools().development(tiny_training, settings) for _ in range(2)]
    assert pools[0].corpus.ids == pools[1].corpus.ids
    assert len(pools[0].queries) == min(5, len(tiny_training.dev_qrels))
    relevant = {doc for docs in pools[0].qrels.values() for doc, grade in docs.items() if grade > 0}
    assert relevant <= set(pools[0].corpus.ids)
    assert len(pools[0].corpus) == 20


def test_both_pools_are_built_from_one_index_of_the_corpus(
    tiny_bert: BaseModel,
    tiny_resources: Callable[..., Resources],
    tiny_training: TrainingData,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from bench.training import selection

    built, build = [], selection.build_lexical
    monkeypatch.setattr(selection, "build_lexical", lambda corpus: built.append(len(corpus)) or build(corpus))
    resources = tiny_resources(tiny_bert, dev_queries=6, dev_docs=20)
    dev = resources.pools.development(tiny_training, resources)
    train = resources.pools.training(tiny_training, resources)
    assert built == [len(tiny_training.corpus)]
    assert set(dev.queries) <= set(tiny_training.dev_queries)
    assert set(train.queries) <= set(tiny_training.train_queries)
    assert len(train.corpus) <= 10 < len(dev.corpus) <= 20
