"""Fusion of two rankings, against sums done by hand."""

from __future__ import annotations

import pytest

from bench.retrieval.fusion import convex, reciprocal_rank


def test_reciprocal_ranks_are_summed_over_the_rankings_that_hold_a_document() -> None:
    first = [("a", 9.0), ("b", 8.0), ("c", 7.0)]
    second = [("c", 0.3), ("a", 0.2), ("d", 0.1)]
    fused = dict(reciprocal_rank([first, second], k=60))
    assert fused == pytest.approx({"a": 1 / 61 + 1 / 62, "c": 1 / 63 + 1 / 61, "b": 1 / 62, "d": 1 / 63})
    assert [doc for doc, _ in reciprocal_rank([first, second], k=60)] == ["a", "c", "b", "d"]


def test_equal_sums_of_reciprocal_ranks_are_ordered_as_trec_eval_orders_ties() -> None:
    assert [doc for doc, _ in reciprocal_rank([[("a", 1.0), ("b", 0.5)], [("b", 1.0), ("a", 0.5)]])] == ["b", "a"]


def test_scores_are_scaled_from_their_floor_to_the_best_score() -> None:
    # cosines from -1: .8 -> 1, .35 -> .75, -.1 -> .5; BM25 from 0: 4 -> 1, 2 -> .5, 0 -> 0
    cosine, bm25 = {"a": 0.8, "b": 0.35, "c": -0.1}, {"a": 0.0, "b": 4.0, "c": 2.0}
    fused = dict(convex(cosine, bm25, 0.8, (-1.0, 0.0)))
    assert fused == pytest.approx({"a": 0.8, "b": 0.8 * 0.75 + 0.2, "c": 0.8 * 0.5 + 0.2 * 0.5})


@pytest.mark.parametrize(("weight", "order"), [(1.0, ["a", "b", "c"]), (0.0, ["b", "c", "a"])])
def test_all_the_weight_on_one_side_gives_its_order(weight: float, order: list[str]) -> None:
    cosine, bm25 = {"a": 0.8, "b": 0.35, "c": -0.1}, {"a": 0.0, "b": 4.0, "c": 2.0}
    assert [doc for doc, _ in convex(cosine, bm25, weight, (-1.0, 0.0))] == order


def test_an_empty_side_changes_no_order() -> None:
    nothing = {"a": 0.0, "b": 0.0}
    assert convex({"a": 0.2, "b": 0.4}, nothing, 0.5, (-1.0, 0.0))[0][0] == "b"
    assert convex({}, {}, 0.5, (-1.0, 0.0)) == []
