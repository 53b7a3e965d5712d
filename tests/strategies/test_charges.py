"""A fit pays for the work that it alone needs. The index that a strategy serves is charged as index."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bench.budget import Budget
from bench.data.dataset import Corpus, TrainingData
from bench.encoders.base import BaseEncoder
from bench.models.base import BaseModel
from bench.strategy.resources import Resources
from strategies.hybrid import Hybrid
from strategies.prior import Prior
from strategies.rerank import Rerank

Contexts = Callable[..., Resources]


def prior(resources: Resources, data: TrainingData) -> None:
    Prior(None, resources).fit(data, Budget(), 0)


def rerank(resources: Resources, data: TrainingData) -> None:
    Rerank(Rerank.Config(max_length=32), resources, (BaseEncoder(None, resources),)).examples(data, 0)


@pytest.mark.parametrize("fit", [prior, rerank])
def test_the_index_that_it_serves_is_not_charged_to_the_fit(
    tiny_bert: BaseModel,
    tiny_resources: Contexts,
    tiny_training: TrainingData,
    fit: Callable[[Resources, TrainingData], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resources = tiny_resources(tiny_bert)
    plain, charged = BaseEncoder.index, list[bool]()

    def index(self: BaseEncoder, corpus: Corpus) -> Any:
        charged.append(resources.meter._depth == 0)
        return plain(self, corpus)

    monkeypatch.setattr(BaseEncoder, "index", index)
    fit(resources, tiny_training)
    assert charged == [False]


def test_a_fusion_does_not_pay_for_the_lexical_index_that_it_serves(
    tiny_bert: BaseModel, tiny_resources: Contexts, tiny_training: TrainingData, monkeypatch: pytest.MonkeyPatch
) -> None:
    resources = tiny_resources(tiny_bert, selection_floor=1)
    plain, charged = Hybrid._lexical, list[bool]()

    def lexical(self: Hybrid, corpus: Corpus) -> Any:
        charged.append(resources.meter._depth == 0)
        return plain(self, corpus)

    monkeypatch.setattr(Hybrid, "_lexical", lexical)
    Hybrid(None, resources, (BaseEncoder(None, resources),)).fit(tiny_training, Budget(), 0)
    assert charged == [False]


def test_the_record_says_how_many_labelled_pairs_a_step_uses(
    tiny_bert: BaseModel, tiny_resources: Contexts, tiny_training: TrainingData
) -> None:
    """A re-ranker's batch holds a positive and three negatives for each labelled pair."""
    from strategies.linear import Linear

    resources = tiny_resources(tiny_bert, batch_size=8)
    assert Linear(None, resources).fit(tiny_training, Budget(steps=1), 0).pairs_per_step == 8
    composite = Rerank(Rerank.Config(max_length=32, negatives=3), resources, (BaseEncoder(None, resources),))
    assert composite.fit(tiny_training, Budget(steps=1), 0).pairs_per_step == 2
