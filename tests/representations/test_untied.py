"""Two encoders: each side has its own weights in training, search, artefact and export."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from bench.budget import Budget
from bench.contract import CLAUSES, Blueprint
from bench.data.dataset import TrainingData
from bench.encoders.plain import plain_base
from bench.errors import NotApplicableError
from bench.evaluation.flops import flop_model
from bench.exporting.same_scores import check_same
from bench.expression import parse
from bench.models.base import BaseModel
from bench.planning.build import canonical
from bench.planning.registry import Registry
from bench.retrieval.cache import VectorCache
from bench.retrieval.encode import Kind
from bench.strategy.resources import Resources
from bench.training.score_loss import ScoreLoss
from tests.conftest import MODEL_FAMILIES

MakeResources = Callable[..., Resources]
KINDS: tuple[Kind, ...] = ("query", "document")
OF_THE_ARCHITECTURE = ("trains", "frozen", "lent", "inputs", "batch", "reload", "detach", "inference")


def build(expression: str, resources: Resources, *components: Any) -> Any:
    return Blueprint.of(expression).build(resources, components)


def fitted(expression: str, resources: Resources, data: TrainingData, *components: Any) -> Any:
    strategy = build(expression, resources, *components)
    strategy.fit(data, Budget(steps=3), 0)
    return strategy


def vectors(strategy: Any, data: TrainingData, kind: Kind) -> np.ndarray:
    return np.asarray(strategy.encoder.uncached(data.corpus.texts[:5], kind))


@pytest.mark.parametrize("method", ["full(lr=0.001", "lora(lr=0.01"])
def test_both_sides_start_at_the_base_model_and_part_in_training(
    method: str, tiny_bert: BaseModel, tiny_resources: MakeResources, tiny_training: TrainingData
) -> None:
    resources = tiny_resources(tiny_bert)
    strategy = build(f"{method}, representation=untied)", resources)
    base = resources.encoder.uncached(tiny_training.corpus.texts[:5], "document")
    for kind in KINDS:
        np.testing.assert_allclose(vectors(strategy, tiny_training, kind), base, atol=1e-6)
    strategy.fit(tiny_training, Budget(steps=3), 0)
    queries, documents = (vectors(strategy, tiny_training, kind) for kind in KINDS)
    for one, other in ((queries, base), (documents, base), (queries, documents)):
        assert np.abs(one - other).max() > 1e-4


def test_parameters_are_counted_twice_and_a_query_costs_one_encoder(
    tiny_bert: BaseModel, tiny_resources: MakeResources
) -> None:
    resources = tiny_resources(tiny_bert)
    for method in ("full", "lora", "bitfit"):
        tied, untied = build(method, resources), build(f"{method}(representation=untied)", resources)
        assert untied.trainable_params == 2 * tied.trainable_params
    total = sum(parameter.numel() for parameter in untied.encoder.model.parameters())
    assert total == 2 * sum(parameter.numel() for parameter in tied.model.parameters())
    one, two = flop_model(tied.model), flop_model(untied.model)
    assert (two.linear, two.width) == (one.linear, one.width)


def test_the_loss_is_that_of_two_encoders(
    tiny_bert: BaseModel, tiny_resources: MakeResources, tiny_training: TrainingData
) -> None:
    """Queries reach the first encoder alone, documents the second."""
    pairs = tiny_training.pairs[:5]
    strategy = build("full(representation=untied)", tiny_resources(tiny_bert))
    tied = build("full", tiny_resources(tiny_bert))
    texts = [pair.query for pair in pairs], [pair.document for pair in pairs]
    columns = [strategy.model.preprocess(column) for column in texts]
    own, library = (each.loss(each.resources.training) for each in (strategy, tied))
    assert isinstance(own, ScoreLoss) and not isinstance(library, ScoreLoss)
    strategy.model.eval()
    loss = own([dict(each) for each in columns])
    shared = library([dict(each) for each in columns], None)
    assert float(loss.detach()) == pytest.approx(float(shared.detach()), rel=1e-5)
    loss.backward()
    shared.backward()
    queries, documents = (dict(tower.named_parameters()) for tower in strategy.towers)
    for name, parameter in tied.model.named_parameters():
        if parameter.requires_grad:  # one encoder of both sides gets the sum of the two gradients
            total = queries[name].grad + documents[name].grad
            torch.testing.assert_close(total, parameter.grad, atol=1e-5, rtol=1e-3)
    name = "0.model.encoder.layer.1.output.dense.weight"
    assert (queries[name].grad - documents[name].grad).abs().max() > 1e-3


def test_search_takes_each_side_by_its_encoder_and_the_cache_keeps_them_apart(
    tiny_bert: BaseModel, tiny_resources: MakeResources, tiny_training: TrainingData, tmp_path: Path
) -> None:
    from dataclasses import replace

    resources = replace(tiny_resources(tiny_bert), cache=VectorCache(tmp_path / "cache"))
    fitted("full(lr=0.001, representation=untied)", resources, tiny_training).save(tmp_path)
    strategy = build("full(lr=0.001, representation=untied)", resources)
    strategy.load(tmp_path)
    texts = tiny_training.corpus.texts
    queries = {str(number): text for number, text in enumerate(texts[:4])}
    for _ in range(2):  # the second time from the cache
        ranking = strategy.search(queries, strategy.index(tiny_training.corpus), len(texts))
        with torch.no_grad():
            left, right = (
                torch.cat([tower.eval()(tower.preprocess([text]))["sentence_embedding"] for text in some])
                for tower, some in zip(strategy.towers, (texts[:4], texts), strict=True)
            )
        for row, query in zip((left @ right.T).tolist(), queries, strict=True):
            expected = dict(zip(tiny_training.corpus.ids, row, strict=True))
            assert dict(ranking[query]) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("method", ["full(lr=0.001", "lora(lr=0.01", "full-merge(lr=0.001, share=0.5"])
def test_the_artefact_holds_both(
    method: str, tiny_bert: BaseModel, tiny_resources: MakeResources, tiny_training: TrainingData, tmp_path: Path
) -> None:
    expression, resources = f"{method}, representation=untied)", tiny_resources(tiny_bert)
    strategy = fitted(expression, resources, tiny_training)
    strategy.save(tmp_path)
    loaded = build(expression, resources)
    loaded.load(tmp_path)
    for kind in KINDS:
        assert np.array_equal(vectors(loaded, tiny_training, kind), vectors(strategy, tiny_training, kind))
    assert np.abs(vectors(loaded, tiny_training, "query") - vectors(loaded, tiny_training, "document")).max() > 1e-4


def test_it_continues_a_fit_of_one_encoder_or_of_two(
    tiny_bert: BaseModel, tiny_resources: MakeResources, tiny_training: TrainingData
) -> None:
    resources = tiny_resources(tiny_bert)
    one = fitted("lora(lr=0.01)", resources, tiny_training)
    two = fitted("lora(lr=0.01, representation=untied)", resources, tiny_training)
    from_one = build("full(representation=untied, start=lora)", resources, one)
    from_two = build("full(representation=untied, start=lora(representation=untied))", resources, two)
    for kind in KINDS:
        for continued, start in ((from_one, one), (from_two, two)):
            np.testing.assert_allclose(
                vectors(continued, tiny_training, kind), vectors(start, tiny_training, kind), atol=1e-5
            )
    with pytest.raises(NotApplicableError, match="continues one encoder, and lora has one for queries and one for"):
        build("full(start=lora(representation=untied))", resources, two).trainable_params  # noqa: B018


@pytest.mark.parametrize("method", ["full(lr=0.001", "lora(lr=0.01"])
def test_it_is_exported_as_a_model_with_two_routes(
    method: str, tiny_bert: BaseModel, tiny_resources: MakeResources, tiny_training: TrainingData, tmp_path: Path
) -> None:
    strategy = fitted(f"{method}, representation=untied)", tiny_resources(tiny_bert), tiny_training)
    plain = strategy.to_sentence_transformer()
    assert check_same(strategy, plain) < 1e-4
    plain.save_pretrained(str(tmp_path), create_model_card=False)
    library = SentenceTransformer(str(tmp_path), device="cpu")
    texts = list(tiny_training.corpus.texts[:5])
    np.testing.assert_allclose(library.encode_query(texts), vectors(strategy, tiny_training, "query"), atol=2e-5)
    np.testing.assert_allclose(library.encode_document(texts), vectors(strategy, tiny_training, "document"), atol=2e-5)
    assert library.max_seq_length == plain_base(strategy.resources).max_seq_length


def test_its_length_is_that_of_both_encoders(tiny_bert: BaseModel, tiny_resources: MakeResources) -> None:
    model = build("full(representation=untied)", tiny_resources(tiny_bert)).model
    model.max_seq_length = 9
    assert [tower.max_seq_length for tower in model.towers] == [9, 9]


def test_expressions_that_are_one_strategy() -> None:
    registry = Registry()
    assert canonical(parse("dpr"), registry) == canonical(parse("full(representation=untied)"), registry)


@pytest.mark.parametrize(
    ("strategy", "family", "names"),
    [
        ("lora", "bert", tuple(CLAUSES)),
        ("full", "bert", OF_THE_ARCHITECTURE),
        ("prompt", "bert", OF_THE_ARCHITECTURE),
        ("adalora", "bert", ("trains", "updates")),
        *(("full", family, ("trains", "batch", "frozen")) for family in MODEL_FAMILIES if family != "bert"),
    ],
)
def test_the_contract_holds(
    strategy: str,
    family: str,
    names: tuple[str, ...],
    tiny_base: Callable[[str], BaseModel],
    keeps_contract: Callable[..., None],
) -> None:
    keeps_contract(f"{strategy}(representation=untied)", tiny_base(family), names)
