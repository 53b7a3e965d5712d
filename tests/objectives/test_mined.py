"""Hard negatives: where they come from, what is left out, and that those of the model at work are trained on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.budget import Budget
from bench.contract.observing import texts_with_gradients
from bench.data.dataset import Pair, TrainingData
from bench.models.base import BaseModel
from bench.strategy.resources import Resources
from bench.training.encoder_task import refresh_steps
from bench.training.hard_negatives import Mining, with_hard_negatives, with_negatives

from .conftest import Bench


def test_the_defaults_are_those_of_the_training_setting(
    bench: Bench, tiny_bert: BaseModel, tiny_resources: Callable[..., Resources]
) -> None:
    by_setting = with_hard_negatives(bench.data, tiny_resources(tiny_bert, hard_negatives=3))
    strategy = bench.build("full(objective=mined(triplet, count=3))")
    assert strategy.objective.examples(bench.data, bench.build("full")) == by_setting
    assert all(len(pair.negatives) == 3 for pair in by_setting)


@pytest.mark.parametrize("source", ["base", "bm25", "model"])
def test_no_source_gives_a_relevant_document_or_one_above_the_margin(bench: Bench, source: str) -> None:
    student = bench.build("full")
    found = {
        margin: with_negatives(bench.data, Mining(2, source, margin), bench.resources, student)
        for margin in (0.0, 0.5, 0.99)
    }
    assert found[0.0] != found[0.5] != found[0.99]
    for pair in found[0.0]:
        relevant = {bench.data.corpus.text_of(doc) for doc in bench.data.train_qrels[pair.query_id]}
        assert len(pair.negatives) == 2 and relevant.isdisjoint(pair.negatives)


def test_bm25_gives_what_shares_words_with_the_query(bench: Bench) -> None:
    for pair in with_negatives(bench.data, Mining(2, "bm25", 0.0), bench.resources):
        subject = pair.query.rstrip("?").split()[-1]
        assert all(subject in text for text in pair.negatives)


def test_a_cross_encoder_leaves_out_what_it_scores_like_the_positive(
    bench: Bench, tiny_bert: BaseModel, tmp_path: Path
) -> None:
    from bench.models.cross_encoder import Ranker

    corpus = bench.data.corpus
    barred = {corpus.text_of(doc) for doc in corpus.ids if doc.endswith("-0")}
    data = replace(bench.data, pairs=[pair for pair in bench.data.pairs if pair.doc_id.endswith("-1")])
    positives = {pair.document for pair in data.pairs}

    def scores(texts: Sequence[tuple[str, str]]) -> np.ndarray:
        return np.array([1.0 if text in positives | barred else 0.1 for _, text in texts])

    mining = Mining(2, "bm25", 0.0)
    unchecked = {text for pair in with_negatives(data, mining, bench.resources) for text in pair.negatives}
    checked = {text for pair in with_negatives(data, mining, bench.resources, None, scores) for text in pair.negatives}
    assert unchecked & barred and not checked & barred
    Ranker(tiny_bert, 64, precision="fp32").save(tmp_path / "ranker")
    expression = f"full(objective=mined(contrastive, source=bm25, margin=0.0, count=2, ranker={tmp_path / 'ranker'}))"
    by_ranker = bench.build(expression).objective.examples(data, bench.build("full"))
    assert by_ranker != with_negatives(data, mining, bench.resources)


def test_the_model_at_work_mines_again_and_is_trained_on_what_it_found(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[bool, Any]] = []

    def negatives(data: TrainingData, mining: Any, resources: Resources, student: Any, *rest: Any) -> list[Pair]:
        student.search({"q": "tide"}, student.index(data.corpus), 1)
        seen.append((resources.meter.is_excluding, student))
        return [replace(pair, negatives=(f"planted {len(seen)}",)) for pair in data.pairs]

    monkeypatch.setattr("bench.objectives.mined.with_negatives", negatives)
    strategy = bench.build("lora(objective=mined(contrastive, source=model, refreshes=2))")
    with texts_with_gradients() as learned:
        report = strategy.fit(bench.data, Budget(steps=6), 0)
    assert [excluded for excluded, _ in seen] == [False] * 3, "mining is charged"
    assert [student is strategy for _, student in seen] == [False, True, True]
    tokenize = strategy.resources.model.load().tokenizer
    for number in (1, 2, 3):
        expected = tuple(tokenize(f"planted {number}")["input_ids"])
        assert any(tuple(tokens)[: len(expected)] == expected for tokens in learned)
    assert report.steps == 6


def test_examples_are_refreshed_at_equal_shares_and_never_after_the_last_step() -> None:
    assert refresh_steps(10, 4) == {2, 4, 6, 8}
    assert refresh_steps(2, 4) == {1}
    assert refresh_steps(10, 0) == frozenset()
