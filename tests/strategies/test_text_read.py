"""What share of the text a strategy says that it reads."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bench.encoders.base import BaseEncoder
from bench.models.base import BaseModel
from bench.strategy.resources import Resources
from strategies.bm25 import Bm25
from strategies.hybrid import Hybrid
from strategies.linear import Linear
from strategies.rerank import Rerank
from strategies.run import Run

TEXTS = ["one two three four five six", "one two"]


@pytest.fixture
def resources(tiny_bert: BaseModel, tiny_resources: Callable[..., Resources]) -> Resources:
    return tiny_resources(tiny_bert, max_length=4)


def test_an_encoder_reads_what_is_left_after_cutting(resources: Resources) -> None:
    lengths = [len(ids) for ids in resources.encoder.model.tokenizer(TEXTS)["input_ids"]]
    share = sum(min(4, length) for length in lengths) / sum(lengths)
    assert share < 1
    assert BaseEncoder(None, resources).text_read(TEXTS) == {"base": pytest.approx(share)}
    assert Linear(None, resources).text_read(TEXTS) == {"linear": pytest.approx(share)}


def test_bm25_reads_everything_and_a_composite_names_each_part(resources: Resources) -> None:
    encoder = BaseEncoder(None, resources)
    assert Bm25(None, resources).text_read(TEXTS) == {"bm25": 1.0}
    fused = Hybrid(None, resources, (encoder,)).text_read(TEXTS)
    assert fused["bm25"] == 1.0 and fused["base"] < 1
    ranked = Rerank(Rerank.Config(max_length=64), resources, (encoder,)).text_read(TEXTS)
    assert ranked == {"base": fused["base"], "rerank": 1.0}


def test_a_stored_ranking_shows_nothing(resources: Resources) -> None:
    assert Run(None, resources).text_read(TEXTS) == {}
