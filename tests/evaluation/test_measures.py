"""The scorer follows trec_eval; ir_measures and beir check it on rankings that make scorers disagree."""

from __future__ import annotations

import copy
import math
import shutil

import ir_measures
import numpy as np
import pytest
from beir.retrieval import evaluation as beir_evaluation
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import BenchError, DataError
from bench.evaluation.beir_scorer import beir_means
from bench.evaluation.measures import PerQuery, evaluate, parse_measure
from bench.retrieval.ranking import Ranking

TREC_NAMES = {
    "ndcg@10": "nDCG@10", "ndcg@100": "nDCG@100", "mrr@1000": "RR", "map@100": "AP@100", "recall@1": "R@1",
    "recall@5": "R@5", "recall@10": "R@10", "recall@100": "R@100", "precision@10": "P@10",
}  # fmt: skip

IDS = [f"{kind}{number}" for kind in "dq" for number in range(12)]


@st.composite
def judged_rankings(draw: st.DrawFn) -> tuple[dict[str, dict[str, float]], dict[str, dict[str, int]]]:
    """A run with few distinct scores (ties), documents named like queries, queries without results or judgements."""
    scores = st.sampled_from([0.0, 0.1, 0.5, 0.5 + 1e-12, 1 / 3, -2.0, 7.25])
    queries = [f"q{number}" for number in range(6)]
    run = {
        query: draw(st.dictionaries(st.sampled_from(IDS), scores, max_size=24))
        for query in draw(st.lists(st.sampled_from(queries), unique=True))
    }
    judged = draw(st.lists(st.sampled_from(queries), unique=True, min_size=1))
    grades = st.dictionaries(st.sampled_from(IDS), st.integers(0, 3), min_size=1, max_size=8)
    return run, {query: draw(grades) for query in judged}


@settings(max_examples=150, deadline=None)
@given(judged_rankings())
def test_agrees_with_ir_measures_query_by_query(data) -> None:
    run, qrels = data
    ours = evaluate(Ranking.from_run(run), qrels, list(TREC_NAMES))
    by_name = {name: key for key, name in TREC_NAMES.items()}
    theirs = ir_measures.iter_calc([ir_measures.parse_measure(name) for name in by_name], qrels, run)
    seen = 0
    for metric in theirs:
        key = by_name[str(metric.measure)]
        assert ours[key][ours.positions[metric.query_id]] == pytest.approx(metric.value, abs=1e-6)
        seen += 1
    assert seen == len(qrels) * len(TREC_NAMES)


@settings(max_examples=100, deadline=None)
@given(judged_rankings())
def test_mrr_cut_at_ten_agrees_with_ir_measures_once_ties_are_broken(data) -> None:
    """Its RR@10 is MS MARCO's script, which ranks ties by ascending id; its RR is trec_eval's. We take trec_eval's."""
    run, qrels = data
    strict = {
        query: {doc: -float(rank) for rank, (doc, _) in enumerate(sorted(docs.items(), key=_trec_key, reverse=True))}
        for query, docs in run.items()
    }
    ours = evaluate(Ranking.from_run(run), qrels, ["mrr@10"])
    theirs = {m.query_id: m.value for m in ir_measures.iter_calc([ir_measures.RR @ 10], qrels, strict)}
    assert ours["mrr@10"] == pytest.approx([theirs[query] for query in ours.queries], abs=1e-6)


def _trec_key(hit: tuple[str, float]) -> tuple[np.float32, str]:
    return np.float32(hit[1]), hit[0]


def test_mrr_of_ties_follows_trec_eval_and_not_ms_marco() -> None:
    qrels, run = {"q": {"a": 1}}, {"q": {"a": 1.0, "b": 1.0}}
    theirs = {str(m.measure): m.value for m in ir_measures.iter_calc([ir_measures.RR @ 10, ir_measures.RR], qrels, run)}
    assert theirs == {"RR@10": 1.0, "RR": 0.5}
    assert evaluate(Ranking.from_run(run), qrels)["mrr@10"][0] == 0.5


@settings(max_examples=100, deadline=None)
@given(judged_rankings(), st.booleans())
def test_agrees_with_beir_on_answered_queries(data, drop: bool) -> None:
    """beir averages over the queries that have results; we average over all judged ones. Per query they are equal."""
    run, qrels = data
    answered = {
        query: docs for query, docs in run.items() if query in qrels and set(docs) - ({query} if drop else set())
    }
    if not answered:
        return
    ours = evaluate(Ranking.from_run(run), qrels, drop_same_id=drop)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(beir_evaluation, "round", lambda value, _digits: value, raising=False)
        theirs = beir_evaluation.EvaluateRetrieval.evaluate(
            qrels, copy.deepcopy(answered), [1, 5, 10, 100], ignore_identical_ids=drop
        )
    flat = {name.lower(): value for table in theirs for name, value in table.items()}
    for key in ("ndcg@10", "ndcg@100", "map@100", "recall@1", "recall@5", "recall@10", "recall@100", "precision@10"):
        name = key.replace("precision", "p")
        assert ours.mean(key, among=answered) == pytest.approx(flat[name], abs=1e-6)
        assert ours.mean(key) * len(qrels) == pytest.approx(flat[name] * len(answered), abs=1e-6)


