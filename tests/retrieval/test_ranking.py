"""Rankings keep trec_eval's order, and a TREC run can be written, read back and read by others."""

from __future__ import annotations

import gzip
import tracemalloc
from pathlib import Path

import ir_measures
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import DataError
from bench.retrieval.ranking import PackedHits, Ranking, read_trec, trec_order, write_trec


def test_ties_go_to_the_greater_document_id() -> None:
    assert trec_order([("d1", 0.5), ("d10", 0.5), ("d2", 0.5), ("d0", 0.9)]) == [
        ("d0", 0.9), ("d2", 0.5), ("d10", 0.5), ("d1", 0.5),
    ]  # fmt: skip


def test_a_ranking_from_a_run_is_sorted() -> None:
    ranking = Ranking.from_run({"q": {"a": 1, "c": 2, "b": 2}})
    assert ranking["q"] == [("c", 2.0), ("b", 2.0), ("a", 1.0)]
    assert ranking.as_run() == {"q": {"c": 2.0, "b": 2.0, "a": 1.0}}


def test_a_ranking_counts_and_lists_its_queries() -> None:
    ranking = Ranking({"q1": [("a", 1.0)], "q2": []})
    assert (len(ranking), list(ranking)) == (2, ["q1", "q2"])


def test_the_top_is_cut_and_an_empty_query_stays() -> None:
    ranking = Ranking({"q1": [("a", 3.0), ("b", 2.0), ("c", 1.0)], "q2": []})
    assert ranking.top(2).hits == {"q1": [("a", 3.0), ("b", 2.0)], "q2": []}


def test_only_the_document_with_the_query_s_own_id_is_dropped() -> None:
    ranking = Ranking({"1": [("1", 3.0), ("2", 2.0)], "2": [("1", 1.0)]})
    assert ranking.without_same_id().hits == {"1": [("2", 2.0)], "2": [("1", 1.0)]}


ids = st.text(st.characters(categories=["L", "N"], include_characters="-_:."), min_size=1, max_size=8)
runs = st.dictionaries(
    ids, st.dictionaries(ids, st.floats(-1e6, 1e6, width=32), min_size=1, max_size=6), min_size=1, max_size=4
)


@given(run=runs)
def test_float32_scores_survive_a_file(
    run: dict[str, dict[str, float]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("run") / "ranking.trec.gz"
    ranking = Ranking.from_run(run)
    write_trec(ranking, path, "lora")
    back = read_trec(path)
    for query in ranking:
        assert [doc for doc, _ in back[query]] == [doc for doc, _ in ranking[query]]
        assert [score for _, score in back[query]] == pytest.approx([score for _, score in ranking[query]], rel=1e-8)


def test_other_tools_read_the_run(tmp_path: Path) -> None:
    path = tmp_path / "ranking.trec.gz"
    write_trec(Ranking.from_run({"q1": {"a": 0.25, "b": 0.5}}), path, "hybrid(lora, method=rrf)")
    plain = gzip.decompress(path.read_bytes()).decode()
    assert [(d.query_id, d.doc_id, d.score) for d in ir_measures.read_trec_run(plain)] == [
        ("q1", "b", 0.5), ("q1", "a", 0.25),
    ]  # fmt: skip


def test_ids_with_spaces_survive(tmp_path: Path) -> None:
    path = tmp_path / "ranking.trec.gz"
    ranking = Ranking({"query 1": [("New York", 1.0)]})
    write_trec(ranking, path, "bm25")
    assert read_trec(path).hits == ranking.hits


def test_the_same_ranking_gives_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ranking = Ranking({"q": [("a", 1.0)]})
    write_trec(ranking, tmp_path / "one.trec.gz", "x")
    monkeypatch.setattr("time.time", lambda: 4e9)
    write_trec(ranking, tmp_path / "two.trec.gz", "x")
    assert (tmp_path / "one.trec.gz").read_bytes() == (tmp_path / "two.trec.gz").read_bytes()


def test_a_plain_run_of_another_engine_is_read_and_put_in_order(tmp_path: Path) -> None:
    path = tmp_path / "engine.run"
    path.write_text("q1 Q0 a 1 2.0 lucene\n\nq1 Q0 b 2 3.0 lucene\r\n", encoding="utf-8")
    assert read_trec(path).hits == {"q1": [("b", 3.0), ("a", 2.0)]}


@pytest.mark.parametrize("line", ["q1 Q0 b 2 lucene", "q1 Q0 b 2 high lucene", "q1 Q0 b 2 1.0 lucene extra"])
def test_the_error_names_a_line_that_is_not_of_a_run(tmp_path: Path, line: str) -> None:
    path = tmp_path / "engine.run"
    path.write_text(f"q1 Q0 a 1 2.0 lucene\n{line}\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"engine\.run:2: not a line of a TREC run"):
        read_trec(path)


def test_packed_hits_are_the_hits_in_less_memory() -> None:
    hits = {"q2": [("b", 0.1), ("a", -3.0)], "q1": [], "q3": [("c", 1e300)]}
    packed = PackedHits(iter(hits.items()))
    assert dict(packed) == hits and list(packed) == ["q2", "q1", "q3"] and len(packed) == 3
    assert packed == hits and Ranking(packed) == Ranking(hits)
    assert packed.get("q9") is None and "q1" in packed
    ids = [f"doc{n}" for n in range(1000)]
    tracemalloc.start()
    many = PackedHits((f"q{n}", [(doc, float(n)) for doc in ids[:100]]) for n in range(3000))
    used, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(many["q2999"]) == 100 and used < 24 * 300_000 and peak < 40 * 300_000
