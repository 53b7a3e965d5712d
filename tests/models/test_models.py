"""Base models: found, verified, fresh each time."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from bench.errors import ModelError
from bench.models import locate
from bench.models.base import BaseModel
from bench.models.locate import base_model


def test_the_default_is_the_published_model() -> None:
    model = base_model()
    assert model.name == "all-MiniLM-L6-v2"
    assert model == base_model("sentence-transformers/all-MiniLM-L6-v2")
    loaded = model.load()
    assert loaded.get_embedding_dimension() == 384
    assert loaded.max_seq_length == 256
    assert sum(p.numel() for p in loaded.parameters()) == 22_713_216


def test_a_default_that_is_not_the_published_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locate, "DEFAULT_SHA256", "0" * 64)
    with pytest.raises(ModelError, match="SHA-256"):
        base_model()


def test_each_load_gives_a_separate_copy(tiny_bert: BaseModel) -> None:
    one, other = tiny_bert.load(), tiny_bert.load()
    with torch.no_grad():
        next(one.parameters()).add_(1.0)
    assert not torch.equal(next(one.parameters()), next(other.parameters()))


def test_the_fingerprint_depends_on_the_content(tiny_bert: BaseModel, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(tiny_bert.path, tmp_path / "elsewhere"))
    assert base_model(str(copy)).fingerprint == tiny_bert.fingerprint
    config = copy / "config.json"
    config.write_text(config.read_text() + " ")
    assert base_model(str(copy)).fingerprint != tiny_bert.fingerprint


def test_pooling_can_be_set_wrongly_on_purpose(tiny_bert: BaseModel) -> None:
    wrong = BaseModel(tiny_bert.name, tiny_bert.path, pooling="cls")
    assert wrong.fingerprint != tiny_bert.fingerprint
    right, cls = tiny_bert.load().encode("salt and bread"), wrong.load().encode("salt and bread")
    assert abs(right - cls).max() > 0.01


def test_weights_that_are_not_safetensors_are_not_loaded(tmp_path: Path, tiny_bert: BaseModel) -> None:
    copy = Path(shutil.copytree(tiny_bert.path, tmp_path / "pickled"))
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    with pytest.raises(ModelError, match="safetensors"):
        base_model(str(copy))


def test_the_error_of_an_unknown_name_says_what_to_do() -> None:
    with pytest.raises(ModelError, match="does not exist"):
        base_model("./no/such/folder")
    with pytest.raises(ModelError, match="without a network, give a folder"):
        base_model("no-such-organisation/no-such-model")