def test_the_second_opinion_is_beirs_scaled_to_all_judged_queries() -> None:
    qrels = {"q1": {"a": 1, "q1": 1}, "q2": {"b": 2}, "q3": {"b": 1}}
    ranking = Ranking({"q1": [("q1", 3.0), ("c", 2.0), ("a", 1.0)], "q2": [("b", 1.0)], "q3": []})
    names = ["ndcg@10", "map@10", "recall@1", "recall@10", "precision@10", "mrr@10", "Bpref"]
    for drop in (False, True):
        means = beir_means(ranking, qrels, names, drop)
        assert list(means) == names[:5]
        ours = evaluate(ranking, qrels, names[:5], drop)
        assert means == {name: pytest.approx(ours.mean(name), abs=1e-5) for name in names[:5]}
    assert ranking["q1"][0] == ("q1", 3.0), "beir drops documents from what it is given"
    assert beir_means(Ranking({}), qrels, names) == {}


def test_a_judged_query_without_results_counts_zero_and_beir_drops_it() -> None:
    qrels = {"q1": {"a": 1}, "q2": {"b": 1}}
    run = {"q1": {"a": 1.0}}
    ndcg, *_ = beir_evaluation.EvaluateRetrieval.evaluate(qrels, copy.deepcopy(run), [10])
    assert ndcg["NDCG@10"] == 1.0
    assert evaluate(Ranking.from_run(run), qrels).mean("ndcg@10") == 0.5
    assert evaluate(Ranking({"q1": [("a", 1.0)], "q2": []}), qrels).mean("ndcg@10") == 0.5


def test_mrr_of_ties_follows_trec_eval_and_not_the_order_of_insertion() -> None:
    qrels = {"q": {"a": 1}}
    run = {"q": {"a": 1.0, "b": 1.0, "c": 1.0}}
    assert beir_evaluation.EvaluateRetrieval.evaluate_custom(qrels, copy.deepcopy(run), [10], "mrr") == {"MRR@10": 1.0}
    assert evaluate(Ranking.from_run(run), qrels)["mrr@10"][0] == pytest.approx(1 / 3)


def test_a_constant_scorer_gains_nothing_from_its_ties() -> None:
    docs = [f"d{number:03}" for number in range(200)]
    qrels = {"q": {"d000": 1}}
    scores = evaluate(Ranking({"q": [(doc, 0.0) for doc in docs]}), qrels)
    assert scores.mean("mrr@10") == 0 and scores.mean("recall@100") == 0


def test_scores_that_differ_only_beyond_32_bits_are_ties_in_any_order() -> None:
    qrels = {"q": {"b": 1}}
    for hits in ([("a", 0.5 + 1e-12), ("b", 0.5)], [("b", 0.5), ("a", 0.5 + 1e-12)]):
        for measure in ("mrr@10", "recall@1", "Success@1"):
            assert evaluate(Ranking({"q": hits}), qrels, [measure])[parse_measure(measure).key][0] == 1
    assert evaluate(Ranking({"q": [("a", 0.5 + 1e-6), ("b", 0.5)]}), qrels)["recall@1"][0] == 0


def test_mrr_is_cut_at_ten_and_ndcg_has_linear_gain() -> None:
    ninth = Ranking({"q": [(f"d{number}", -float(number)) for number in range(9)] + [("hit", -9.0)]})
    assert evaluate(ninth, {"q": {"hit": 1}}, ["mrr@10", "mrr@9"]).means() == {
        "mrr@10": pytest.approx(0.1),
        "mrr@9": 0.0,
    }
    graded = evaluate(Ranking({"q": [("one", 2.0), ("three", 1.0)]}), {"q": {"one": 1, "three": 3}}, ["ndcg@10"])
    expected = (1 + 3 / math.log2(3)) / (3 + 1 / math.log2(3))
    assert graded.mean("ndcg@10") == pytest.approx(expected, abs=1e-9)


def test_the_querys_own_document_is_dropped_only_on_request() -> None:
    ranking = Ranking({"q1": [("q1", 9.0), ("a", 1.0)]})
    assert evaluate(ranking, {"q1": {"a": 1}}, ["recall@1"]).mean("recall@1") == 0
    assert evaluate(ranking, {"q1": {"a": 1}}, ["recall@1"], drop_same_id=True).mean("recall@1") == 1
    assert evaluate(ranking, {"q1": {"q1": 1}}, ["recall@1"]).mean("recall@1") == 1


