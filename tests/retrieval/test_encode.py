"""Encoding: order, cache, precision, length, and what it leaves behind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench.models.base import BaseModel
from bench.models.precision import weights_in
from bench.retrieval.cache import VectorCache
from bench.retrieval.encode import Encoder, plan_batches, rows_of, token_lengths
from bench.strategy.resources import Resources

Contexts = Callable[..., Resources]
TEXTS = ["bread and salt", "a river", "the long history of the tools with which gardens are kept in order", "salt", ""]


def test_vectors_come_in_the_order_of_the_texts_and_equal_the_librarys(
    tiny_model: BaseModel, tiny_resources: Contexts
) -> None:
    encoder = tiny_resources(tiny_model).encoder
    vectors, seconds = encoder.documents(TEXTS)
    plain = tiny_model.load().encode(TEXTS, convert_to_numpy=True)
    np.testing.assert_allclose(vectors, plain, atol=1e-5)
    assert seconds > 0


def test_a_cached_vector_is_not_computed_again_and_is_charged_what_it_cost(
    tiny_bert: BaseModel, tiny_resources: Contexts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = replace(tiny_resources(tiny_bert), cache=VectorCache(tmp_path / "cache"))
    vectors, cost = first.encoder.documents(TEXTS)
    second = replace(tiny_resources(tiny_bert), cache=VectorCache(tmp_path / "cache"))
    monkeypatch.setattr(type(second.encoder), "_batches", lambda *args: pytest.fail("encoded again"))
    second.meter.start()
    again, charged = second.encoder.documents(list(reversed(TEXTS)))
    second.meter.stop()
    np.testing.assert_array_equal(again, vectors[::-1])
    assert charged == pytest.approx(cost, rel=0.01)
    assert second.meter.seconds >= charged


def test_the_vectors_of_queries_do_not_depend_on_what_the_cache_knows(
    tiny_bert: BaseModel, tiny_resources: Contexts, tmp_path: Path
) -> None:
    def encoder(name: str) -> Encoder:
        return replace(tiny_resources(tiny_bert, precision="bf16"), cache=VectorCache(tmp_path / name)).encoder

    fresh, cost = encoder("fresh").queries(TEXTS)
    used = encoder("used")
    before = {text: used.queries([text])[0][0] for text in TEXTS}  # each without padding
    assert any(not np.array_equal(before[text], vector) for text, vector in zip(TEXTS, fresh, strict=True))
    np.testing.assert_array_equal(used.queries(TEXTS)[0], fresh)
    again, charged = encoder("fresh").queries(TEXTS)
    np.testing.assert_array_equal(again, fresh)
    assert charged == pytest.approx(cost, rel=0.01)


def test_an_interrupted_encoding_resumes(
    tiny_bert: BaseModel, tiny_resources: Contexts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.retrieval.encode.SEGMENT", 2)
    resources = replace(tiny_resources(tiny_bert), cache=VectorCache(tmp_path / "cache"))
    encode, calls = type(resources.encoder)._batches, []

    def stops_after_two(self: Any, texts: Any, kind: Any) -> Any:
        calls.append(list(texts))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return encode(self, texts, kind)

    monkeypatch.setattr(type(resources.encoder), "_batches", stops_after_two)
    with pytest.raises(KeyboardInterrupt):
        resources.encoder.documents(TEXTS)
    resources.encoder.documents(TEXTS)
    assert sum(map(len, calls)) == len(TEXTS) + 2  # the segment that was interrupted, and nothing else, twice


def test_a_suspended_cache_is_neither_read_nor_written(
    tiny_bert: BaseModel, tiny_resources: Contexts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = VectorCache(tmp_path / "cache")
    encoder = replace(tiny_resources(tiny_bert), cache=cache).encoder
    vectors, _ = encoder.documents(TEXTS)
    with cache.suspended(), monkeypatch.context() as patch:
        patch.setattr(type(cache), "space", lambda *args: pytest.fail("opened the cache"))
        with cache.suspended():
            np.testing.assert_allclose(encoder.documents(TEXTS)[0], vectors, atol=1e-6)
        encoder.queries(["a new text"])
    monkeypatch.setattr(type(encoder), "_batches", lambda *args: pytest.fail("encoded again"))
    np.testing.assert_array_equal(encoder.documents(TEXTS)[0], vectors)


def test_other_weights_lengths_and_precisions_do_not_share_vectors(tmp_path: Path) -> None:
    cache = VectorCache(tmp_path)
    cache.space("weights", 64, "fp32", None).put([b"k" * 16], np.ones((1, 2), dtype=np.float32), 1.0)
    assert b"k" * 16 in cache.space("weights", 64, "fp32", None)
    for other in [("others", 64, "fp32", None), ("weights", 32, "fp32", None), ("weights", 64, "bf16", None)]:
        assert b"k" * 16 not in cache.space(*other)


def test_two_writers_do_not_disturb_each_other(tmp_path: Path) -> None:
    one, two = VectorCache(tmp_path).space("w"), VectorCache(tmp_path).space("w")
    one.put([b"a" * 16], np.full((1, 2), 1, dtype=np.float32), 0.5)
    two.put([b"b" * 16], np.full((1, 2), 2, dtype=np.float32), 0.25)
    out = np.empty((2, 2), dtype=np.float32)
    missing, seconds = VectorCache(tmp_path).space("w").get([b"a" * 16, b"b" * 16], out)
    assert (missing, seconds) == ([], 0.75)
    np.testing.assert_array_equal(out, [[1, 1], [2, 2]])


def test_a_damaged_segment_is_encoded_again(tmp_path: Path) -> None:
    space = VectorCache(tmp_path).space("w")
    space.put([b"a" * 16], np.ones((1, 2), dtype=np.float32), 1.0)
    segment = next(space.folder.glob("*.vectors"))
    segment.write_bytes(segment.read_bytes()[:40])
    assert b"a" * 16 not in VectorCache(tmp_path).space("w")


def test_the_cache_stays_below_its_bound_and_drops_the_oldest(tmp_path: Path) -> None:
    cache = VectorCache(tmp_path, max_bytes=30_000)
    for number in range(4):
        cache.space(number).put([bytes([number]) * 16], np.zeros((1, 2500), dtype=np.float32), 1.0)
    assert sum(file.stat().st_size for file in tmp_path.rglob("*.vectors")) <= 30_000
    assert bytes([3]) * 16 in cache.space(3)
    assert bytes([0]) * 16 not in cache.space(0)


def test_bf16_is_close_and_leaves_the_weights_bit_for_bit(tiny_bert: BaseModel, tiny_resources: Contexts) -> None:
    exact = tiny_resources(tiny_bert).encoder.uncached(TEXTS, "document")
    resources = tiny_resources(tiny_bert, precision="bf16")
    before = {name: p.clone() for name, p in resources.encoder.model.named_parameters()}
    rough = resources.encoder.uncached(TEXTS, "document")
    assert np.all((exact * rough).sum(axis=1) > 0.999)
    assert not np.array_equal(exact, rough)
    for name, parameter in resources.encoder.model.named_parameters():
        assert torch.equal(parameter, before[name])


def test_an_encoder_kept_ready_converts_its_weights_once(
    tiny_bert: BaseModel, tiny_resources: Contexts, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = tiny_resources(tiny_bert, precision="bf16").encoder
    apart = [encoder.uncached([text], "query")[0] for text in TEXTS]
    entered: list[object] = []

    def counted(model: Any, number_format: Any) -> Any:
        entered.append(model)
        return weights_in(model, number_format)

    monkeypatch.setattr("bench.retrieval.encode.weights_in", counted)
    with encoder.ready():
        together = [encoder.uncached([text], "query")[0] for text in TEXTS]
    assert len(entered) == 1
    np.testing.assert_array_equal(together, apart)
    assert {parameter.dtype for parameter in encoder.model.parameters()} == {torch.float32}


def test_weights_come_back_when_a_block_fails(tiny_bert: BaseModel) -> None:
    model = tiny_bert.load()
    with pytest.raises(RuntimeError), weights_in(model, "bf16"):
        raise RuntimeError
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_texts_are_cut_to_the_maximum_length(tiny_bert: BaseModel, tiny_resources: Contexts) -> None:
    long = "river bread salt tool garden " * 20
    cut = tiny_resources(tiny_bert, max_length=8).encoder.uncached([long, long + " more"], "document")
    np.testing.assert_allclose(cut[0], cut[1], atol=1e-6)
    whole = tiny_resources(tiny_bert).encoder.uncached([long], "document")
    assert not np.allclose(cut[0], whole[0], atol=1e-3)


def test_a_models_own_prompts_are_put_before_texts(tiny_bert: BaseModel, tiny_resources: Contexts) -> None:
    encoder = tiny_resources(tiny_bert).encoder
    plain = encoder.uncached(["query: salt", "salt"], "query")
    encoder.model.prompts = {"query": "query: ", "document": "passage: "}
    np.testing.assert_allclose(encoder.uncached(["salt"], "query")[0], plain[0], atol=1e-6)
    assert encoder.prompt("document") == "passage: "


def test_encoding_restores_training_mode_and_length(tiny_bert: BaseModel, tiny_resources: Contexts) -> None:
    encoder = tiny_resources(tiny_bert, max_length=8).encoder
    encoder.model.train()
    length = encoder.model.max_seq_length
    encoder.uncached(TEXTS, "document")
    assert encoder.model.training
    assert encoder.model.max_seq_length == length


def test_batches_hold_every_text_once_longest_first_within_the_tokens() -> None:
    lengths = [100, 3, 256, 20, 20, 256]
    batches = list(plan_batches(lengths, 512))
    assert sorted(position for batch in batches for position in batch) == list(range(6))
    assert batches[0][0] == 2
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[position] for position in batch) <= 512


def test_batches_are_formed_by_tokens_and_not_by_characters(
    tiny_model: BaseModel, tiny_resources: Contexts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Texts of equal length in characters differ in tokens. No batch holds a column of padding, on either side."""
    encoder = tiny_resources(tiny_model).encoder
    monkeypatch.setattr(type(encoder), "_tokens_per_batch", 24)
    texts = ["a a a a a a a a a", "gardens, gardens.", "salt", "a river, a river", "history"] * 3
    seen: list[int] = []
    with encoder.ready():
        for positions, features in encoder.features(texts, "document"):
            mask = features["attention_mask"]
            assert mask.any(0).all()
            assert len(positions) == 1 or mask.numel() <= 24
            seen += positions
    assert sorted(seen) == list(range(len(texts)))
    alone = np.concatenate([encoder.uncached([text], "document") for text in texts])
    np.testing.assert_allclose(encoder.uncached(texts, "document"), alone, atol=1e-5)


