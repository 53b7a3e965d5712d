"""Search over token vectors: MaxSim without padding, in blocks, in two stages, in fewer bytes."""

from __future__ import annotations

import numpy as np
import pytest

from bench.retrieval import token_index
from bench.retrieval.token_index import TokenIndex, TokenVectors

DIMENSION = 16


def texts(count: int, seed: int, most: int = 9) -> list[np.ndarray]:
    """Unit vectors of texts with 1 to `most` tokens."""
    rng = np.random.default_rng(seed)
    found = [rng.standard_normal((rng.integers(1, most + 1), DIMENSION)).astype(np.float32) for _ in range(count)]
    return [each / np.linalg.norm(each, axis=1, keepdims=True) for each in found]


def packed(vectors: list[np.ndarray]) -> TokenVectors:
    return TokenVectors.packed(reversed(list(enumerate(vectors))), len(vectors))


def naive(query: np.ndarray, document: np.ndarray) -> float:
    return sum(max(float(np.dot(token, other)) for other in document) for token in query)


def found(index: TokenIndex, queries: list[np.ndarray], top_k: int = 5) -> list[list[tuple[str, float]]]:
    return [hits for _, hits in index.search([f"q{n}" for n in range(len(queries))], packed(queries), top_k)]


DOCUMENTS, QUERIES = texts(40, 1), texts(7, 2)
IDS = [f"d{n:02}" for n in range(len(DOCUMENTS))]


def expected(top_k: int = 5) -> list[list[tuple[str, float]]]:
    scored = [[(doc, naive(query, each)) for doc, each in zip(IDS, DOCUMENTS, strict=True)] for query in QUERIES]
    return [sorted(hits, key=lambda hit: -hit[1])[:top_k] for hits in scored]


def assert_same(hits: list[list[tuple[str, float]]], others: list[list[tuple[str, float]]], within: float) -> None:
    for one, other in zip(hits, others, strict=True):
        assert [doc for doc, _ in one] == [doc for doc, _ in other]
        assert [score for _, score in one] == pytest.approx([score for _, score in other], abs=within)


@pytest.mark.parametrize("block", [1, 7, 10_000])
def test_search_ranks_by_maxsim_whatever_the_blocks(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_index, "_BLOCK_TOKENS", block)
    monkeypatch.setattr(token_index, "_QUERY_TOKENS", block)
    index = TokenIndex(IDS, packed(DOCUMENTS))
    assert_same(found(index, QUERIES), expected(), 1e-5)
    assert index.search_recall is None
    tokens = sum(map(len, DOCUMENTS))
    assert index.nbytes == 4 * DIMENSION * tokens + 8 * (len(DOCUMENTS) + 1)


@pytest.mark.parametrize("block", [5, 10_000])
def test_two_stages_are_exact_where_all_documents_are_candidates(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_index, "_BLOCK_TOKENS", block)
    monkeypatch.setattr(token_index, "_QUERIES", block)
    index = TokenIndex(IDS, packed(DOCUMENTS), exact=10, candidates=len(DOCUMENTS))
    assert index.pooled is not None
    assert_same(found(index, QUERIES), expected(), 1e-5)
    assert index.search_recall == 1.0


def test_two_stages_score_candidates_alone_and_tell_what_they_miss() -> None:
    index = TokenIndex(IDS, packed(DOCUMENTS), exact=10, candidates=15)
    exact = TokenIndex(IDS, packed(DOCUMENTS))
    scores = [dict(hits) for hits in found(exact, QUERIES, len(IDS))]
    hits = found(index, QUERIES, 2)
    for query, row in enumerate(hits):
        assert len(row) == 2
        for doc, score in row:
            assert score == pytest.approx(scores[query][doc], abs=1e-5)
    means = np.stack([each.mean(axis=0) / np.linalg.norm(each.mean(axis=0)) for each in DOCUMENTS])
    shares = []
    for query, vectors in enumerate(QUERIES):
        pooled = vectors.mean(axis=0)
        chosen = set(np.argsort(-(means @ pooled))[: max(15, 18)])
        best = sorted(range(len(IDS)), key=lambda n: -scores[query][IDS[n]])[:10]
        shares.append(len(chosen & set(best)) / 10)
    assert index.search_recall == pytest.approx(np.mean(shares)) and 0 < index.search_recall < 1
    assert index.nbytes == exact.nbytes + 4 * DIMENSION * len(IDS)


@pytest.mark.parametrize(("store", "within", "bytes_per_number"), [("fp16", 0.004, 2), ("int8", 0.04, 1)])
def test_fewer_bytes_change_scores_little(store: str, within: float, bytes_per_number: int) -> None:
    index, plain = TokenIndex(IDS, packed(DOCUMENTS), store), TokenIndex(IDS, packed(DOCUMENTS))
    scores, exact = (dict(found(each, QUERIES, len(IDS))[0]) for each in (index, plain))
    differences = [abs(scores[doc] - exact[doc]) for doc in IDS]
    assert 0 < max(differences) < within
    tokens = sum(map(len, DOCUMENTS))
    scales = 4 * tokens if store == "int8" else 0
    assert index.nbytes == bytes_per_number * DIMENSION * tokens + scales + 8 * (len(IDS) + 1)


def test_an_empty_index_is_refused() -> None:
    with pytest.raises(ValueError, match="empty index"):
        found(TokenIndex([], packed([])), QUERIES)
