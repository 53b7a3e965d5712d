"""Base models of every kind are measured as their authors meant them, or refused when the run is planned."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench.config.schema import from_mapping
from bench.data.dataset import Corpus, TrainingData
from bench.encoders.base import BaseEncoder
from bench.errors import ModelError, NotApplicableError
from bench.models.base import BaseModel
from bench.models.checks import model_notes
from bench.models.info import model_info
from bench.models.locate import base_model
from bench.planning.build import build, config_of
from bench.planning.plan import plan
from bench.planning.registry import Registry
from bench.retrieval.cache import VectorCache
from bench.strategy.resources import Resources

Contexts = Callable[..., Resources]
TEXTS = ["bread and salt", "a river", "the tools with which gardens are kept in order", "salt"]


def copy_of(model: BaseModel, folder: Path) -> Path:
    return Path(shutil.copytree(model.path, folder))


def edit(path: Path, **values: Any) -> None:
    content = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**content, **values}))


def with_dense(model: BaseModel, folder: Path, seed: int = 0, safe: bool = True) -> Path:
    from sentence_transformers.base.modules import Dense

    loaded = model.load()
    torch.manual_seed(seed)
    loaded.append(Dense(32, 8, activation_function=torch.nn.Identity()))
    loaded.save(str(folder), create_model_card=False)
    if not safe:
        dense = folder / "3_Dense"
        torch.save(loaded[3].state_dict(), dense / "pytorch_model.bin")
        (dense / "model.safetensors").unlink()
    return folder


def static_model(folder: Path, texts: list[str]) -> Path:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.train_from_iterator(texts, trainers.WordLevelTrainer(special_tokens=["[UNK]"], show_progress=False))
    torch.manual_seed(0)
    SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_dim=16)], device="cpu").save(
        str(folder), create_model_card=False
    )
    return folder


# --- weights and fingerprints -------------------------------------------------------------------------------------


def test_weights_of_a_later_module_that_are_not_safetensors_are_refused_and_not_loaded(
    tiny_bert: BaseModel, tmp_path: Path
) -> None:
    model = base_model(str(with_dense(tiny_bert, tmp_path / "dense", safe=False)))
    for use in (model_notes, BaseModel.load):
        with pytest.raises(ModelError, match=r"pytorch_model\.bin is not in the safetensors format"):
            use(model)


@pytest.mark.parametrize("name", ["extra.bin", "pooling.pt", "sub/weights.npz", "merges.bpe", "custom_module.py"])
def test_every_file_that_may_be_loaded_is_in_the_fingerprint(tiny_bert: BaseModel, tmp_path: Path, name: str) -> None:
    folder = copy_of(tiny_bert, tmp_path / "model")
    file = folder / name
    file.parent.mkdir(exist_ok=True)
    seen = {base_model(str(folder)).fingerprint}
    for content in (b"one", b"two"):
        file.write_bytes(content)
        seen.add(base_model(str(folder)).fingerprint)
    assert len(seen) == 3


def test_a_readme_is_no_part_of_the_fingerprint(tiny_bert: BaseModel, tmp_path: Path) -> None:
    folder = copy_of(tiny_bert, tmp_path / "model")
    (folder / "README.md").write_text("about")
    (folder / ".cache").mkdir()
    (folder / ".cache" / "x.json").write_text("{}")
    assert base_model(str(folder)).fingerprint == tiny_bert.fingerprint


def test_two_models_that_differ_in_a_dense_module_do_not_share_a_cache(
    tiny_bert: BaseModel, tiny_resources: Contexts, tmp_path: Path
) -> None:
    vectors = []
    for seed in (0, 1):
        model = base_model(str(with_dense(tiny_bert, tmp_path / f"dense{seed}", seed)))
        resources = replace(tiny_resources(model), cache=VectorCache(tmp_path / "cache"))
        vectors.append(resources.encoder.documents(TEXTS)[0])
        np.testing.assert_allclose(vectors[-1], tiny_resources(model).encoder.documents(TEXTS)[0], atol=1e-5)
    assert not np.allclose(vectors[0], vectors[1], atol=1e-2)


def test_a_model_that_is_edited_between_two_runs_does_not_meet_the_old_cache(
    tiny_bert: BaseModel, tiny_resources: Contexts, tmp_path: Path
) -> None:
    folder = with_dense(tiny_bert, tmp_path / "model", 0)
    old = replace(tiny_resources(base_model(str(folder))), cache=VectorCache(tmp_path / "cache"))
    old.encoder.documents(TEXTS)
    shutil.rmtree(folder)
    with_dense(tiny_bert, folder, 1)
    new = replace(tiny_resources(base_model(str(folder))), cache=VectorCache(tmp_path / "cache"))
    expected = tiny_resources(base_model(str(folder))).encoder.documents(TEXTS)[0]
    np.testing.assert_allclose(new.encoder.documents(TEXTS)[0], expected, atol=1e-5)


def test_a_model_that_is_edited_after_it_was_fingerprinted_is_not_loaded(tiny_bert: BaseModel, tmp_path: Path) -> None:
    folder = copy_of(tiny_bert, tmp_path / "model")
    model = base_model(str(folder))
    assert model.fingerprint == tiny_bert.fingerprint
    edit(folder / "config_sentence_transformers.json", prompts={"query": "query: "})
    with pytest.raises(ModelError, match="changed while it was in use"):
        model.load()


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json", "modules.json"])
@pytest.mark.parametrize("content", [b"", b"\xff\xfe{", b"[[[[", b"null", b'{"a": 1}'])
def test_damaged_files_of_a_model_are_model_errors(
    tiny_bert: BaseModel, tmp_path: Path, name: str, content: bytes
) -> None:
    folder = copy_of(tiny_bert, tmp_path / "model")
    (folder / name).write_bytes(content)
    model = base_model(str(folder))
    with suppress(ModelError):  # a tokenizer that is read from elsewhere, or a setting that has a default
        model_notes(model)
        model.load()


def test_code_and_modules_from_elsewhere_are_refused(tiny_bert: BaseModel, tmp_path: Path) -> None:
    folder = copy_of(tiny_bert, tmp_path / "model")
    modules = json.loads((folder / "modules.json").read_text())
    for change, message in (
        ({"type": "my_module.Evil"}, "code of its own"),
        ({"path": "../elsewhere"}, "outside of its folder"),
    ):
        (folder / "modules.json").write_text(json.dumps([*modules[:-1], {**modules[-1], **change}]))
        with pytest.raises(ModelError, match=message):
            base_model(str(folder)).load()


# --- similarity, truncation, pooling ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["manhattan", "euclidean", "maxsim"])
def test_a_similarity_that_the_search_does_not_have_is_refused_when_planned(
    tiny_bert: BaseModel, tmp_path: Path, beir_folder: Path, name: str
) -> None:
    from sentence_transformers import SentenceTransformer

    loaded = tiny_bert.load()
    folder = tmp_path / "model"
    SentenceTransformer(modules=list(loaded)[:2], device="cpu").save(str(folder), create_model_card=False)
    edit(folder / "config_sentence_transformers.json", similarity_fn_name=name)
    config = from_mapping({"strategies": ["frozen"], "datasets": [str(beir_folder)], "model": str(folder)})
    with pytest.raises(ModelError, match=name):
        plan(config)


def test_unit_vectors_compared_by_euclidean_distance_rank_as_by_cosine(tiny_bert: BaseModel, tmp_path: Path) -> None:
    folder = copy_of(tiny_bert, tmp_path / "model")
    edit(folder / "config_sentence_transformers.json", similarity_fn_name="euclidean")
    (note,) = model_notes(base_model(str(folder)))
    assert "Euclidean" in note


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_vectors_are_truncated_as_the_librarys_encode_does(
    tiny_bert: BaseModel, tiny_resources: Contexts, tmp_path: Path, similarity: str
) -> None:
    folder = copy_of(tiny_bert, tmp_path / "model")
    edit(folder / "config_sentence_transformers.json", truncate_dim=12, similarity_fn_name=similarity)
    model = base_model(str(folder))
    assert model_info(model).dimension == 12
    encoder = tiny_resources(model).encoder
    vectors = encoder.uncached(TEXTS, "document")
    library = model.load()
    expected = library.similarity(library.encode(TEXTS), library.encode(TEXTS))
    assert vectors.shape == (4, 12)
    np.testing.assert_allclose(vectors @ vectors.T, expected, atol=1e-5)
    strategy = BaseEncoder(None, tiny_resources(model))
    ranking = strategy.search({"q": "salt"}, strategy.index(Corpus(list("abcd"), TEXTS)), 4)
    assert next(iter(ranking.as_run()["q"])) == "d"


def test_a_truncated_model_can_be_trained_saved_and_exported(
    tiny_bert: BaseModel, tiny_resources: Contexts, tiny_training: TrainingData, tmp_path: Path
) -> None:
    from bench.budget import Budget

    folder = copy_of(tiny_bert, tmp_path / "model")
    edit(folder / "config_sentence_transformers.json", truncate_dim=12)
    registry = Registry()
    strategy: Any = build(
        registry.get("bitfit"), config_of("bitfit", {}, registry), registry, tiny_resources(base_model(str(folder)))
    )
    strategy.fit(tiny_training, Budget(steps=2), 0)
    adapted = strategy.encoder.uncached(TEXTS, "document")
    plain = strategy.to_sentence_transformer()
    plain.save(str(tmp_path / "export"), create_model_card=False)
    exported = base_model(str(tmp_path / "export"))
    np.testing.assert_allclose(tiny_resources(exported).encoder.uncached(TEXTS, "document"), adapted, atol=1e-5)


def test_a_folder_without_a_pooling_configuration_is_noted(
    tiny_bert: BaseModel, tmp_path: Path, beir_folder: Path
) -> None:
    folder = copy_of(tiny_bert, tmp_path / "bare")
    for name in ("modules.json", "config_sentence_transformers.json", "sentence_bert_config.json"):
        (folder / name).unlink(missing_ok=True)
    config = from_mapping({"strategies": ["frozen"], "datasets": [str(beir_folder)], "model": str(folder)})
    (note,) = [note for note in plan(config).notes if "pooling" in note]
    assert "mean pooling is assumed" in note
    assert model_notes(BaseModel("bare", folder, pooling="cls")) == []
    assert model_notes(tiny_bert) == []


# --- adapters, decoders, static embeddings ------------------------------------------------------------------------


def test_a_saved_adapter_is_refused_with_the_way_to_merge_it(
    tiny_bert: BaseModel, tiny_resources: Contexts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from peft import LoraConfig, get_peft_model
    from sentence_transformers import SentenceTransformer

    loaded = SentenceTransformer(str(tiny_bert.path), device="cpu")
    wrapped = get_peft_model(loaded[0].model, LoraConfig(target_modules=["query"], init_lora_weights=False))
    wrapped.peft_config["default"].base_model_name_or_path = str(tiny_bert.path)
    adapter = tmp_path / "adapter"
    wrapped.save_pretrained(adapter)
    expected = loaded.encode(TEXTS)
    with pytest.raises(ModelError, match="Merge it first") as refused:
        model_notes(base_model(str(adapter)))
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"in Python: (.*)$", str(refused.value))
    exec(code, {})
    merged = tiny_resources(base_model("./merged")).encoder.uncached(TEXTS, "document")
    np.testing.assert_allclose(merged, expected, atol=1e-4)


def test_a_decoder_without_a_pad_token_is_refused_with_the_way_to_set_one(
    tiny_bert: BaseModel, tmp_path: Path, beir_folder: Path
) -> None:
    folder = copy_of(tiny_bert, tmp_path / "model")
    tokenizer = json.loads((folder / "tokenizer_config.json").read_text())
    tokenizer.pop("pad_token", None)
    tokenizer["eos_token"] = "[SEP]"
    tokenizer["tokenizer_class"] = "PreTrainedTokenizerFast"
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    (folder / "special_tokens_map.json").unlink(missing_ok=True)
    config = from_mapping({"strategies": ["frozen"], "datasets": [str(beir_folder)], "model": str(folder)})
    with pytest.raises(ModelError, match="no pad token") as refused:
        plan(config)
    (code,) = re.findall(r"in Python: (.*)$", str(refused.value))
    exec(code, {})
    plan(config)


def test_a_static_model_is_measured_and_what_needs_a_transformer_is_not_applicable(
    tiny_resources: Contexts, tiny_training: TrainingData, tmp_path: Path
) -> None:
    from bench.evaluation.flops import query_flops

    model = base_model(str(static_model(tmp_path / "static", list(tiny_training.corpus.texts))))
    assert model_notes(model) == []
    resources = tiny_resources(model, max_length=4)
    encoder = resources.encoder
    texts = list(tiny_training.corpus.texts[:5])
    np.testing.assert_allclose(
        tiny_resources(model).encoder.uncached(texts, "document"),
        model.load().encode(texts, normalize_embeddings=True),
        atol=1e-5,
    )
    long = "river " * 4 + "salt " * 9
    np.testing.assert_allclose(*encoder.uncached([long, "river " * 4], "document"), atol=1e-5)
    strategy = BaseEncoder(None, resources)
    ranking = strategy.search({"q": texts[2]}, strategy.index(Corpus(list("abcde"), texts)), 5)
    assert next(iter(ranking.as_run()["q"])) == "c"
    assert query_flops(encoder, texts) >= 0
    registry = Registry()
    for name in ("lora", "prefix", "top-layers", "layernorm"):
        built: Any = build(registry.get(name), config_of(name, {}, registry), registry, resources)
        with pytest.raises(NotApplicableError, match="not a transformer"):
            assert built.model


# --- names --------------------------------------------------------------------------------------------------------


def test_models_and_datasets_of_one_name_get_names_of_their_own(
    tiny_base: Callable[[str], BaseModel], tmp_path: Path, beir_folder: Path
) -> None:
    models = [tmp_path / run / "checkpoint-4" for run in ("runA", "runB")]
    for folder, family in zip(models, ("bert", "mpnet"), strict=True):
        shutil.copytree(tiny_base(family).path, folder)
    datasets = [tmp_path / side / "data" for side in ("a", "b")]
    for number, folder in enumerate(datasets):
        shutil.copytree(beir_folder, folder)
        corpus = folder / "corpus.jsonl"
        corpus.write_text(corpus.read_text() + json.dumps({"_id": f"more{number}", "text": f"text {number}"}) + "\n")
    config = from_mapping(
        {
            "strategies": ["frozen", "lora"],
            "datasets": [str(folder) for folder in datasets],
            "model": [str(folder) for folder in models],
        }
    )
    planned = plan(config)
    assert {fit.model_name for fit in planned.fits} == {"runA/checkpoint-4", "runB/checkpoint-4"}
    assert {cell.dataset_name for cell in planned.cells} == {"a/data", "b/data"}
    assert len(planned.cells) == 16
    assert len({(cell.strategy, cell.dataset_name, cell.model_name, cell.seed) for cell in planned.cells}) == 8


def test_one_model_named_in_two_ways_keeps_its_name(tiny_bert: BaseModel, tmp_path: Path, beir_folder: Path) -> None:
    folder = copy_of(tiny_bert, tmp_path / "model")
    config = from_mapping(
        {
            "strategies": ["frozen"],
            "datasets": [str(beir_folder)],
            "model": [str(folder), str(folder.parent / "." / "model") + "/"],
        }
    )
    assert {fit.model_name for fit in plan(config).fits} == {"model"}
