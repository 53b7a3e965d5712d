"""Compressed vectors: bytes a document, what each format loses, and the order of binary candidates."""

from __future__ import annotations

import numpy as np
import pytest

from bench.errors import BenchError
from bench.retrieval.compressed import STORES, CompressedIndex
from bench.retrieval.index import VectorIndex
from bench.retrieval.ranking import Ranking


def _unit(rng: np.random.Generator, n: int, dimension: int = 96) -> np.ndarray:
    vectors = rng.normal(size=(n, dimension)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def corpus() -> tuple[list[str], np.ndarray, list[str], np.ndarray]:
    """Two thousand documents, and forty queries that are noisy copies of one document each."""
    rng = np.random.default_rng(0)
    documents = _unit(rng, 2000)
    queries = documents[:40] + 0.15 * rng.normal(size=(40, documents.shape[1])).astype(np.float32)
    return (
        [f"d{place}" for place in range(len(documents))],
        documents,
        [f"q{place}" for place in range(40)],
        queries / np.linalg.norm(queries, axis=1, keepdims=True),
    )


def _overlap(first: Ranking, second: Ranking, k: int = 10) -> float:
    shares = [len({doc for doc, _ in first[q][:k]} & {doc for doc, _ in second[q][:k]}) / k for q in first]
    return float(np.mean(shares))


@pytest.mark.parametrize(
    ("store", "rescore", "expected"),
    [
        ("fp32", "codes", 4 * 96),
        ("fp16", "codes", 2 * 96),
        ("int8", "codes", 96),
        ("int4", "codes", 48),
        ("binary", "codes", 12),
        ("binary", "none", 12),
        ("binary", "int8", 12 + 96),
    ],
)
def test_bytes_a_document_are_those_of_the_codes(
    corpus: tuple[list[str], np.ndarray, list[str], np.ndarray], store: str, rescore: str, expected: int
) -> None:
    ids, documents, _, _ = corpus
    assert CompressedIndex(ids, documents, store, rescore).nbytes == expected * len(ids)


def test_fp32_ranks_as_exact_search_does(corpus: tuple[list[str], np.ndarray, list[str], np.ndarray]) -> None:
    ids, documents, query_ids, queries = corpus
    exact = VectorIndex(ids, documents).search(query_ids, queries, 20)
    found = CompressedIndex(ids, documents, "fp32").search(query_ids, queries, 20)
    for query in query_ids:
        assert [doc for doc, _ in found[query]] == [doc for doc, _ in exact[query]]
        assert [score for _, score in found[query]] == pytest.approx([score for _, score in exact[query]], abs=1e-6)


def test_fewer_bits_keep_less_of_the_exact_ranking(
    corpus: tuple[list[str], np.ndarray, list[str], np.ndarray],
) -> None:
    ids, documents, query_ids, queries = corpus
    exact = VectorIndex(ids, documents).search(query_ids, queries, 10)
    kept = [_overlap(exact, CompressedIndex(ids, documents, store).search(query_ids, queries, 10)) for store in STORES]
    assert kept == sorted(kept, reverse=True) and kept[2] > 0.95 > kept[-1]


def test_a_second_stage_repairs_the_order_of_signs(
    corpus: tuple[list[str], np.ndarray, list[str], np.ndarray],
) -> None:
    ids, documents, query_ids, queries = corpus
    exact = VectorIndex(ids, documents).search(query_ids, queries, 10)
    hamming, signs, second = (
        _overlap(exact, CompressedIndex(ids, documents, "binary", rescore).search(query_ids, queries, 10))
        for rescore in ("none", "codes", "int8")
    )
    assert hamming < signs < second


def test_all_candidates_rescored_in_fp32_are_exact_search(
    corpus: tuple[list[str], np.ndarray, list[str], np.ndarray],
) -> None:
    ids, documents, query_ids, queries = corpus
    index = CompressedIndex(ids, documents, "binary", "fp32", oversample=len(ids))
    exact = VectorIndex(ids, documents).search(query_ids, queries, 10)
    assert _overlap(exact, index.search(query_ids, queries, 10)) == 1


@pytest.mark.parametrize("store", STORES)
def test_integer_codes_span_each_dimension_and_survive_a_constant_one(store: str) -> None:
    rng = np.random.default_rng(1)
    vectors = _unit(rng, 50, 10)  # ten bits do not fill two bytes
    vectors[:, 3], vectors[:, 4] = 0.0, 100 * vectors[:, 4]
    found = CompressedIndex([str(place) for place in range(50)], vectors, store).search(["q"], vectors[:1], 50)
    assert len(found["q"]) == 50 and np.isfinite([score for _, score in found["q"]]).all()


def test_a_corpus_smaller_than_the_cut_is_ranked_whole() -> None:
    vectors = _unit(np.random.default_rng(2), 3, 16)
    for store in STORES:
        assert len(CompressedIndex(["a", "b", "c"], vectors, store).search(["q"], vectors[:1], 100)["q"]) == 3


@pytest.mark.parametrize(("store", "rescore"), [("int3", "codes"), ("binary", "int3"), ("int8", "fp32")])
def test_a_format_that_makes_no_sense_is_refused(store: str, rescore: str) -> None:
    with pytest.raises(BenchError):
        CompressedIndex(["a"], np.ones((1, 8), dtype=np.float32), store, rescore)
