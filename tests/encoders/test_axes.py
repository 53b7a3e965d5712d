"""Method, objective and representation vary independently, and a fit may continue another one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench.budget import Budget
from bench.contract import Blueprint
from bench.data.dataset import TrainingData
from bench.encoders.strategy import EncoderStrategy
from bench.errors import BenchError, NotApplicableError
from bench.models.base import BaseModel
from bench.representations.base import Representation
from bench.strategy.resources import Resources
from bench.training.score_loss import ScoreLoss
from strategies.full import Full
from strategies.lora import Lora

MakeResources = Callable[..., Resources]


class TokenMaximum(Representation):
    """One vector a token, compared by the sum over query tokens of the best document token."""

    name = "token-maximum"

    def represent(self, model: Any, features: Any, kind: Any) -> tuple[torch.Tensor, torch.Tensor]:
        output = model(features, task=kind)
        mask = output["attention_mask"].bool()
        return torch.nn.functional.normalize(output["token_embeddings"], dim=2), mask

    def scores(self, queries: Any, documents: Any) -> torch.Tensor:
        (query, asked), (document, there) = queries, documents
        products = torch.einsum("qtd,psd->qpts", query, document).masked_fill(~there[None, :, None, :], -1.0)
        return (products.amax(dim=3) * asked[:, None, :]).sum(dim=2)


def build(expression: str, resources: Resources, *components: Any) -> EncoderStrategy:
    strategy = Blueprint.of(expression).build(resources, components)
    assert isinstance(strategy, EncoderStrategy)
    return strategy


def vectors(strategy: Any, data: TrainingData) -> np.ndarray:
    return np.asarray(strategy.encoder.uncached(data.corpus.texts[:6], "document"))


def fitted(expression: str, resources: Resources, data: TrainingData, *components: Any, steps: int = 3) -> Any:
    strategy = build(expression, resources, *components)
    strategy.fit(data, Budget(steps=steps), 0)
    return strategy


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("lora(r=2, lr=0.01)", "full(start=lora)"),
        ("lora(r=2, lr=0.01)", "lora(r=4, start=lora)"),
        ("lora(r=2, lr=0.01)", "lora(r=2, lr=0.001, start=lora)"),
        ("full(lr=0.001)", "lora(start=full)"),
        ("full(lr=0.001)", "bitfit(start=full)"),
        ("ia3(lr=0.05)", "adapter(start=ia3)"),
    ],
)
def test_a_fit_starts_where_another_one_ended(
    first: str, second: str, tiny_bert: BaseModel, tiny_resources: MakeResources, tiny_training: TrainingData
) -> None:
    resources = tiny_resources(tiny_bert)
    start = fitted(first, resources, tiny_training)
    continued = build(second, resources, start)
    base = np.asarray(resources.encoder.uncached(tiny_training.corpus.texts[:6], "document"))
    assert np.abs(vectors(start, tiny_training) - base).max() > 1e-4
    np.testing.assert_allclose(vectors(continued, tiny_training), vectors(start, tiny_training), atol=1e-5)


def test_a_continued_fit_leaves_its_start_alone_and_is_loaded_with_it(
    tiny_bert: BaseModel, tiny_resources: MakeResources, tiny_training: TrainingData, tmp_path: Path
) -> None:
    resources = tiny_resources(tiny_bert)
    start = fitted("full(lr=0.001)", resources, tiny_training)
    before = vectors(start, tiny_training)
    continued = fitted("lora(r=2, lr=0.01, start=full)", resources, tiny_training, start)
    assert np.array_equal(vectors(start, tiny_training), before)
    assert np.abs(vectors(continued, tiny_training) - before).max() > 1e-4
    continued.save(tmp_path)
    loaded = build("lora(r=2, lr=0.01, start=full)", resources, start)
    loaded.load(tmp_path)
    assert np.array_equal(vectors(loaded, tiny_training), vectors(continued, tiny_training))


def test_what_trains_no_encoder_is_no_start(tiny_bert: BaseModel, tiny_resources: MakeResources) -> None:
    resources = tiny_resources(tiny_bert)
    for expression in ("bm25", "linear", "query-lora"):
        strategy = build("full(start=bm25)", resources, Blueprint.of(expression).build(resources, ()))
        with pytest.raises(NotApplicableError, match="has none"):
            strategy.trainable_params  # noqa: B018


@pytest.mark.parametrize("method", ["full(lr=0.001)", "lora(lr=0.01)", "ia3(lr=0.05)", "prompt", "prefix", "bitfit"])
def test_every_method_trains_under_another_representation(
    method: str, tiny_bert: BaseModel, tiny_resources: MakeResources, tiny_training: TrainingData, tmp_path: Path
) -> None:
    resources = tiny_resources(tiny_bert)
    plain = build(method, resources)
    strategy = type(plain)(plain.config, resources, representation=TokenMaximum(), objective=plain.objective)
    counterpart: Any = strategy.untrained_counterpart()
    before = counterpart.encoder.uncached(tiny_training.corpus.texts[:4], "document")
    report = strategy.fit(tiny_training, Budget(steps=3), 0)
    assert report.steps == 3 and isinstance(strategy.loss(resources.training), ScoreLoss)
    after = strategy.encoder.uncached(tiny_training.corpus.texts[:4], "document")
    assert np.abs(after - before).max() > 1e-5
    strategy.save(tmp_path)
    loaded = type(plain)(plain.config, resources, representation=TokenMaximum(), objective=plain.objective)
    loaded.load(tmp_path)
    queries = dict(list(tiny_training.train_queries.items())[:3])
    rankings = [each.search(queries, each.index(tiny_training.corpus), 5) for each in (strategy, loaded)]
    assert rankings[0] == rankings[1]


def test_search_of_any_representation_ranks_by_its_scores(
    tiny_bert: BaseModel, tiny_resources: MakeResources, tiny_training: TrainingData
) -> None:
    resources = tiny_resources(tiny_bert)
    strategy = Full(None, resources, representation=TokenMaximum())
    corpus = tiny_training.corpus
    queries = dict(list(tiny_training.train_queries.items())[:4])
    index = strategy.index(corpus)
    ranking = strategy.search(queries, index, 5)
    for query, text in queries.items():
        values = {
            doc: float(strategy.representation.scores(
                next(strategy.encoder.batches([text], "query"))[1],
                next(strategy.encoder.batches([corpus.text_of(doc)], "document"))[1],
            )[0, 0])
            for doc in corpus.ids
        }  # fmt: skip
        best = sorted(values, key=lambda doc: -values[doc])[:5]
        assert [score for _, score in ranking[query]] == pytest.approx([values[doc] for doc in best], abs=1e-4)
    assert index.nbytes > 0 and index.seconds > 0
    similarity = strategy.similarity(corpus.texts[:3], corpus.texts[:3])
    assert similarity.shape == (3,) and (similarity > 0).all()


def test_an_axis_that_was_not_passed_in_is_refused(tiny_bert: BaseModel, tiny_resources: MakeResources) -> None:
    with pytest.raises(BenchError, match="the representation 'query-side' was not passed in"):
        Lora(Lora.Config(representation="query-side"), tiny_resources(tiny_bert))


def test_the_loss_on_scores_is_the_librarys_contrastive_loss(
    tiny_bert: BaseModel, tiny_resources: MakeResources, tiny_training: TrainingData
) -> None:
    resources = tiny_resources(tiny_bert)
    strategy = Full(None, resources)
    pairs = tiny_training.pairs[:5]
    texts = [[p.query for p in pairs], [p.document for p in pairs], [p.document for p in reversed(pairs)]]
    columns = [strategy.model.preprocess(each) for each in texts]
    library = strategy.loss(resources.training)
    own = ScoreLoss(strategy.objective, strategy.model, strategy.representation, resources.training, strategy.detached)
    values = [float(loss([dict(each) for each in columns], None).detach()) for loss in (library, own)]
    assert values[0] == pytest.approx(values[1], rel=1e-5)
