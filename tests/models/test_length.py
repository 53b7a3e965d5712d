"""Long texts are cut by characters before they are tokenised, and give the same tokens."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench.budget import Budget
from bench.contract import Blueprint
from bench.contract.observing import counted_tokens, texts_with_gradients
from bench.data.dataset import TrainingData
from bench.models.base import BaseModel
from bench.models.info import model_info
from bench.models.length import UNLIMITED, beginnings, token_lengths
from bench.models.locate import base_model
from bench.strategy.resources import Resources

WORDS = (
    "the",
    "kettle,",
    "lamp",
    "and",
    "printer",
    "of",
    "a",
    "router;",
    "where",
    "(tents)",
    "are",
    "cleaned:",
    "off!",
)


def prose(words: int) -> str:
    draw = random.Random(words)
    return " ".join(draw.choice(WORDS) for _ in range(words))


LONG = {
    "prose": prose(3000),
    "one word": "kettle" * 5000,
    "spaces first": " " * 8000 + prose(800),
    "a long word, then prose": "x" * 9000 + " " + prose(800),
    "lines": "\n".join(prose(7) for _ in range(400)),
    "no spaces": "水壶台灯打印机" * 1500,
    "marks": "e\u0301\u0302 kettle " * 1000,
    "punctuation": "?!...;" * 2000,
    "digits": "1234567890" * 1500,
    "short": "a kettle",
    "empty": "",
}


@pytest.mark.parametrize("limit", [8, 32])
def test_a_cut_text_has_the_same_tokens(tiny_model: BaseModel, limit: int) -> None:
    model = tiny_model.load("cpu")
    model.max_seq_length = limit
    cut = beginnings(model, list(LONG.values()), limit)
    assert all(text.startswith(short) for text, short in zip(LONG.values(), cut, strict=True))
    for prompt in (None, "query: "):
        whole, short = (model.preprocess(texts, prompt=prompt) for texts in (list(LONG.values()), cut))
        for name, tensor in whole.items():
            assert torch.equal(tensor, short[name]) if isinstance(tensor, torch.Tensor) else tensor == short[name]
    assert len(cut[0]) < 4000 and len(cut[-2]) == len("a kettle")


def test_an_encoder_is_given_the_beginning_alone(
    tiny_bert: BaseModel, tiny_resources: Callable[..., Resources], monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = tiny_resources(tiny_bert).encoder
    texts = list(LONG.values())
    expected = encoder.model.encode(texts, batch_size=1)
    given: list[int] = []
    preprocess = encoder.model.preprocess

    def spy(inputs: Any, **options: Any) -> Any:
        given.extend(map(len, inputs))
        return preprocess(inputs, **options)

    monkeypatch.setattr(encoder.model, "preprocess", spy)
    np.testing.assert_allclose(encoder.uncached(texts, "document"), expected, atol=1e-5)
    assert sum(given) < 0.7 * sum(map(len, texts))


def test_a_model_of_8192_tokens_reads_and_learns_beyond_its_neighbours_limits(
    tiny_base: Callable[[str], BaseModel], tiny_resources: Callable[..., Resources], tiny_training: TrainingData,
    tmp_path: Path,
) -> None:  # fmt: skip
    folder = Path(shutil.copytree(tiny_base("modernbert").path, tmp_path / "long"))
    for name, key in (
        ("config.json", "max_position_embeddings"),
        ("tokenizer_config.json", "model_max_length"),
        ("sentence_bert_config.json", "max_seq_length"),
    ):
        settings = json.loads((folder / name).read_text()) | {key: 8192}
        (folder / name).write_text(json.dumps(settings))
    long = base_model(str(folder))
    assert model_info(long).max_length == 8192
    assert tiny_resources(tiny_base("bert"), max_length=8192).encoder.max_length == 64, "its own limit"
    for limit, tokens in ((600, 600), (9000, 8192)):
        encoder = tiny_resources(long, max_length=limit).encoder
        with counted_tokens() as read:
            encoder.uncached([prose(9000)], "document")
        assert set(read) == {tokens}

    data = replace(tiny_training, pairs=[replace(pair, document=prose(2000)) for pair in tiny_training.pairs])
    strategy = Blueprint.of("lora").build(tiny_resources(long, max_length=600), ())
    with texts_with_gradients() as learned:
        strategy.fit(data, Budget(steps=1), 0)
    assert max(map(len, learned)) == 600


def test_without_a_limit_or_a_tokenizer_texts_stay_whole(tiny_bert: BaseModel) -> None:
    assert beginnings(tiny_bert.load("cpu"), [LONG["prose"]], UNLIMITED) == [LONG["prose"]]
    assert beginnings(object(), [LONG["prose"]], 8) == [LONG["prose"]]


def test_a_long_text_is_counted_in_pieces(tiny_bert: BaseModel, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_bert.load("cpu")
    expected = token_lengths(model, list(LONG.values()))
    monkeypatch.setattr("bench.models.length._WHOLE", 3000)
    counted = dict(zip(LONG, token_lengths(model, list(LONG.values())), strict=True))
    whole = dict(zip(LONG, expected, strict=True))
    assert {name: counted[name] for name in ("prose", "lines", "short", "empty")} == {
        name: whole[name] for name in ("prose", "lines", "short", "empty")
    }
    assert all(abs(counted[name] - whole[name]) <= 0.01 * whole[name] + 50 for name in LONG)
