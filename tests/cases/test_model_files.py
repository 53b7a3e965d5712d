"""Base models whose files lack weights, hold odd ones, or say what cannot be: refused or noted, never random."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench.errors import ModelError
from bench.models.base import BaseModel
from bench.models.checks import model_notes
from bench.models.locate import base_model
from bench.strategy.resources import Resources

Weights = dict[str, torch.Tensor]
TEXTS = ["bread and salt", "a river", "salt " * 90]
QUERY = "layer.1.attention.self.query.weight"


def changed(model: BaseModel, folder: Path, change: Callable[[Weights], Weights]) -> BaseModel:
    """Return a copy of a model whose weights were changed."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(model.path, folder)
    file = folder / "model.safetensors"
    weights = {name: value.contiguous() for name, value in change(load_file(file)).items()}
    save_file(weights, file, metadata={"format": "pt"})
    return base_model(str(folder))


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """What transformers logs during a test."""
    texts: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: texts.append(record.getMessage())  # type: ignore[method-assign]
    library = logging.getLogger("transformers")
    library.addHandler(handler)
    yield texts
    library.removeHandler(handler)


def with_settings(model: BaseModel, folder: Path, file: str, values: Mapping[str, Any]) -> BaseModel:
    """Return a copy of a model one of whose JSON files was changed."""
    shutil.copytree(model.path, folder)
    path = folder / file
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
    return base_model(str(folder))


LACKING: dict[str, Callable[[Weights], Weights]] = {
    "one weight": lambda weights: {name: value for name, value in weights.items() if not name.endswith(QUERY)},
    "a block": lambda weights: {name: value for name, value in weights.items() if "layer.1." not in name},
    "saved by DDP": lambda weights: {f"module.{name}": value for name, value in weights.items()},
    "saved by torch.compile": lambda weights: {f"_orig_mod.{name}": value for name, value in weights.items()},
    "saved by a wrapper": lambda weights: {f"encoder.model.{name}": value for name, value in weights.items()},
    "no embeddings": lambda weights: {name: value for name, value in weights.items() if "word_emb" not in name},
}


@pytest.mark.parametrize("kind", LACKING)
def test_weights_that_would_be_random_are_refused(
    kind: str, tiny_bert: BaseModel, tmp_path: Path, logged: list[str]
) -> None:
    model = changed(tiny_bert, tmp_path / "model", LACKING[kind])
    with pytest.raises(ModelError, match=r"lack weights .* which would be random"):
        model.load()
    assert logged == []


def test_weights_are_missed_where_the_library_says_errors_alone(tiny_bert: BaseModel, tmp_path: Path) -> None:
    from transformers.utils import logging as library

    before = library.get_verbosity()
    library.set_verbosity_error()
    try:
        with pytest.raises(ModelError, match="which would be random"):
            changed(tiny_bert, tmp_path / "model", LACKING["a block"]).load()
        assert library.get_verbosity() == library.ERROR
    finally:
        library.set_verbosity(before)


