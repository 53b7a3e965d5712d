"""A distilled table: what it holds, how it is searched and trained, and who is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from bench.budget import Budget
from bench.config.schema import ConfigError, RunConfig
from bench.contract import CLAUSES, Blueprint
from bench.data.dataset import Corpus, TrainingData
from bench.encoders.base import BaseEncoder
from bench.errors import BenchError, NotApplicableError
from bench.expression import parse
from bench.models.base import BaseModel
from bench.planning.build import canonical
from bench.planning.plan import plan
from bench.planning.registry import Registry
from bench.representations.modules.distilled_table import distilled_table, token_vectors
from bench.strategy.resources import Resources
from bench.training.score_loss import ScoreLoss
from tests.conftest import MODEL_FAMILIES

MakeResources = Callable[..., Resources]
SMALL = "dimension=16"


def build(expression: str, resources: Resources) -> Any:
    return Blueprint.of(expression).build(resources, ())


def fitted(expression: str, resources: Resources, data: TrainingData, steps: int = 3) -> Any:
    strategy = build(expression, resources)
    strategy.fit(data, Budget(steps=steps), 0)
    return strategy


@pytest.mark.parametrize("family", MODEL_FAMILIES)
def test_each_token_alone_goes_through_the_model(
    family: str, tiny_base: Callable[[str], BaseModel], tiny_resources: MakeResources
) -> None:
    encoder = tiny_resources(tiny_base(family)).encoder
    vectors = token_vectors(encoder)
    words = ["tide", "kiln", "a"]
    tokens = [encoder.model.tokenizer(word, add_special_tokens=False)["input_ids"] for word in words]
    single = [(word, ids[0]) for word, ids in zip(words, tokens, strict=True) if len(ids) == 1]
    assert single, "the tiny vocabulary holds some of the words"
    for word, token in single:
        (expected,) = encoder.uncached([word], "document")
        np.testing.assert_allclose(vectors[token], expected, atol=1e-5)
    assert len(vectors) == len(encoder.model.tokenizer)


def test_the_table_holds_weighted_principal_components(
    tiny_bert: BaseModel, tiny_resources: MakeResources, tiny_training: TrainingData
) -> None:
    encoder, texts = tiny_resources(tiny_bert).encoder, tiny_training.corpus.texts
    vectors = token_vectors(encoder)
    plain = distilled_table(encoder, texts, 32, "none", 1e-4).double()
    centred = vectors - vectors.mean(dim=0)
    torch.testing.assert_close(plain @ plain.T, centred @ centred.T, atol=1e-4, rtol=1e-4)  # all axes: a rotation
    moments = (plain.T @ plain).diagonal()
    assert (moments.diff() <= 1e-6).all()
    assert torch.equal(distilled_table(encoder, texts, 8, "none", 1e-4), plain[:, :8].float())
    zipf = distilled_table(encoder, texts, 8, "zipf", 0.01)
    likely = 1 / np.arange(2, len(plain) + 2)
    weights = 0.01 / (0.01 + likely / likely.sum())
    torch.testing.assert_close(zipf, (plain[:, :8] * torch.from_numpy(weights)[:, None]).float())
    counted = distilled_table(encoder, ["tide tide kiln"], 8, "corpus", 0.01)
    ids = encoder.model.tokenizer("tide tide kiln", add_special_tokens=False)["input_ids"]
    for token in {*ids, 5}:
        weight = 0.01 / (0.01 + ids.count(token) / len(ids))
        torch.testing.assert_close(counted[token], (plain[token, :8] * weight).float())
    with pytest.raises(NotApplicableError, match="have 32 dimensions"):
        distilled_table(encoder, texts, 33, "none", 1e-4)
    with pytest.raises(NotApplicableError, match="there is none"):
        distilled_table(encoder, [], 8, "corpus", 1e-4)


def test_a_text_is_the_mean_of_its_tokens_and_is_searched_by_cosine(
    tiny_bert: BaseModel, tiny_resources: MakeResources, tiny_training: TrainingData
) -> None:
    resources = tiny_resources(tiny_bert)
    strategy = fitted(f"frozen(representation=static({SMALL}))", resources, tiny_training)
    table, corpus = strategy.representation.table, tiny_training.corpus
    ids = resources.encoder.model.tokenizer(list(corpus.texts), add_special_tokens=False)["input_ids"]
    expected = torch.nn.functional.normalize(torch.stack([table[each].mean(dim=0) for each in ids]), dim=1)
    index = strategy.index(corpus)
    np.testing.assert_allclose(index.vectors, expected, atol=1e-5)
    assert index.nbytes == len(corpus) * 16 * 4
    ranking = strategy.search({"q": corpus.texts[3]}, index, 3)
    assert ranking["q"][0] == (corpus.ids[3], pytest.approx(1.0, abs=1e-5))
    np.testing.assert_allclose(strategy.similarity(corpus.texts[:2], corpus.texts[:2]), 1.0, atol=1e-5)


def test_the_base_models_tokenizer_stays_as_it_was(
    tiny_bert: BaseModel, tiny_resources: MakeResources, tiny_training: TrainingData
) -> None:
    resources = tiny_resources(tiny_bert)
    before = resources.encoder.model.preprocess(["the tide", "the harbour of the pottery and its kiln"])
    strategy = fitted(f"full(representation=static({SMALL}))", resources, tiny_training)
    strategy.search({"q": "tide"}, strategy.index(tiny_training.corpus), 3)
    after = resources.encoder.model.preprocess(["the tide", "the harbour of the pottery and its kiln"])
    assert all(torch.equal(before[name], after[name]) for name in ("input_ids", "attention_mask"))


@pytest.mark.parametrize("method", ["full(lr=0.01", "full-merge(lr=0.01, share=0.5"])
def test_training_starts_from_the_distilled_table_and_is_loaded_with_it(
    method: str, tiny_bert: BaseModel, tiny_resources: MakeResources, tiny_training: TrainingData, tmp_path: Path
) -> None:
    expression = f"{method}, representation=static({SMALL}))"
    resources, texts = tiny_resources(tiny_bert), tiny_training.corpus.texts[:5]
    strategy = build(expression, resources)
    strategy.fit(tiny_training, Budget(steps=3), 0)
    assert isinstance(strategy.loss(resources.training), ScoreLoss)
    assert strategy.trainable_params == strategy.representation.table.numel() == 300 * 16
    counterpart = strategy.untrained_counterpart()
    assert isinstance(counterpart, BaseEncoder)
    distilled = fitted(f"frozen(representation=static({SMALL}))", resources, tiny_training)
    start = distilled.encoder.uncached(texts, "document")
    assert np.array_equal(counterpart.encoder.uncached(texts, "document"), start)
    assert np.abs(strategy.encoder.uncached(texts, "document") - start).max() > 1e-3
    strategy.save(tmp_path)
    loaded = build(expression, resources)
    loaded.load(tmp_path)
    for one, other in ((strategy, loaded), (counterpart, loaded.untrained_counterpart())):
        assert np.array_equal(one.encoder.uncached(texts, "document"), other.encoder.uncached(texts, "document"))


def test_a_batch_in_pieces_is_the_whole_batch(
    tiny_bert: BaseModel, tiny_resources: MakeResources, tiny_training: TrainingData
) -> None:
    """The features of a table are one row of tokens, which cannot be cut by texts."""
    answers = []
    for mini_batch in (0, 2):
        resources = tiny_resources(tiny_bert, mini_batch=mini_batch)
        strategy = fitted(f"full(lr=0.01, representation=static({SMALL}))", resources, tiny_training)
        answers.append(strategy.encoder.uncached(tiny_training.corpus.texts[:5], "document"))
    assert np.array_equal(*answers)


@pytest.mark.parametrize("objective", ["triplet", "cosine", "cropping", "contrastive(symmetric=true)"])
def test_objectives_train_it(
    objective: str, tiny_bert: BaseModel, tiny_resources: MakeResources, tiny_training: TrainingData
) -> None:
    expression = f"full(lr=0.01, objective={objective}, representation=static({SMALL}))"
    strategy = fitted(expression, tiny_resources(tiny_bert), tiny_training)
    moved = strategy.model[0].embedding.weight.detach() - strategy.representation.table
    assert float(moved.abs().max()) > 1e-3


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("lora(representation=static)", "lora has nothing to change .* full and full-merge can train"),
        ("full(representation=static, objective=gist)", "gist cannot work with .* scores of the same tokens"),
        ("full(representation=static, objective=simcse)", "simcse cannot work with .* dropout"),
        ("full(representation=static, objective=tsdae)", "tsdae cannot work with representation static"),
    ],
)
def test_combinations_without_sense_are_refused_when_the_run_is_planned(
    expression: str, message: str, tiny_bert: BaseModel, beir_folder: Path
) -> None:
    with pytest.raises(BenchError, match=message):
        plan(RunConfig(strategies=expression, datasets=str(beir_folder), model=str(tiny_bert.path)))


def test_an_endpoint_is_refused(beir_folder: Path) -> None:
    with pytest.raises(ConfigError, match="behind an endpoint"):
        plan(RunConfig(strategies="static", datasets=str(beir_folder), model="openai:http://127.0.0.1:9/v1#m"))


def test_options_without_sense_are_refused() -> None:
    for options, message in (("weighting=idf", "unknown static.weighting 'idf'"), ("dimension=0", "above 0")):
        with pytest.raises(BenchError, match=message):
            canonical(parse(f"frozen(representation=static({options}))"), Registry())


def test_expressions_that_are_one_strategy() -> None:
    registry = Registry()
    for one, other in (
        ("static", "frozen(representation=static)"),
        ("full(representation=static)", "full(representation=static(weighting=zipf), lr=0.003)"),
    ):
        assert canonical(parse(one), registry) == canonical(parse(other), registry)


def test_a_table_learns_at_a_rate_of_its_own() -> None:
    for method in ("full", "full-merge"):
        rates = [
            Blueprint.of(f"{method}({options})").config.lr
            for options in ("representation=static(dimension=8)", "representation=multi", "representation=static, lr=1")
        ]
        assert rates == [0.003, 5e-5, 1.0]


def test_a_corpus_gives_its_own_weights(
    tiny_bert: BaseModel, tiny_resources: MakeResources, tiny_training: TrainingData
) -> None:
    expression, resources = f"frozen(representation=static({SMALL}, weighting=corpus))", tiny_resources(tiny_bert)
    other = replace(tiny_training, corpus=Corpus(["1"], ["the tide of the tide"]))
    tables = [fitted(expression, resources, data).representation.table for data in (tiny_training, other)]
    assert not torch.equal(*tables)


@pytest.mark.parametrize(("family", "names"), [("bert", tuple(CLAUSES)), ("roberta", ("trains", "batch", "reload"))])
def test_the_contract_holds(
    family: str, names: tuple[str, ...], tiny_base: Callable[[str], BaseModel], keeps_contract: Callable[..., None]
) -> None:
    keeps_contract(f"full(lr=0.01, representation=static({SMALL}))", tiny_base(family), names)


def test_the_benchmark_of_encoding_prints_a_row_for_each_strategy(
    tiny_bert: BaseModel, beir_folder: Path, load_script: Callable[[str], ModuleType],
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    command = ["encoding.py", "--datasets", str(beir_folder), "--model", str(tiny_bert.path), "--documents", "24"]
    monkeypatch.setattr("sys.argv", [*command, "--strategies", f"frozen,frozen(representation=static({SMALL}))"])
    assert load_script("benchmarks/encoding.py").main() == 0
    rows = capsys.readouterr().out.splitlines()[2:]
    assert [row.split("|")[2].strip() for row in rows] == ["`frozen`", f"`frozen(representation=static({SMALL}))`"]
    assert all(float(row.split("|")[3].replace(",", "")) > 0 and row.split("|")[6].strip() == "24" for row in rows)