def test_tokens_that_are_no_table_are_batched_by_characters(
    tiny_bert: BaseModel, tiny_resources: Contexts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list beside the tensors may say something of each text."""
    encoder = tiny_resources(tiny_bert).encoder
    expected = encoder.uncached(TEXTS, "document")
    original, sizes = encoder.model.preprocess, []

    def preprocess(texts: list[str], **options: Any) -> dict[str, Any]:
        sizes.append(len(texts))
        return {**original(texts, **options), "notes": [len(text) for text in texts]}

    monkeypatch.setattr(encoder.model, "preprocess", preprocess)
    monkeypatch.setattr(type(encoder), "_tokens_per_batch", 8)
    np.testing.assert_allclose(encoder.uncached(TEXTS, "document"), expected, atol=1e-5)
    assert sizes[0] == len(TEXTS), "the first group is looked at as a whole"
    assert sum(sizes[1:]) == len(TEXTS)


def test_a_masked_token_that_is_no_padding_stays() -> None:
    """Late interaction fills queries up with [MASK], which nothing attends to and whose vectors count."""
    ids = torch.tensor([[5, 6, 9, 0], [5, 9, 9, 0]])
    features = {"input_ids": ids, "attention_mask": torch.tensor([[1, 1, 0, 0], [1, 0, 0, 0]])}
    assert token_lengths(features, 0) == [3, 3]
    assert rows_of(features, [1], 0)["input_ids"].tolist() == [[5, 9, 9]]
