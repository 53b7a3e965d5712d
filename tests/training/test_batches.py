"""Batches: the same for a seed, full, and without false negatives."""

from __future__ import annotations

from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from bench.data.dataset import Pair
from bench.training.batches import contrastive_batches


def _pairs(labels: list[tuple[int, int]]) -> tuple[list[Pair], dict[str, dict[str, int]]]:
    pairs = [Pair(f"q{q}", f"question {q}", f"d{d}", f"document {d}") for q, d in sorted(set(labels))]
    relevant: dict[str, dict[str, int]] = {}
    for pair in pairs:
        relevant.setdefault(pair.query_id, {})[pair.doc_id] = 1
    return pairs, relevant


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), min_size=1, max_size=60), st.integers(2, 16))
def test_no_document_of_a_batch_is_relevant_to_another_query_of_it(labels: list[tuple[int, int]], size: int) -> None:
    pairs, relevant = _pairs(labels)
    for batch in islice(contrastive_batches(pairs, relevant, size, seed=0), 12):
        assert 1 <= len(batch) <= size
        chosen = [pairs[position] for position in batch]
        assert len({pair.query_id for pair in chosen}) == len(chosen)
        for one in chosen:
            for other in chosen:
                assert one is other or other.doc_id not in relevant[one.query_id]


def test_same_seed_gives_the_same_batches_and_another_seed_others() -> None:
    pairs, relevant = _pairs([(n, n) for n in range(100)])

    def first(seed: int) -> list[list[int]]:
        return list(islice(contrastive_batches(pairs, relevant, 8, seed), 20))

    assert first(3) == first(3)
    assert first(3) != first(4)


def test_every_pair_is_used_once_an_epoch_and_batches_are_full_across_epochs() -> None:
    pairs, relevant = _pairs([(n, n) for n in range(50)])
    batches = list(islice(contrastive_batches(pairs, relevant, 8, seed=0), 25))
    assert all(len(batch) == 8 for batch in batches)
    seen = [position for batch in batches for position in batch]
    assert all(seen.count(position) == 4 for position in range(50))


def test_a_pair_that_fits_in_no_full_batch_still_gets_its_turn() -> None:
    pairs, relevant = _pairs([(0, d) for d in range(6)])
    batches = list(islice(contrastive_batches(pairs, relevant, 4, seed=0), 12))
    assert {position for batch in batches for position in batch} == set(range(6))


def test_two_documents_of_the_same_text_are_not_each_others_negatives() -> None:
    pairs = [Pair("a", "one", "d1", "same text"), Pair("b", "two", "d2", "same text")]
    relevant = {"a": {"d1": 1}, "b": {"d2": 1}}
    assert all(len(batch) == 1 for batch in islice(contrastive_batches(pairs, relevant, 2, seed=0), 4))


def test_no_pairs_give_no_batches() -> None:
    assert list(contrastive_batches([], {}, 8, seed=0)) == []
