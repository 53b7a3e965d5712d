"""Distillation: where the student starts, what the teacher says, that it reaches the loss, what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench.budget import Budget
from bench.data.dataset import TrainingData
from bench.encoders.base import BaseEncoder
from bench.errors import BenchError, NotApplicableError
from bench.models.base import BaseModel
from bench.objectives.listwise import _teacher_scores
from bench.representations.query_side import QuerySide
from bench.strategy.resources import Resources
from strategies.bm25 import Bm25
from strategies.distill import Distill
from strategies.lora import Lora

Contexts = Callable[..., Resources]


def _lora(resources: Resources, data: TrainingData, steps: int = 3) -> Lora:
    part = Lora(Lora.Config(r=2, lr=1e-2), resources)
    part.fit(data, Budget(steps=steps), 0)
    return part


def _distill(resources: Resources, *components: Any, **config: Any) -> Distill:
    return Distill(Distill.Config(**{"teacher": "bm25", "candidates": 4, **config}), resources, components)


def _embeddings(strategy: Any, data: TrainingData) -> np.ndarray:
    return np.asarray(strategy.encoder.uncached(data.corpus.texts[:6], "document"))


def test_the_student_starts_as_the_fitted_part(
    tiny_bert: BaseModel, tiny_resources: Contexts, tiny_training: TrainingData
) -> None:
    resources = tiny_resources(tiny_bert)
    part = _lora(resources, tiny_training)
    student = _distill(resources, part, Bm25(None, resources))
    assert np.array_equal(_embeddings(student, tiny_training), _embeddings(part, tiny_training))
    base = resources.encoder.uncached(tiny_training.corpus.texts[:6], "document")
    assert np.abs(_embeddings(student, tiny_training) - base).max() > 1e-4
    assert student.trainable_params == part.trainable_params
    assert student.config.lr == part.config.lr


def test_training_moves_the_student_and_not_the_part(
    tiny_bert: BaseModel, tiny_resources: Contexts, tiny_training: TrainingData, tmp_path: Path
) -> None:
    resources = tiny_resources(tiny_bert)
    part = _lora(resources, tiny_training)
    before = _embeddings(part, tiny_training)
    student = _distill(resources, part, Bm25(None, resources))
    report = student.fit(tiny_training, Budget(steps=4), 0)
    assert report.steps == 4
    assert np.array_equal(_embeddings(part, tiny_training), before)
    assert np.abs(_embeddings(student, tiny_training) - before).max() > 1e-4
    student.save(tmp_path)
    loaded = _distill(resources, part, Bm25(None, resources))
    loaded.load(tmp_path)
    assert np.array_equal(_embeddings(loaded, tiny_training), _embeddings(student, tiny_training))


def test_candidates_hold_the_positive_first_and_the_teachers_scores_by_hand(
    tiny_bert: BaseModel, tiny_resources: Contexts, tiny_training: TrainingData
) -> None:
    resources = tiny_resources(tiny_bert)
    teacher = Bm25(None, resources)
    student = _distill(resources, _lora(resources, tiny_training), teacher)
    corpus = tiny_training.corpus
    found = teacher.search(tiny_training.train_queries, teacher.index(corpus), 50)
    for pair in student.examples(tiny_training):
        hits = dict(found[pair.query_id])
        low, high = min(hits.values()), max(hits.values())
        ids = {corpus.text_of(doc): doc for doc in corpus.ids}
        docs = [ids[text] for text in (pair.document, *pair.negatives)]
        assert docs[0] == pair.doc_id and len(set(docs)) == 4
        expected = [(hits.get(doc, low) - low) / (high - low) for doc in docs]
        assert pair.scores == pytest.approx(expected)
        assert all(0 <= score <= 1 for score in pair.scores)


def test_a_positive_that_the_teacher_does_not_find_counts_as_its_best(
    tiny_bert: BaseModel, tiny_resources: Contexts, tiny_training: TrainingData
) -> None:
    assert _teacher_scores(["lost", "a", "b", "c"], {"a": 5.0, "b": 3.0}) == (1.0, 1.0, 0.0, 0.0)


def test_the_loss_is_the_divergence_from_the_teachers_distribution(
    tiny_bert: BaseModel, tiny_resources: Contexts, tiny_training: TrainingData
) -> None:
    resources = tiny_resources(tiny_bert)
    student = _distill(resources, _lora(resources, tiny_training), teacher_temperature=0.2)
    texts = tiny_training.corpus.texts[:4]
    columns = [[tiny_training.pairs[0].query], *([text] for text in texts)]
    scores = torch.tensor([[1.0, 0.5, 0.25, 0.0]])
    loss = student.loss(resources.training)([student.model.preprocess(column) for column in columns], scores)
    value = float(loss.detach())
    vectors = student.encoder.uncached([columns[0][0], *texts], "query")
    logits = vectors[1:] @ vectors[0] / resources.training.temperature
    own = np.exp(logits) / np.exp(logits).sum()
    wanted = np.exp(scores[0].numpy() / 0.2) / np.exp(scores[0].numpy() / 0.2).sum()
    assert value == pytest.approx(float((wanted * np.log(wanted / own)).sum()), rel=1e-3)


def test_other_scores_of_the_teacher_make_another_student(
    tiny_bert: BaseModel, tiny_resources: Contexts, tiny_training: TrainingData
) -> None:
    resources = tiny_resources(tiny_bert)
    part = _lora(resources, tiny_training)
    sharp, flat = (_distill(resources, part, Bm25(None, resources), teacher_temperature=t) for t in (0.05, 5.0))
    for student in (sharp, flat):
        student.fit(tiny_training, Budget(steps=3), 0)
    assert np.abs(_embeddings(sharp, tiny_training) - _embeddings(flat, tiny_training)).max() > 1e-5


def test_a_cross_encoder_by_folder_teaches(
    tiny_bert: BaseModel, tiny_resources: Contexts, tiny_training: TrainingData, tmp_path: Path
) -> None:
    from bench.models.cross_encoder import Ranker

    resources = tiny_resources(tiny_bert)
    part = _lora(resources, tiny_training)
    torch.manual_seed(3)
    ranker = Ranker(tiny_bert, 64, precision="fp32")
    ranker.save(tmp_path / "ranker")
    student = _distill(resources, part, teacher=str(tmp_path / "ranker"))
    pair = student.examples(tiny_training)[0]
    logits = ranker.logits([(pair.query, text) for text in (pair.document, *pair.negatives)])
    assert pair.scores == pytest.approx((logits - logits.min()) / np.ptp(logits), abs=1e-5)
    assert {path.name for path in Distill.inputs(student.config)} >= {"config.json", "model.safetensors"}


def test_teaching_is_charged(tiny_bert: BaseModel, tiny_resources: Contexts, tiny_training: TrainingData) -> None:
    resources = tiny_resources(tiny_bert)
    part = _lora(resources, tiny_training)
    student = _distill(resources, part, BaseEncoder(None, resources), teacher="frozen")
    resources.meter.start()
    student.examples(tiny_training)
    resources.meter.stop()
    assert resources.meter.seconds > 0


def test_what_is_refused(tiny_bert: BaseModel, tiny_resources: Contexts, tiny_training: TrainingData) -> None:
    resources = tiny_resources(tiny_bert)
    with pytest.raises(BenchError, match="needs a teacher"):
        Distill.inputs(Distill.Config())
    with pytest.raises(BenchError, match="two documents or more"):
        Distill.inputs(Distill.Config(teacher="bm25", candidates=1))
    part = _lora(resources, tiny_training, 1)
    with pytest.raises(BenchError, match=r"teacher=frozen\("):
        _distill(resources, part, teacher=str(tiny_bert.path)).examples(tiny_training)
    with pytest.raises(NotApplicableError, match="bm25 has none"):
        _distill(resources, Bm25(None, resources), part, lr=1e-3).fit(tiny_training, Budget(steps=1), 0)
    with pytest.raises(NotApplicableError, match="lora has none"):
        _distill(
            resources,
            Lora(Lora.Config(representation="query-side"), resources, representation=QuerySide()),
            part,
            lr=1e-3,
        ).fit(tiny_training, Budget(steps=1), 0)
