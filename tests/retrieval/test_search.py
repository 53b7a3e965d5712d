"""Search: exact, in trec_eval's order; BM25 as its formula says."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bench.data.dataset import Corpus
from bench.errors import BenchError
from bench.retrieval.exact import nearest
from bench.retrieval.index import VectorIndex
from bench.retrieval.lexical import build_lexical
from bench.retrieval.lexical_terms import english as tokenize

CORPUS = Corpus(
    ["d1", "d2", "d3", "d4", "d5", "d6", "d7"],
    [
        "Salted bread is baked in a stone oven",
        "Bread without salt is common in Tuscany",
        "A river carries salt to the sea",
        "The oven was invented long ago",
        "Rivers and bridges",
        "Running shoes for runners",
        "",
    ],
)


@pytest.mark.parametrize("block", [3, 64])
def test_blocks_give_the_result_of_one_product(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr("bench.retrieval.exact._BLOCK_DOCS", block)
    rng = np.random.default_rng(0)
    documents, queries = rng.normal(size=(50, 8)).astype("f4"), rng.normal(size=(7, 8)).astype("f4")
    scores, positions = nearest(documents, queries, 10)
    expected = np.argsort(-(queries @ documents.T), axis=1)[:, :10]
    np.testing.assert_array_equal(positions, expected)
    np.testing.assert_allclose(scores, np.take_along_axis(queries @ documents.T, expected, axis=1), rtol=1e-5)


def test_a_corpus_smaller_than_k_is_returned_whole() -> None:
    index = VectorIndex(["a", "b"], np.eye(2, dtype=np.float32))
    ranking = index.search(["q"], np.array([[1.0, 0.5]], dtype=np.float32), top_k=100)
    assert [doc for doc, _ in ranking["q"]] == ["a", "b"]
    assert index.nbytes == 16


def test_ties_are_ordered_by_document_id_descending() -> None:
    index = VectorIndex(["a", "c", "b"], np.ones((3, 2), dtype=np.float32))
    ranking = index.search(["q"], np.ones((1, 2), dtype=np.float32), top_k=3)
    assert [doc for doc, _ in ranking["q"]] == ["c", "b", "a"]


def test_tokens_are_stems_without_stop_words() -> None:
    assert tokenize("The runners are RUNNING, in salted breads!") == ["runner", "run", "salt", "bread"]


def test_scores_are_those_of_lucenes_formula() -> None:
    index = build_lexical(CORPUS, k1=1.2, b=0.75)
    tokens = [tokenize(text) for text in CORPUS.texts]
    mean = sum(len(t) or 1 for t in tokens) / len(tokens)  # an empty text is indexed as one empty token
    expected = []
    for document in tokens:
        score = 0.0
        for term in ("bread", "salt"):
            df = sum(term in other for other in tokens)
            idf = math.log(1 + (len(tokens) - df + 0.5) / (df + 0.5))
            tf = document.count(term)
            score += idf * tf / (tf + 1.2 * (1 - 0.75 + 0.75 * len(document) / mean))
        expected.append(score)
    np.testing.assert_allclose(index.scores("bread and salt"), expected, rtol=1e-5)


def test_documents_without_a_shared_term_are_not_found() -> None:
    ranking = build_lexical(CORPUS).search({"q": "bread", "none": "zebra", "empty": "the"}, top_k=100)
    assert {doc for doc, _ in ranking["q"]} == {"d1", "d2"}
    assert ranking["none"] == [] and ranking["empty"] == []


def test_both_engines_rank_alike_under_the_same_formula_and_tokens() -> None:
    from rank_bm25 import BM25Okapi

    tokens = [tokenize(text) or [""] for text in CORPUS.texts]
    query = "salt bread from the oven by the river"
    lucene = build_lexical(CORPUS, engine="bm25s")
    classic = build_lexical(CORPUS, engine="rank_bm25")
    # The two differ in the inverse document frequency and a constant factor k1 + 1. With Lucene's frequencies put into
    # the classic library, scores agree and so does the order.
    for term in classic.engine.idf:
        df = sum(term in document for document in tokens)
        classic.engine.idf[term] = math.log(1 + (len(tokens) - df + 0.5) / (df + 0.5))
    assert isinstance(classic.engine, BM25Okapi)
    np.testing.assert_allclose(classic.scores(query), lucene.scores(query) * 2.5, rtol=1e-4)
    ranked = [[doc for doc, _ in index.search({"q": query}, 10)["q"]] for index in (lucene, classic)]
    assert ranked[0] == ranked[1]


def test_ties_at_the_cut_are_broken_as_trec_eval_breaks_them() -> None:
    corpus = Corpus([f"d{n}" for n in range(9)], ["salt and bread"] * 9)
    ranking = build_lexical(corpus).search({"q": "salt"}, top_k=3)
    assert [doc for doc, _ in ranking["q"]] == ["d8", "d7", "d6"]


def test_an_unknown_engine_is_refused() -> None:
    with pytest.raises(BenchError, match="bm25s, rank_bm25"):
        build_lexical(CORPUS, engine="lucene")
