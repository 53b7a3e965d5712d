"""Heads on cached vectors: `linear` starts as the identity and trains within its budget; `whitening` whitens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench.budget import OVERRUN, Budget
from bench.data.dataset import Dataset, TrainingData
from bench.encoders.base import BaseEncoder
from bench.encoders.head_task import HeadTask
from bench.errors import BenchError, BudgetError, NotApplicableError
from bench.models.base import BaseModel
from bench.strategy.resources import Resources
from bench.training.sizing import fit_to_parameter_budget
from strategies.linear import Linear
from strategies.whitening import Whitening, whiten

Contexts = Callable[..., Resources]
WIDTH = 32


@pytest.mark.parametrize("rank", [0, 4])
def test_linear_starts_as_the_base_model(
    tiny_bert: BaseModel, tiny_resources: Contexts, tiny_dataset: Dataset, rank: int
) -> None:
    resources = tiny_resources(tiny_bert)
    linear, base = Linear(Linear.Config(rank=rank), resources), BaseEncoder(None, resources)
    texts = list(tiny_dataset.queries.values())[:5]
    assert np.allclose(linear.encoder.queries(texts)[0], base.resources.encoder.queries(texts)[0], atol=1e-6)


def test_linear_counts_its_matrix_and_bias(tiny_bert: BaseModel, tiny_resources: Contexts) -> None:
    resources = tiny_resources(tiny_bert)
    assert Linear(None, resources).trainable_params == WIDTH * WIDTH + WIDTH
    assert Linear(Linear.Config(rank=2), resources).trainable_params == 2 * 2 * WIDTH + WIDTH


def test_linear_shrinks_to_a_budget_of_parameters(tiny_bert: BaseModel, tiny_resources: Contexts) -> None:
    resources = tiny_resources(tiny_bert)

    def fitted(limit: int) -> Any:
        budget = Budget(trainable_params=limit, steps=1)
        return fit_to_parameter_budget(lambda config: Linear(config, resources), Linear.Config(), budget)

    assert fitted(2000) == Linear.Config(rank=0)
    assert fitted(400) == Linear.Config(rank=5)
    assert fitted(1055) == Linear.Config(rank=15), "16 costs as much as the matrix"
    with pytest.raises(NotApplicableError, match="no size"):
        fitted(90)


def test_linear_moves_queries_and_never_documents(
    tiny_bert: BaseModel, tiny_resources: Contexts, tiny_training: TrainingData
) -> None:
    resources = tiny_resources(tiny_bert)
    linear = Linear(Linear.Config(lr=1e-2), resources)
    report = linear.fit(tiny_training, Budget(steps=12), 0)
    texts = list(tiny_training.corpus.texts[:4])
    base = resources.encoder
    assert (report.steps, report.planned_steps, report.stopped_by) == (12, 12, "steps")
    assert np.array_equal(linear.index(tiny_training.corpus).vectors, base.documents(tiny_training.corpus.texts)[0])
    assert np.abs(linear.encoder.queries(texts)[0] - base.queries(texts)[0]).max() > 1e-3
    assert linear.reindex == "none"


def test_training_a_head_lowers_its_loss(
    tiny_bert: BaseModel, tiny_resources: Contexts, tiny_training: TrainingData
) -> None:
    resources = tiny_resources(tiny_bert)
    linear = Linear(Linear.Config(lr=1e-2), resources)
    work = HeadTask(linear.module, linear.forward, tiny_training, resources, 1e-2, 0)
    batch = next(work.batches())
    work.encode([batch])
    start = float(work.loss(batch).detach())
    linear.fit(tiny_training, Budget(steps=60), 0)
    work.module, work.forward = linear.module, linear.forward
    after = float(work.loss(batch).detach())
    assert after < 0.8 * start


def test_ten_evaluations_and_the_best_checkpoint_is_kept(
    tiny_bert: BaseModel, tiny_resources: Contexts, tiny_training: TrainingData
) -> None:
    resources = tiny_resources(tiny_bert, selection_floor=1)
    linear = Linear(Linear.Config(lr=3e-2), resources)
    report = linear.fit(tiny_training, Budget(steps=20), 0)
    scores = [point.dev for point in report.curve]
    assert [point.step for point in report.curve] == list(range(2, 21, 2))
    assert report.best_dev == max(score for score in scores if score is not None)
    assert float(resources.development(tiny_training).scores(linear).mean()) == pytest.approx(report.best_dev)
    assert report.base_dev is not None and report.train_measure is not None
    assert report.trainable_params == linear.trainable_params and report.examples == tiny_training.labels


def test_a_head_meets_a_budget_of_operations(
    tiny_bert: BaseModel, tiny_resources: Contexts, tiny_training: TrainingData
) -> None:
    resources = tiny_resources(tiny_bert)
    linear = Linear(None, resources)
    work = HeadTask(linear.module, linear.forward, tiny_training, resources, 1e-2, 0)
    costs = list(islice(work.step_flops(), 40))
    assert costs[0] > costs[-1] == min(costs), "a text is encoded once, for the first step that uses it"
    report = linear.fit(tiny_training, Budget(flops=sum(costs[:4]) + costs[4] / 2), 0)
    assert (report.steps, report.stopped_by) == (4, "flops")
    assert report.train_flops == pytest.approx(sum(costs[:4]))
    with pytest.raises(BudgetError, match="one optimiser step"):
        Linear(None, resources).fit(tiny_training, Budget(flops=costs[0] / 2), 0)


def test_a_head_encodes_and_pays_for_the_texts_of_its_steps_alone(
    tiny_bert: BaseModel, tiny_resources: Contexts, tiny_training: TrainingData, monkeypatch: pytest.MonkeyPatch
) -> None:
    resources = tiny_resources(tiny_bert, batch_size=4)
    linear = Linear(None, resources)
    encoded = dict[str, list[str]](queries=[], documents=[])
    for kind, texts in encoded.items():
        plain = getattr(resources.encoder, kind)
        monkeypatch.setattr(
            resources.encoder, kind, lambda each, plain=plain, texts=texts: (texts.extend(each), plain(each))[1]
        )
    work = HeadTask(linear.module, linear.forward, tiny_training, resources, 1e-2, 0)
    used = [tiny_training.pairs[position] for batch in islice(work.batches(), 3) for position in batch]
    linear.fit(tiny_training, Budget(steps=3), 0)
    assert set(encoded["queries"]) == {pair.query for pair in used} < {pair.query for pair in tiny_training.pairs}
    assert set(encoded["documents"]) == {pair.document for pair in used}
    assert len(encoded["documents"]) == len(set(encoded["documents"]))


def test_a_budget_of_seconds_plans_for_the_texts_that_steps_have_to_encode(
    tiny_bert: BaseModel, tiny_resources: Contexts, tiny_training: TrainingData
) -> None:
    resources = tiny_resources(tiny_bert, batch_size=4)
    work = HeadTask(Linear(None, resources).module, lambda each: each, tiny_training, resources, 1e-2, 0)
    seconds = list(islice(work.step_seconds(0.5), 60))
    assert seconds[0] > 0.5 and seconds[-1] == 0.5


def test_a_head_meets_a_budget_of_seconds(
    tiny_bert: BaseModel, tiny_resources: Contexts, tiny_training: TrainingData
) -> None:
    resources = tiny_resources(tiny_bert)
    linear = Linear(None, resources)
    resources.meter.start()
    report = linear.fit(tiny_training, Budget(seconds=3.0), 0)
    resources.meter.stop()
    assert report.planned_steps > 4
    assert report.stopped_by in ("seconds", "hard stop")
    assert report.train_seconds < resources.meter.seconds < OVERRUN * 3.0 + 1.0


def test_hard_negatives_widen_the_comparison(
    tiny_bert: BaseModel, tiny_resources: Contexts, tiny_training: TrainingData
) -> None:
    resources = tiny_resources(tiny_bert, hard_negatives=2)
    linear = Linear(None, resources)
    work = HeadTask(linear.module, linear.forward, tiny_training, resources, 1e-2, 0)
    plain = HeadTask(linear.module, linear.forward, tiny_training, tiny_resources(tiny_bert), 1e-2, 0)
    batch = next(work.batches())
    work.encode([batch])
    plain.encode([batch])
    assert float(work.loss(batch).detach()) > float(plain.loss(batch).detach())


def test_a_saved_head_gives_the_same_rankings(
    tiny_bert: BaseModel, tiny_resources: Contexts, tiny_training: TrainingData, tmp_path: Path
) -> None:
    fitted = Linear(Linear.Config(rank=4, lr=1e-2), tiny_resources(tiny_bert))
    fitted.fit(tiny_training, Budget(steps=5), 0)
    fitted.save(tmp_path)
    loaded = Linear(Linear.Config(rank=4, lr=1e-2), tiny_resources(tiny_bert))
    loaded.load(tmp_path)
    corpus, queries = tiny_training.corpus, tiny_training.train_queries
    assert loaded.search(queries, loaded.index(corpus), 9) == fitted.search(queries, fitted.index(corpus), 9)
    with pytest.raises(BenchError, match="not an artefact of linear"):
        Linear(None, tiny_resources(tiny_bert)).load(tmp_path)


def test_a_head_needs_pairs(tiny_bert: BaseModel, tiny_resources: Contexts, tiny_training: TrainingData) -> None:
    with pytest.raises(NotApplicableError, match="labelled pairs"):
        Linear(None, tiny_resources(tiny_bert)).fit(replace(tiny_training, pairs=()), Budget(steps=1), 0)


def test_whitened_vectors_have_zero_mean_and_unit_covariance() -> None:
    rng = np.random.default_rng(0)
    vectors = (rng.normal(size=(500, 6)) @ rng.normal(size=(6, 6)) + 3).astype(np.float32)
    mean, directions = whiten(vectors, 6)
    white = (vectors - mean) @ directions.T
    assert np.allclose(white.mean(axis=0), 0, atol=1e-3)
    assert np.allclose(np.cov(white, rowvar=False, bias=True), np.eye(6), atol=1e-3)


def test_the_directions_of_most_variance_are_kept_and_flat_ones_left_out() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(400, 4)).astype(np.float32) * np.array([9.0, 1.0, 3.0, 0.0], dtype=np.float32)
    _, two = whiten(vectors, 2)
    assert [int(np.abs(row).argmax()) for row in two] == [0, 2]
    assert len(whiten(vectors, 4)[1]) == 3


def test_whitening_maps_queries_and_documents_alike_and_is_reloaded(
    tiny_bert: BaseModel, tiny_resources: Contexts, tiny_training: TrainingData, tmp_path: Path
) -> None:
    config = Whitening.Config(dimensions=8)
    fitted = Whitening(config, tiny_resources(tiny_bert))
    report = fitted.fit(tiny_training, Budget(), 0)
    corpus, queries = tiny_training.corpus, tiny_training.train_queries
    index = fitted.index(corpus)
    assert index.vectors.shape == (len(corpus), 8)
    assert np.allclose(np.linalg.norm(index.vectors, axis=1), 1, atol=1e-5)
    assert np.allclose(fitted.encoder.queries(corpus.texts[:3])[0], index.vectors[:3], atol=1e-5)
    assert report.chosen == {"dimensions": 8, "documents": len(corpus)}
    fitted.save(tmp_path)
    loaded = Whitening(config, tiny_resources(tiny_bert))
    loaded.load(tmp_path)
    assert loaded.search(queries, loaded.index(corpus), 9) == fitted.search(queries, index, 9)


def test_whitening_needs_no_labels(tiny_bert: BaseModel, tiny_resources: Contexts, tiny_training: TrainingData) -> None:
    bare = TrainingData("bare", (), {}, {}, tiny_training.corpus)
    one, other = (Whitening(None, tiny_resources(tiny_bert)) for _ in range(2))
    one.fit(bare, Budget(), 0)
    other.fit(tiny_training, Budget(), 0)
    assert torch.equal(one.module.weight, other.module.weight)
    assert "pairs" not in Whitening.needs