def test_unjudged_queries_and_documents_do_not_count() -> None:
    ranking = Ranking({"q1": [("x", 2.0), ("a", 1.0)], "other": [("a", 1.0)]})
    scores = evaluate(ranking, {"q1": {"a": 1}})
    assert scores.queries == ("q1",)
    assert scores.mean("mrr@10") == 0.5 and scores.mean("precision@10") == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("name", "key"),
    [("nDCG@20", "ndcg@20"), ("RR@10", "mrr@10"), ("AP@100", "map@100"), ("R@5", "recall@5"), ("P@3", "precision@3"),
     ("Bpref", "Bpref"), ("Success@5", "Success@5")],
)  # fmt: skip
def test_names_of_ir_measures_are_read(name: str, key: str) -> None:
    assert parse_measure(name).key == key


def test_measures_of_ir_measures_are_computed_over_all_judged_queries() -> None:
    qrels = {"a query": {"a doc": 1, "b": 0}, "q2": {"a doc": 1}}
    run = {"a query": {"b": 1.0, "a doc": 1.0}}
    scores = evaluate(Ranking.from_run(run), qrels, ["Success@1", "Success@2", "ndcg@10"])
    assert scores["Success@1"].tolist() == [0, 0]
    assert scores["Success@2"].tolist() == [1, 0]
    assert list(scores.values) == ["Success@1", "Success@2", "ndcg@10"]


@pytest.mark.skipif(shutil.which("perl") is None, reason="this backend of ir_measures is a Perl script")
def test_ids_that_a_program_cannot_read_are_scored() -> None:
    qrels = {"a query": {"a doc": 1, "b": 0}, "q2": {"a doc": 1}}
    scores = evaluate(Ranking.from_run({"a query": {"b": 1.0, "a doc": 1.0}}), qrels, ["ERR@10"])
    assert scores["ERR@10"][0] > 0
    assert scores["ERR@10"][1] == 0


def test_a_measure_without_its_package_names_the_package() -> None:
    try:
        import cwl_eval  # noqa: F401
    except ImportError:
        with pytest.raises(BenchError, match="cwl_eval"):
            parse_measure("RBP(p=0.8)")
    else:
        scores = evaluate(Ranking({"q": [("x", 2.0), ("a", 1.0)]}), {"q": {"a": 1}}, ["RBP(p=0.8)"])
        assert scores.mean("RBP(p=0.8)") == pytest.approx(0.16, abs=1e-6)


@pytest.mark.parametrize(
    ("typo", "meant"), [("ncdg@10", "ndcg@10"), ("recal@100", "recall@100"), ("ndcg@0", "ndcg@10")]
)
def test_a_mistyped_measure_gets_a_suggestion(typo: str, meant: str) -> None:
    with pytest.raises(BenchError, match=f"did you mean '{meant}'"):
        parse_measure(typo)


@pytest.mark.parametrize("name", ["nDCG@", "nDCG(foo=1)@10", "__import__('os')", "nDCG@10; 1", ""])
def test_nonsense_is_refused(name: str) -> None:
    with pytest.raises(BenchError):
        parse_measure(name)


def test_damaged_rankings_are_refused() -> None:
    qrels = {"q": {"a": 1}}
    with pytest.raises(DataError, match="not a number"):
        evaluate(Ranking({"q": [("a", float("nan"))]}), qrels)
    with pytest.raises(DataError, match="twice"):
        evaluate(Ranking({"q": [("a", 1.0), ("a", 0.5)]}), qrels)
    with pytest.raises(DataError, match="no judged queries"):
        evaluate(Ranking({}), {})


def test_per_query_means_among_some_and_survives_a_table() -> None:
    scores = PerQuery(("a", "b", "c"), {"ndcg@10": np.array([0.0, 0.5, 1.0]), "mrr@10": np.array([1.0, 1.0, 0.0])})
    assert scores.mean("ndcg@10") == 0.5
    assert scores.mean("ndcg@10", among=["b", "c", "unknown"]) == 0.75
    assert math.isnan(scores.mean("ndcg@10", among=[]))
    assert scores.among({"c", "a"}).queries == ("a", "c")
    back = PerQuery.from_frame(scores.to_frame().sample(frac=1, random_state=1))
    assert back.queries == scores.queries
    for measure in scores.values:
        np.testing.assert_array_equal(back[measure], scores[measure])
    with pytest.raises(BenchError, match="did you mean 'ndcg@10'"):
        scores["ndcg@1"]
    with pytest.raises(DataError, match="twice"):
        PerQuery.from_frame(scores.to_frame().iloc[[0, 0]])


def test_queries_are_scored_block_by_block_with_the_same_values(monkeypatch: pytest.MonkeyPatch) -> None:
    qrels = {f"q{n}": {f"d{n}": 1, f"d{n + 1}": n % 3} for n in range(25)}
    ranking = Ranking({f"q{n}": [(f"d{n + 1}", 2.0), (f"d{n}", 1.0)][: n % 3] for n in range(0, 25, 2)})
    names = ("ndcg@10", "mrr@10", "recall@10", "Bpref")
    whole = evaluate(ranking, qrels, names)
    monkeypatch.setattr("bench.evaluation.measures._BLOCK_QUERIES", 4)
    blocks = evaluate(ranking, qrels, names)
    assert blocks.queries == whole.queries
    for key, values in whole.values.items():
        assert (blocks.values[key] == values).all()
