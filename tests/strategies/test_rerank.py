"""Re-ranking: the order it gives, what it is trained on, where it starts, what it was before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench.budget import Budget
from bench.data.dataset import Dataset, TrainingData
from bench.encoders.base import BaseEncoder
from bench.encoders.serving import serving
from bench.errors import ModelError, NotApplicableError
from bench.models.base import BaseModel
from bench.strategy.resources import Resources
from bench.training.sizing import fit_to_parameter_budget
from strategies.bm25 import Bm25
from strategies.rerank import Rerank

Contexts = Callable[..., Resources]


class Shortest:
    """A ranker that prefers short documents."""

    pretrained = True

    def logits(self, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
        return np.array([-float(len(document)) for _, document in pairs], dtype=np.float32)


def _rerank(resources: Resources, part: Any = None, **config: Any) -> Rerank:
    return Rerank(Rerank.Config(**config), resources, (part or BaseEncoder(None, resources),))


def test_the_top_is_put_in_front_in_the_rankers_order_and_the_rest_follows(
    tiny_bert: BaseModel, tiny_resources: Contexts, tiny_dataset: Dataset
) -> None:
    resources, corpus = tiny_resources(tiny_bert), tiny_dataset.corpus
    rerank = _rerank(resources, depth=5, weight=1.0)
    rerank._ranker = Shortest()  # type: ignore[assignment]
    queries = dict(list(tiny_dataset.queries.items())[:3])
    first = BaseEncoder(None, resources).search(queries, BaseEncoder(None, resources).index(corpus), 9)
    ranking = rerank.search(queries, rerank.index(corpus), 9)
    for query in queries:
        docs = [doc for doc, _ in first[query]]
        found = [doc for doc, _ in ranking[query]]
        assert set(found[:5]) == set(docs[:5]) and found[5:] == docs[5:]
        lengths = [len(corpus.text_of(doc)) for doc in found[:5]]
        assert lengths == sorted(lengths)
        scores = [score for _, score in ranking[query]]
        assert scores == sorted(scores, reverse=True) and scores[4] >= 1 > scores[5]


def test_without_weight_the_first_stage_stands(
    tiny_bert: BaseModel, tiny_resources: Contexts, tiny_dataset: Dataset
) -> None:
    resources, corpus = tiny_resources(tiny_bert), tiny_dataset.corpus
    rerank = _rerank(resources, depth=5, weight=0.0)
    rerank._ranker = Shortest()  # type: ignore[assignment]
    queries = dict(list(tiny_dataset.queries.items())[:3])
    base = BaseEncoder(None, resources)
    first = base.search(queries, base.index(corpus), 9)
    ranking = rerank.search(queries, rerank.index(corpus), 9)
    assert all([d for d, _ in ranking[query]] == [d for d, _ in first[query]] for query in queries)


def test_examples_are_positives_and_unlabelled_documents_of_the_first_stage(
    tiny_bert: BaseModel, tiny_resources: Contexts, tiny_training: TrainingData
) -> None:
    rerank = _rerank(tiny_resources(tiny_bert), Bm25(None, tiny_resources(tiny_bert)), negatives=3)
    pairs, labels = rerank.examples(tiny_training, 0)
    assert len(pairs) == 4 * len(tiny_training.pairs)
    assert sum(labels) == len(tiny_training.pairs)
    positives = {(pair.query, pair.document) for pair in tiny_training.pairs}
    assert all((pair in positives) == (label == 1.0) for pair, label in zip(pairs, labels, strict=True))
    assert rerank.examples(tiny_training, 0) == (pairs, labels) != rerank.examples(tiny_training, 1)


def test_it_learns_within_its_budget_and_keeps_its_best_checkpoint(
    tiny_bert: BaseModel, tiny_resources: Contexts, tiny_training: TrainingData, tmp_path: Path
) -> None:
    resources = tiny_resources(tiny_bert, selection_floor=1)
    rerank = _rerank(resources, lr=2e-3, max_length=48)
    resources.meter.start()
    report = rerank.fit(tiny_training, Budget(steps=20), 0)
    resources.meter.stop()
    assert (report.steps, report.stopped_by) == (20, "steps")
    losses = [point.loss for point in report.curve]
    assert losses[-1] is not None and losses[0] is not None and losses[-1] < losses[0]
    pool = resources.development(tiny_training)
    assert float(pool.scores(rerank).mean()) == pytest.approx(report.best_dev, abs=1e-6)
    assert report.chosen["weight"] == rerank.weight
    assert report.trainable_params == rerank.trainable_params > 0
    assert 0 < report.train_seconds < resources.meter.seconds
    assert report.train_flops > 0
    assert any("fresh head" in note for note in report.notes)
    rerank.save(tmp_path)
    loaded = _rerank(tiny_resources(tiny_bert), lr=2e-3, max_length=48)
    loaded.load(tmp_path)
    assert loaded.search(pool.queries, loaded.index(pool.corpus), 9) == rerank.search(
        pool.queries, rerank.index(pool.corpus), 9
    )
    before = loaded.untrained_counterpart()
    assert type(before) is BaseEncoder  # a fresh head ranks at random: what was there before is the first stage


def test_nothing_is_scored_at_the_budgets_expense_once_it_is_trained(
    tiny_bert: BaseModel, tiny_resources: Contexts, tiny_training: TrainingData, monkeypatch: pytest.MonkeyPatch
) -> None:
    resources = tiny_resources(tiny_bert, selection_floor=1)
    plain, depths = Rerank._scored, list[int]()

    def scored(self: Rerank, *args: Any) -> Any:
        depths.append(resources.meter._depth)
        return plain(self, *args)

    monkeypatch.setattr(Rerank, "_scored", scored)
    rerank = _rerank(resources, lr=2e-3, max_length=48)
    report = rerank.fit(tiny_training, Budget(steps=20), 0)
    assert len(depths) >= 10 and min(depths) > 0
    assert report.chosen["scores"][str(rerank.weight)] == report.best_dev == max(report.chosen["scores"].values())


@pytest.fixture
def ranker_folder(tiny_bert: BaseModel, tmp_path: Path, tiny_resources: Contexts) -> Path:
    """A cross-encoder as somebody else may have trained one."""
    from bench.models.cross_encoder import Ranker

    torch.manual_seed(3)
    folder = tmp_path / "ranker"
    Ranker(tiny_bert, 64, precision="fp32").save(folder)
    return folder


def test_a_pretrained_ranker_is_where_it_starts_and_what_it_was_before(
    tiny_bert: BaseModel, tiny_resources: Contexts, tiny_training: TrainingData, ranker_folder: Path
) -> None:
    resources, corpus = tiny_resources(tiny_bert), tiny_training.corpus
    rerank = _rerank(resources, model=str(ranker_folder), weight=1.0, lr=2e-3)
    assert rerank.ranker.pretrained
    queries = dict(list(tiny_training.train_queries.items())[:4])
    untrained = rerank.search(queries, rerank.index(corpus), 9)
    report = rerank.fit(tiny_training, Budget(steps=3), 0)
    assert not report.notes
    assert rerank.search(queries, rerank.index(corpus), 9) != untrained
    before = rerank.untrained_counterpart()
    assert before is not None
    assert before.search(queries, before.index(corpus), 9) == untrained
    assert {path.name for path in Rerank.inputs(rerank.config)} >= {"config.json", "model.safetensors"}


def test_what_a_ranker_must_be(tiny_bert: BaseModel, tiny_resources: Contexts, ranker_folder: Path) -> None:
    from sentence_transformers import CrossEncoder

    three = ranker_folder.with_name("three")
    CrossEncoder(str(tiny_bert.path), num_labels=3, device="cpu").save_pretrained(str(three), create_model_card=False)
    with pytest.raises(ModelError, match="gives 3 scores for a pair"):
        _ = _rerank(tiny_resources(tiny_bert), model=str(three)).ranker
    with pytest.raises(ModelError, match="does not exist"):
        _ = _rerank(tiny_resources(tiny_bert), model=str(ranker_folder / "missing")).ranker


def test_a_ranker_is_too_large_for_a_small_budget_of_parameters(tiny_bert: BaseModel, tiny_resources: Contexts) -> None:
    resources = tiny_resources(tiny_bert)

    def fitted(limit: int) -> Any:
        budget = Budget(trainable_params=limit, steps=1)
        return fit_to_parameter_budget(
            lambda config: Rerank(config, resources, (BaseEncoder(None, resources),)), Rerank.Config(), budget
        )

    assert fitted(10**6) == Rerank.Config()
    with pytest.raises(NotApplicableError, match="no size"):
        fitted(100)


def test_what_a_query_costs_grows_with_the_depth(
    tiny_bert: BaseModel, tiny_resources: Contexts, tiny_dataset: Dataset
) -> None:
    resources, queries = tiny_resources(tiny_bert), list(tiny_dataset.queries.values())[:8]
    five, ten = (_rerank(resources, depth=depth).added_query_flops(queries, tiny_dataset.corpus) for depth in (5, 10))
    assert 0 < five == pytest.approx(ten / 2)
    assert BaseEncoder(None, resources).added_query_flops(queries, tiny_dataset.corpus) == 0


def test_bf16_scores_keep_enough_digits_to_rank(
    tiny_bert: BaseModel, tiny_resources: Contexts, tiny_dataset: Dataset, ranker_folder: Path
) -> None:
    pairs = [("what happens to the anchor?", text) for text in dict.fromkeys(tiny_dataset.corpus.texts)]
    exact, short = (
        _rerank(tiny_resources(tiny_bert, precision=precision), model=str(ranker_folder)).ranker.logits(pairs)
        for precision in ("fp32", "bf16")
    )
    assert len(set(short)) == len(set(exact)) == len(pairs)
    assert np.corrcoef(exact, short)[0, 1] > 0.99


def test_it_trains_in_bf16(tiny_bert: BaseModel, tiny_resources: Contexts, tiny_training: TrainingData) -> None:
    rerank = _rerank(tiny_resources(tiny_bert, precision="bf16"), lr=2e-3)
    report = rerank.fit(tiny_training, Budget(steps=3), 0)
    assert report.steps == 3 and not report.diverged
    assert {parameter.dtype for parameter in rerank.ranker.model.parameters()} == {torch.float32}


def test_while_it_serves_its_weights_are_converted_once(tiny_bert: BaseModel, tiny_resources: Contexts) -> None:
    strategy = _rerank(tiny_resources(tiny_bert, precision="bf16"), Bm25(None, tiny_resources(tiny_bert)))
    weight = next(iter(strategy.ranker.model.parameters()))
    with serving(strategy):
        assert weight.dtype == torch.bfloat16
        held = weight.data_ptr()
        strategy.ranker.logits([("kettle", "a red kettle")])
        assert weight.data_ptr() == held
    assert weight.dtype == torch.float32
