"""Seen and unseen queries."""

from __future__ import annotations

import numpy as np
import pytest

from bench.evaluation.measures import PerQuery
from bench.evaluation.strata import headline, seen_queries, strata


def test_a_query_is_seen_if_a_relevant_document_was_a_positive() -> None:
    qrels = {"a": {"d1": 1, "d2": 0}, "b": {"d2": 0, "d3": 2}, "c": {"d3": 1, "d4": 1}}
    assert seen_queries(qrels, {"d2"}) == frozenset()
    assert seen_queries(qrels, ["d4", "d1"]) == {"a", "c"}


def test_means_of_the_strata_add_up_to_the_whole() -> None:
    scores = PerQuery(("a", "b", "c"), {"ndcg@10": np.array([1.0, 0.5, 0.0]), "mrr@10": np.array([1.0, 0.0, 0.0])})
    split = strata(scores, {"a", "unjudged"})
    assert split == {
        "seen": {"ndcg@10": 1.0, "mrr@10": 1.0, "n": 1},
        "unseen": {"ndcg@10": 0.25, "mrr@10": 0.0, "n": 2},
    }
    total = sum(part["ndcg@10"] * part["n"] for part in split.values()) / 3
    assert total == pytest.approx(scores.mean("ndcg@10"))


def test_an_empty_stratum_has_no_means() -> None:
    scores = PerQuery(("a",), {"ndcg@10": np.array([1.0])})
    assert strata(scores, set())["seen"] == {"n": 0}


@pytest.mark.parametrize(
    ("seen", "unseen", "leads"),
    [(0, 300, "all"), (15, 285, "all"), (16, 284, "unseen"), (196, 104, "unseen"), (300, 0, "seen"), (0, 0, "all")],
)
def test_the_unseen_stratum_leads_above_5_percent_seen(seen: int, unseen: int, leads: str) -> None:
    assert headline({"seen": {"n": seen}, "unseen": {"n": unseen}}) == leads
