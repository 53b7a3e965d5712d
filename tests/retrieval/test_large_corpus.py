"""Corpora too large for exact search, or for memory."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from bench.retrieval import index as index_module
from bench.retrieval.approximate import TARGET_RECALL, ApproximateSearch
from bench.retrieval.exact import nearest
from bench.retrieval.index import VectorIndex

SCALE = Path(__file__).resolve().parents[2] / "benchmarks" / "scale.py"


def clustered(n: int, seed: int = 0) -> np.ndarray:
    """Return (n, 16) unit vectors around twenty subjects."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(7).normal(size=(20, 16))
    vectors = centres[rng.integers(20, size=n)] + rng.normal(size=(n, 16))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_approximate_search_reaches_its_stated_recall_with_exact_scores() -> None:
    documents, queries = clustered(4000), clustered(80, seed=1)
    search = ApproximateSearch(documents)
    scores, positions = search.search(queries, 10)
    exact_scores, exact = nearest(documents, queries, 10)
    shares = [len(np.intersect1d(*pair)) / 10 for pair in zip(exact, positions, strict=True)]
    assert search.recall is not None
    assert search.recall >= TARGET_RECALL
    assert abs(np.mean(shares) - search.recall) < 0.02
    same = positions == exact
    assert same.mean() > 0.95
    np.testing.assert_allclose(scores[same], exact_scores[same], rtol=1e-5)
    assert search.probes < search.lists


def test_more_lists_are_probed_until_the_recall_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.retrieval.approximate._FIRST_PROBES", 1)
    rng = np.random.default_rng(0)
    documents, queries = rng.normal(size=(3000, 16)).astype("f4"), rng.normal(size=(64, 16)).astype("f4")
    search = ApproximateSearch(documents)
    search.search(queries, 10)
    assert search.probes > 1
    assert search.recall is not None
    assert search.recall >= TARGET_RECALL or search.probes == search.lists


def test_an_index_is_exact_below_its_size_and_approximate_above(monkeypatch: pytest.MonkeyPatch) -> None:
    documents, queries = clustered(3000), clustered(20, seed=2)
    ids = [f"d{number:04d}" for number in range(3000)]
    names = [f"q{number}" for number in range(20)]
    exact = VectorIndex(ids, documents, seconds=1.0)
    assert exact.search_recall is None
    assert (exact.seconds, exact.nbytes) == (1.0, documents.nbytes)
    monkeypatch.setattr(index_module, "EXACT_BYTES", documents.nbytes - 1)
    rough = VectorIndex(ids, documents, seconds=1.0)
    found, expected = rough.search(names, queries, 10), exact.search(names, queries, 10)
    assert rough.search_recall is not None
    assert rough.search_recall >= TARGET_RECALL
    assert rough.seconds > 1.0, "building it is part of what indexing costs"
    assert rough.nbytes > exact.nbytes
    assert np.mean([found[name][0] == pytest.approx(expected[name][0]) for name in names]) > 0.9
    assert all(len(found[name]) == 10 for name in names)


def test_a_small_corpus_is_returned_whole_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_module, "EXACT_BYTES", 0)
    documents = clustered(50)
    ranking = VectorIndex([str(number) for number in range(50)], documents).search(["q"], clustered(1, seed=3), 100)
    assert sorted(int(doc) for doc, _ in ranking["q"]) == list(range(50))


def test_read_only_memory_maps_are_searched_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    documents, queries = clustered(500), clustered(4, seed=4)
    np.save(tmp_path / "vectors.npy", documents)
    mapped = np.load(tmp_path / "vectors.npy", mmap_mode="r")
    monkeypatch.setattr("bench.retrieval.exact._BLOCK_DOCS", 64)
    for found, expected in zip(nearest(mapped, queries, 7), nearest(documents, queries, 7), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_equal_documents_at_the_cut_are_chosen_by_id() -> None:
    index = VectorIndex([f"d{number}" for number in range(8)], np.ones((8, 2), dtype=np.float32))
    ranking = index.search(["q"], np.ones((1, 2), dtype=np.float32), top_k=3)
    assert [doc for doc, _ in ranking["q"]] == ["d7", "d6", "d5"]


def test_memory_grows_by_little_more_than_the_vectors_themselves() -> None:
    """The small form of `benchmarks/scale.py`: the whole way from streamed texts to a ranking, in its own process."""
    asked = {"documents": 60_000, "queries": 100, "strategies": 2, "faiss": False, "threads": 1}
    done = subprocess.run(
        [sys.executable, str(SCALE), "--one", json.dumps(asked)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    vectors = 60_000 * 384 * 4
    assert found["right_first"] > 0.95
    assert found["peak_bytes"] - found["base_bytes"] < 2 * vectors + 250e6, "two tables at once, and room to work"


def test_growth_is_an_exponent(load_script: Callable[[str], ModuleType]) -> None:
    scale = load_script("benchmarks/scale.py")
    rows = [{"documents": 10, "s": 2.0}, {"documents": 1000, "s": 200.0}]
    assert scale.growth(rows, "s", "documents") == pytest.approx(1.0)


def test_every_document_is_in_the_list_of_its_nearest_centroid() -> None:
    import faiss

    documents = clustered(3000)
    index = ApproximateSearch(documents)._index
    inverted = faiss.downcast_InvertedLists(index.invlists)
    lists = [
        faiss.rev_swig_ptr(inverted.get_ids(number), inverted.list_size(number)).tolist()
        for number in range(index.nlist)
    ]
    assert sorted(document for each in lists for document in each) == list(range(len(documents)))
    own = index.quantizer.assign(documents, 1)[:, 0].tolist()
    assert all(document in lists[number] for document, number in enumerate(own))
