"""The inverted index: exact scores in blocks, trec_eval's order, bytes of what is stored."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_matrix

import bench.retrieval.term_index as module
from bench.retrieval.ranking import trec_order
from bench.retrieval.term_index import TermIndex, weights_table

TERMS = 40


def weights(texts: int, seed: int) -> np.ndarray:
    """Weights (texts, terms), where four of five are zero."""
    random = np.random.default_rng(seed)
    return (random.random((texts, TERMS)) * (random.random((texts, TERMS)) < 0.2)).astype(np.float32)


@pytest.mark.parametrize("scores_at_once", [1, 100, 10**6])
def test_search_is_exact_whatever_the_block(scores_at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BLOCK_SCORES", scores_at_once)
    documents, queries = weights(50, 1), weights(7, 2)
    ids = [f"d{number}" for number in range(50)]
    index = TermIndex(ids, csr_matrix(documents))
    found = dict(index.search([str(number) for number in range(7)], csr_matrix(queries), 5))
    assert list(found) == [str(number) for number in range(7)]
    for query, row in zip(found, queries @ documents.T, strict=True):
        expected = trec_order(zip(ids, row.tolist(), strict=True))[:5]
        assert [doc for doc, _ in found[query]] == [doc for doc, _ in expected]
        assert [score for _, score in found[query]] == pytest.approx([score for _, score in expected], rel=1e-5)


def test_equal_scores_are_ordered_by_id_and_no_shared_term_scores_zero() -> None:
    documents = csr_matrix(np.array([[1, 0], [1, 0], [0, 2], [0, 0]], dtype=np.float32))
    index = TermIndex(["a", "b", "c", "d"], documents)
    ((_, hits),) = index.search(["q"], csr_matrix(np.array([[3, 0]], dtype=np.float32)), 4)
    assert hits == [("b", 3.0), ("a", 3.0), ("d", 0.0), ("c", 0.0)]
    ((_, nothing),) = index.search(["q"], csr_matrix((1, 2), dtype=np.float32), 2)
    assert nothing == [("d", 0.0), ("c", 0.0)]


def test_bytes_are_those_of_what_is_not_zero() -> None:
    documents = weights(30, 3)
    index = TermIndex([str(number) for number in range(30)], csr_matrix(documents))
    assert index.nbytes == 8 * np.count_nonzero(documents) + 4 * (TERMS + 1)
    assert index.terms_per_document == np.count_nonzero(documents) / 30


def test_a_table_has_the_order_of_the_texts_whatever_the_batches() -> None:
    rows = weights(9, 4)
    order = [[7, 1, 3], [0], [8, 2, 6, 5, 4]]
    table = weights_table(((places, rows[places]) for places in order), 9)
    np.testing.assert_array_equal(table.toarray(), rows)
    assert table.dtype == np.float32 and table.nnz == np.count_nonzero(rows)
    assert weights_table([], 0).shape[0] == 0


def test_an_empty_index_is_not_searched() -> None:
    with pytest.raises(ValueError, match="empty index"):
        list(TermIndex([], csr_matrix((0, 3), dtype=np.float32)).search(["q"], csr_matrix((1, 3)), 1))