OTHERS: dict[str, tuple[Callable[[Weights], Weights], str]] = {
    "LoRA beside the weights": (
        lambda weights: {**weights, f"encoder.{QUERY.replace('weight', 'lora_A.weight')}": torch.ones(4, 32)},
        "hold weights of an adapter",
    ),
    "LoRA around the weights": (
        lambda weights: {name.replace("query.weight", "query.base_layer.weight"): v for name, v in weights.items()},
        "hold weights of an adapter",
    ),
    "another shape": (
        lambda weights: {name: value[:16] if name.endswith(QUERY) else value for name, value in weights.items()},
        "weights of other shapes .*query.weight",
    ),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_other_weights_than_the_configuration_says_are_refused(kind: str, tiny_bert: BaseModel, tmp_path: Path) -> None:
    change, message = OTHERS[kind]
    with pytest.raises(ModelError, match=message):
        changed(tiny_bert, tmp_path / "model", change).load()


SAME: dict[str, Callable[[Weights], Weights]] = {
    "the family's prefix": lambda weights: {f"bert.{name}": value for name, value in weights.items()},
    "no pooler": lambda weights: {name: value for name, value in weights.items() if not name.startswith("pooler.")},
    "a head beside it": lambda weights: {**weights, "cls.predictions.bias": torch.ones(300)},
}


@pytest.mark.parametrize("kind", SAME)
def test_weights_that_make_no_vector_do_not_matter(
    kind: str, tiny_bert: BaseModel, tiny_resources: Callable[..., Resources], tmp_path: Path
) -> None:
    model = changed(tiny_bert, tmp_path / "model", SAME[kind])
    assert model_notes(model) == []
    vectors = tiny_resources(model).encoder.uncached(TEXTS, "document")
    np.testing.assert_array_equal(vectors, tiny_resources(tiny_bert).encoder.uncached(TEXTS, "document"))


@pytest.mark.parametrize("kind", [torch.int8, torch.uint8, torch.float8_e4m3fn, torch.float8_e5m2])
def test_quantised_weights_without_scales_are_refused_when_planned(
    kind: torch.dtype, tiny_bert: BaseModel, tmp_path: Path
) -> None:
    model = changed(tiny_bert, tmp_path / "model", lambda weights: {n: v.to(kind) for n, v in weights.items()})
    with pytest.raises(ModelError, match="quantised weights"):
        model_notes(model)


def test_a_pointer_of_git_lfs_is_refused_when_planned(tiny_bert: BaseModel, tmp_path: Path) -> None:
    shutil.copytree(tiny_bert.path, tmp_path / "model")
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 90868376\n"
    (tmp_path / "model" / "model.safetensors").write_text(pointer)
    with pytest.raises(ModelError, match="a pointer of Git LFS, not the weights"):
        model_notes(base_model(str(tmp_path / "model")))


def test_a_missing_shard_is_refused_when_planned(tiny_bert: BaseModel, tmp_path: Path) -> None:
    from transformers import AutoModel

    folder = Path(shutil.copytree(tiny_bert.path, tmp_path / "model"))
    (folder / "model.safetensors").unlink()
    AutoModel.from_pretrained(str(tiny_bert.path)).save_pretrained(folder, max_shard_size="50KB")
    assert model_notes(base_model(str(folder))) == []
    shard = sorted(folder.glob("model-*.safetensors"))[1]
    shard.unlink()
    with pytest.raises(ModelError, match=f"{shard.name} is missing"):
        model_notes(base_model(str(folder)))


@pytest.mark.parametrize(("file", "key", "value"), [
    *(("sentence_bert_config.json", "max_seq_length", value) for value in (0, -5, "128", 1.5, [3], True)),
    *(("config_sentence_transformers.json", "truncate_dim", value) for value in (0, -1, "8", 2.5)),
    *(("config_sentence_transformers.json", "prompts", value) for value in ({"query": 5}, ["a"], "query: ")),
])  # fmt: skip
def test_settings_that_cannot_be_are_refused_when_planned(
    file: str, key: str, value: Any, tiny_bert: BaseModel, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=f"{file}: {key} is"):
        model_notes(with_settings(tiny_bert, tmp_path / "model", file, {key: value}))


@pytest.mark.parametrize("family", ["bert", "roberta", "mpnet"])
def test_a_length_beyond_the_positions_is_cut_to_them(
    family: str, tiny_base: Callable[[str], BaseModel], tiny_resources: Callable[..., Resources], tmp_path: Path
) -> None:
    own = tiny_base(family)
    model = with_settings(own, tmp_path / "model", "sentence_bert_config.json", {"max_seq_length": 512})
    (note,) = model_notes(model)
    assert "positions, and max_seq_length is 512" in note
    vectors = tiny_resources(model).encoder.uncached(TEXTS, "document")
    np.testing.assert_array_equal(vectors, tiny_resources(own).encoder.uncached(TEXTS, "document"))


def test_a_transformer_without_pooling_is_refused_when_planned(tiny_bert: BaseModel, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_bert.path, tmp_path / "model"))
    modules = json.loads((folder / "modules.json").read_text())
    (folder / "modules.json").write_text(json.dumps(modules[:1]))
    with pytest.raises(ModelError, match="lacks a Pooling"):
        model_notes(base_model(str(folder)))


def test_an_lstm_behind_a_transformer_is_refused_when_planned(tiny_bert: BaseModel, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import LSTM, Pooling

    transformer = tiny_bert.load()[0]
    lstm = LSTM(transformer.get_embedding_dimension(), 8)
    SentenceTransformer(modules=[transformer, lstm, Pooling(16)], device="cpu").save_pretrained(str(tmp_path / "model"))
    with pytest.raises(ModelError, match="LSTM needs WordEmbeddings"):
        model_notes(base_model(str(tmp_path / "model")))


@pytest.mark.parametrize("prompts", [
    {"prompts": {"query": "query: "}, "default_prompt_name": "query"},
    {"prompts": {"query": "query: ", "document": ""}, "default_prompt_name": "query"},
    {"prompts": {"query": "find: ", "document": "text: "}},
    {"prompts": {"s2p_query": "x: "}, "default_prompt_name": "s2p_query"},
])  # fmt: skip
def test_prompts_are_those_of_the_library(
    prompts: dict[str, Any], tiny_bert: BaseModel, tiny_resources: Callable[..., Resources], tmp_path: Path
) -> None:
    from sentence_transformers import SentenceTransformer

    model = with_settings(tiny_bert, tmp_path / "model", "config_sentence_transformers.json", prompts)
    library = SentenceTransformer(str(model.path), device="cpu")
    encoder = tiny_resources(model).encoder
    expected = library.encode_query(TEXTS, normalize_embeddings=True)
    np.testing.assert_allclose(encoder.uncached(TEXTS, "query"), expected, atol=1e-6)
    expected = library.encode_document(TEXTS, normalize_embeddings=True)
    np.testing.assert_allclose(encoder.uncached(TEXTS, "document"), expected, atol=1e-6)


def test_prompts_of_other_names_are_noted(tiny_bert: BaseModel, tmp_path: Path) -> None:
    prompts = {"prompts": {"search_query": "search_query: ", "search_document": "search_document: "}}
    (note,) = model_notes(with_settings(tiny_bert, tmp_path / "model", "config_sentence_transformers.json", prompts))
    assert "has the prompts search_document, search_query, and none is called query or document" in note
