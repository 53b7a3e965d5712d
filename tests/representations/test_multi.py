"""Late interaction: scores, the head, what training starts from, and what an artefact holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import MultiVectorEncoder
from sentence_transformers.util import maxsim

from bench.budget import Budget
from bench.contract import CLAUSES, Blueprint
from bench.data.dataset import Corpus, TrainingData
from bench.encoders.base import BaseEncoder
from bench.errors import BenchError, NotApplicableError
from bench.evaluation.flops import flop_model
from bench.expression import parse
from bench.models.base import BaseModel
from bench.planning.build import canonical
from bench.planning.registry import Registry
from bench.representations.multi import Multi
from bench.strategy.resources import Resources
from tests.conftest import MODEL_FAMILIES

MakeResources = Callable[..., Resources]
OF_THE_ARCHITECTURE = ("trains", "frozen", "lent", "inputs", "batch", "reload", "detach", "inference")


def tokens(lengths: list[int], longest: int, seed: int, dimension: int = 8) -> torch.Tensor:
    """Unit vectors (texts, longest, dimension), where padding is zero."""
    vectors = torch.randn(len(lengths), longest, dimension, generator=torch.Generator().manual_seed(seed))
    is_token = torch.arange(longest)[None, :, None] < torch.tensor(lengths)[:, None, None]
    return torch.nn.functional.normalize(vectors, dim=2) * is_token


def naive(query: torch.Tensor, query_length: int, document: torch.Tensor, document_length: int) -> float:
    best = []
    for i in range(query_length):
        best.append(max(float(query[i] @ document[j]) for j in range(document_length)))
    return sum(best)


QUERY_LENGTHS, DOCUMENT_LENGTHS = [3, 1, 5], [7, 2, 1, 4]
QUERIES, DOCUMENTS = tokens(QUERY_LENGTHS, 6, 1), tokens(DOCUMENT_LENGTHS, 9, 2)


def build(expression: str, resources: Resources) -> Any:
    return Blueprint.of(expression).build(resources, ())


def fitted(expression: str, resources: Resources, data: TrainingData, seed: int = 0, steps: int = 3) -> Any:
    strategy = build(expression, resources)
    strategy.fit(data, Budget(steps=steps), seed)
    return strategy


def test_scores_are_those_of_a_plain_loop_and_of_the_library() -> None:
    scores = Multi().scores(QUERIES, DOCUMENTS)
    expected = [
        [naive(q, n, d, m) for d, m in zip(DOCUMENTS, DOCUMENT_LENGTHS, strict=True)]
        for q, n in zip(QUERIES, QUERY_LENGTHS, strict=True)
    ]
    np.testing.assert_allclose(scores.numpy(), expected, atol=1e-6)
    ragged = maxsim(
        [q[:n] for q, n in zip(QUERIES, QUERY_LENGTHS, strict=True)],
        [d[:n] for d, n in zip(DOCUMENTS, DOCUMENT_LENGTHS, strict=True)],
    )
    torch.testing.assert_close(scores, ragged)
    torch.testing.assert_close(Multi().pair_scores(QUERIES, DOCUMENTS[:3]), scores[:, :3].diagonal())


def test_padding_gets_no_gradient_and_negative_cosines_count() -> None:
    queries, documents = QUERIES.clone().requires_grad_(), DOCUMENTS.clone().requires_grad_()
    Multi().scores(queries, documents).sum().backward()
    assert queries.grad is not None and documents.grad is not None
    for grad, lengths in ((queries.grad, QUERY_LENGTHS), (documents.grad, DOCUMENT_LENGTHS)):
        for row, length in zip(grad, lengths, strict=True):
            assert not row[length:].any()
    assert queries.grad[0, :3].any() and documents.grad[0].any()
    opposite = -QUERIES[:1, :1]
    assert float(Multi().scores(QUERIES[:1, :1], torch.cat([opposite, opposite * 0], dim=1))) == pytest.approx(-1.0)


def test_a_document_has_the_librarys_score_with_the_same_modules(
    tiny_bert: BaseModel, tiny_resources: MakeResources, tiny_training: TrainingData
) -> None:
    from sentence_transformers.sentence_transformer.modules import Dense, Normalize

    strategy = build("frozen(representation=multi(dimension=8))", tiny_resources(tiny_bert))
    strategy.fit(tiny_training, Budget(), 0)
    model = strategy.encoder.model
    head = Dense(32, 8, bias=False, activation_function=None, init_weight=strategy.representation.head.clone(),
                 module_input_name="token_embeddings")  # fmt: skip
    library = MultiVectorEncoder(modules=[model[0], head, Normalize(module_input_name="token_embeddings")])
    corpus, queries = tiny_training.corpus, dict(list(tiny_training.train_queries.items())[:3])
    ranking = strategy.search(queries, strategy.index(corpus), len(corpus))
    scores = library.similarity(
        library.encode_query(list(queries.values())), library.encode_document(list(corpus.texts))
    )
    for row, query in zip(scores, queries, strict=True):
        found = dict(ranking[query])
        assert [found[doc] for doc in corpus.ids] == pytest.approx(row.tolist(), abs=1e-4)


@pytest.mark.parametrize("method", ["full(lr=0.001", "lora(lr=0.01"])
@pytest.mark.parametrize("head", ["random", "svd"])
def test_training_starts_from_the_counterpart_and_is_loaded_with_it(
    method: str, head: str, tiny_bert: BaseModel, tiny_resources: MakeResources, tiny_training: TrainingData,
    tmp_path: Path,
) -> None:  # fmt: skip
    expression = f"{method}, representation=multi(dimension=16, head={head}))"
    resources, texts = tiny_resources(tiny_bert), tiny_training.corpus.texts[:5]
    strategy = build(expression, resources)
    strategy.fit(tiny_training, Budget(steps=3), 4)
    drawn, trained = strategy.representation.head, dict(strategy.model.named_parameters())["3.linear.weight"]
    assert drawn.shape == trained.shape == (16, 32)
    assert float((drawn - trained.detach()).abs().max()) > 1e-4
    counterpart = strategy.untrained_counterpart()
    assert isinstance(counterpart, BaseEncoder)
    assert torch.equal(counterpart.encoder.model[3].linear.weight, drawn)
    strategy.save(tmp_path)
    loaded = build(expression, resources)
    loaded.load(tmp_path)
    for one, other in ((strategy, loaded), (counterpart, loaded.untrained_counterpart())):
        assert np.array_equal(one.encoder.uncached(texts, "document"), other.encoder.uncached(texts, "document"))
    moved = strategy.encoder.uncached(texts, "document") - counterpart.encoder.uncached(texts, "document")
    assert np.abs(moved).max() > 1e-3


def test_the_head_follows_the_seed(
    tiny_bert: BaseModel, tiny_resources: MakeResources, tiny_training: TrainingData
) -> None:
    heads = [
        fitted("full(representation=multi)", tiny_resources(tiny_bert), tiny_training, seed, 1).representation.head
        for seed in (0, 0, 1)
    ]
    assert torch.equal(heads[0], heads[1]) and not torch.equal(heads[0], heads[2])


def test_an_svd_head_holds_the_singular_vectors_of_the_tokens(
    tiny_bert: BaseModel, tiny_resources: MakeResources, tiny_training: TrainingData, tmp_path: Path
) -> None:
    resources = tiny_resources(tiny_bert)
    strategy = build("frozen(representation=multi(head=svd, dimension=6))", resources)
    strategy.fit(tiny_training, Budget(), 0)
    model = resources.encoder.model.eval()
    rows = []
    with torch.no_grad():
        for text in tiny_training.corpus.texts:
            rows.append(model(model.preprocess([text]))["token_embeddings"][0])
    right = torch.linalg.svd(torch.cat(rows).double(), full_matrices=False).Vh[:6]
    cosines = (right.float() * strategy.representation.head).sum(dim=1).abs()
    torch.testing.assert_close(cosines, torch.ones(6), atol=1e-3, rtol=0)
    strategy.save(tmp_path)
    loaded = build("frozen(representation=multi(head=svd, dimension=6))", resources)
    loaded.load(tmp_path)
    texts = tiny_training.corpus.texts[:3]
    assert np.array_equal(loaded.encoder.uncached(texts, "document"), strategy.encoder.uncached(texts, "document"))
    with pytest.raises(NotApplicableError, match="32 singular vectors at most"):
        build("frozen(representation=multi(head=svd))", resources).fit(tiny_training, Budget(), 0)
    with pytest.raises(NotApplicableError, match="there is none"):
        strategy.fit(replace(tiny_training, corpus=Corpus([], [])), Budget(), 0)


def test_its_own_temperature_divides_the_scores_of_the_loss(
    tiny_bert: BaseModel, tiny_resources: MakeResources, tiny_training: TrainingData
) -> None:
    pairs = tiny_training.pairs[:5]
    for options, temperature in (("", 1.0), ("(temperature=0.5)", 0.5)):
        strategy = build(f"full(representation=multi{options})", tiny_resources(tiny_bert, temperature=0.05))
        model = strategy.model.eval()
        columns = [model.preprocess([p.query for p in pairs]), model.preprocess([p.document for p in pairs])]
        with torch.no_grad():
            value = strategy.loss(strategy.resources.training)([dict(each) for each in columns])
            sides = [strategy.representation.represent(model, dict(each), "query") for each in columns]
            logits = strategy.representation.scores(*sides) / temperature
        assert float(value) == pytest.approx(
            float(torch.nn.functional.cross_entropy(logits, torch.arange(5))), rel=1e-5
        )


def test_pooling_halves_the_vectors_of_documents_and_leaves_queries_alone(
    tiny_bert: BaseModel, tiny_resources: MakeResources, tiny_training: TrainingData
) -> None:
    resources, corpus = tiny_resources(tiny_bert), tiny_training.corpus
    queries = dict(list(tiny_training.train_queries.items())[:3])
    plain, pooled = (build(f"frozen(representation=multi{o})", resources) for o in ("", "(pool_factor=2)"))
    indexes = [each.index(corpus) for each in (plain, pooled)]
    lengths = [np.diff(index.documents.starts) for index in indexes]
    assert np.array_equal(lengths[1], 1 + np.maximum((lengths[0] - 1) // 2, 1))
    np.testing.assert_allclose(np.linalg.norm(indexes[1].documents.values, axis=1), 1.0, atol=1e-5)
    assert indexes[1].nbytes < 0.6 * indexes[0].nbytes
    assert [plain.search(queries, index, 3)[q] for index in indexes for q in queries] == [
        each.search(queries, index, 3)[q] for each, index in zip((plain, pooled), indexes, strict=True) for q in queries
    ]


def test_a_large_corpus_is_searched_in_two_stages_whose_recall_is_known(
    tiny_bert: BaseModel, tiny_resources: MakeResources, tiny_training: TrainingData
) -> None:
    corpus, queries = tiny_training.corpus, dict(list(tiny_training.train_queries.items())[:4])
    rankings, recalls = [], []
    for options in ("", "(exact=20, candidates=48)", "(exact=20, candidates=20)"):
        strategy = build(f"frozen(representation=multi{options})", tiny_resources(tiny_bert))
        index = strategy.index(corpus)
        rankings.append(strategy.search(queries, index, 5))
        recalls.append(index.search_recall)
    for query in queries:
        exact, complete = (dict(ranking[query]) for ranking in rankings[:2])
        assert complete == pytest.approx(exact, abs=1e-4)
        assert len(rankings[2][query]) == 5
    assert recalls[:2] == [None, 1.0] and 0 < recalls[2] <= 1


def test_similarity_of_sentences_is_symmetric_and_does_not_grow_with_length(
    tiny_bert: BaseModel, tiny_resources: MakeResources, tiny_training: TrainingData
) -> None:
    strategy = build("frozen(representation=multi)", tiny_resources(tiny_bert))
    texts = sorted(tiny_training.corpus.texts, key=len)
    short, long = texts[:4], texts[-4:]
    np.testing.assert_allclose(strategy.similarity(short, short), 1.0, atol=1e-5)
    np.testing.assert_allclose(strategy.similarity(long, long), 1.0, atol=1e-5)
    forth, back = strategy.similarity(short, long), strategy.similarity(long, short)
    np.testing.assert_allclose(forth, back, atol=1e-5)
    assert (forth < 1.0 - 1e-4).all()


def test_its_head_counts_as_operations_that_are_trained(tiny_bert: BaseModel, tiny_resources: MakeResources) -> None:
    single, multi = (flop_model(build(e, tiny_resources(tiny_bert)).model) for e in ("full", "colbert"))
    head = 32 * 128
    assert multi.linear - single.linear == multi.trained - single.trained == head


def test_full_merge_averages_the_head_with_the_one_that_was_drawn(
    tiny_bert: BaseModel, tiny_resources: MakeResources, tiny_training: TrainingData
) -> None:
    heads = []
    for share in ("1.0", "0.5"):
        strategy = fitted(
            f"full-merge(lr=0.001, share={share}, representation=multi)", tiny_resources(tiny_bert), tiny_training
        )
        heads.append(strategy.model[3].linear.weight.detach())
    torch.testing.assert_close(heads[1], (heads[0] + strategy.representation.head) / 2)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("colbert", "full(representation=multi)"),
        ("colbert(lr=0.001)", "full(lr=0.001, representation=multi(head=random, store=fp32))"),
        ("lora(representation=multi)", "lora(representation=multi(dimension=128))"),
    ],
)
def test_expressions_that_are_one_strategy(first: str, second: str) -> None:
    registry = Registry()
    assert canonical(parse(first), registry) == canonical(parse(second), registry)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("head=pca", "unknown multi.head 'pca'"),
        ("store=int4", "unknown multi.store 'int4', did you mean 'int8'"),
        ("pool_factor=0.5", "pool_factor must be at least 1"),
        ("dimension=0", "dimension must be above 0"),
    ],
)
def test_options_without_sense_are_refused(options: str, message: str) -> None:
    with pytest.raises(BenchError, match=message):
        canonical(parse(f"full(representation=multi({options}))"), Registry())


@pytest.mark.parametrize(
    ("strategy", "family", "names"),
    [
        ("lora", "bert", tuple(CLAUSES)),
        ("lora", "modernbert", OF_THE_ARCHITECTURE),
        ("full", "bert", OF_THE_ARCHITECTURE),
        *(("full", family, ("trains", "batch")) for family in (*MODEL_FAMILIES, "qwen3") if family != "bert"),
    ],
)
def test_the_contract_holds(
    strategy: str,
    family: str,
    names: tuple[str, ...],
    tiny_base: Callable[[str], BaseModel],
    keeps_contract: Callable[..., None],
) -> None:
    keeps_contract(f"{strategy}(representation=multi)", tiny_base(family), names)
