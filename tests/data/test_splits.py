from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.data.beir import read_beir
from bench.data.dataset import Corpus, Dataset, DatasetInfo, Pair, Qrels
from bench.data.overlap import overlap, seen_queries
from bench.data.splits import sample_pairs, split_off, training_data


def make(splits: Mapping[str, Qrels], queries: Mapping[str, str] | None = None, **kwargs: object) -> Dataset:
    docs = sorted({doc for qrels in splits.values() for found in qrels.values() for doc in found})
    ids = sorted({query for qrels in splits.values() for query in qrels})
    texts = {query: f"question {query}" for query in ids} | dict(queries or {})
    info = DatasetInfo("toy", pseudo=bool(kwargs.pop("pseudo", False)))
    return Dataset(info, Corpus(docs, [f"text {doc}" for doc in docs]), texts, splits, **kwargs)  # type: ignore[arg-type]


def one_each(prefix: str, count: int) -> dict[str, dict[str, int]]:
    return {f"{prefix}{n}": {f"d-{prefix}{n}": 1} for n in range(count)}


def pairs_of(qrels: Qrels) -> list[Pair]:
    return [Pair(query, f"question {query}", doc, doc) for query in sorted(qrels) for doc in sorted(qrels[query])]


many_to_many = st.dictionaries(
    st.integers(0, 150).map(str), st.dictionaries(st.integers(0, 400).map(str), st.just(1), min_size=1, max_size=3),
    min_size=5, max_size=120,
)  # fmt: skip


@settings(max_examples=50, deadline=None)
@given(many_to_many, st.integers(0, 3))
def test_held_out_pairs_share_no_query_and_no_document_with_the_others(
    qrels: dict[str, dict[str, int]], seed: int
) -> None:
    pairs = pairs_of(qrels)
    train, dev, by_document = split_off(pairs, seed)
    assert sorted(train + dev, key=str) == sorted(pairs, key=str)
    assert len(dev) <= round(0.2 * len(pairs))
    assert not {pair.query_id for pair in train} & {pair.query_id for pair in dev}
    if by_document:
        assert not {pair.doc_id for pair in train} & {pair.doc_id for pair in dev}


def test_the_same_question_under_two_ids_stays_on_one_side() -> None:
    pairs = [Pair(f"{n}{twin}", f"Question {n}{twin}", f"{n}{twin}", "") for n in range(100) for twin in "?!"]
    train, dev, _ = split_off(pairs, seed=0)
    assert len(dev) == 40
    assert not {pair.query_id[:-1] for pair in train} & {pair.query_id[:-1] for pair in dev}


def test_if_all_queries_share_documents_only_queries_are_kept_apart() -> None:
    pairs = pairs_of({f"q{n}": {"hub": 1} for n in range(50)})
    train, dev, by_document = split_off(pairs, seed=0)
    assert (len(train), len(dev), by_document) == (40, 10, False)


@settings(max_examples=50, deadline=None)
@given(many_to_many, st.integers(0, 3), st.integers(0, 60), st.integers(0, 60))
def test_samples_are_nested_and_exact(qrels: dict[str, dict[str, int]], seed: int, small: int, more: int) -> None:
    pairs = pairs_of(qrels)
    groups = {query: str(int(query) % 3) for query in qrels}
    first, second = sample_pairs(pairs, small, seed, groups), sample_pairs(pairs, small + more, seed, groups)
    assert len(first) == min(small, len(pairs))
    assert set(first) <= set(second) <= set(pairs)
    whole = Counter(pair.query_id for pair in pairs)
    parts = [query for query, count in Counter(pair.query_id for pair in first).items() if count < whole[query]]
    assert len(parts) <= 1


@pytest.mark.parametrize(("floor", "dev_queries"), [(40, 10), (51, 0)])
def test_the_selection_floor_says_from_how_many_labels_on_queries_are_held_out(floor: int, dev_queries: int) -> None:
    data = training_data(make({"train": one_each("q", 50)}), seed=0, selection_floor=floor)
    assert (len(data.dev_queries), len(data.pairs)) == (dev_queries, 50 - dev_queries)


def test_samples_are_in_proportion_to_the_groups() -> None:
    groups = {f"q{n}": "large" if n < 150 else "small" for n in range(200)}
    sample = sample_pairs(pairs_of(one_each("q", 200)), 40, 5, groups)
    assert Counter(groups[pair.query_id] for pair in sample) == {"large": 30, "small": 10}


def test_seeds_draw_different_samples() -> None:
    pairs = pairs_of(one_each("q", 200))
    assert sample_pairs(pairs, 50, 1) != sample_pairs(pairs, 50, 2)
    assert sample_pairs(pairs, 50, 1) == sample_pairs(pairs[::-1], 50, 1)


def test_train_queries_that_repeat_test_queries_are_removed_and_counted() -> None:
    splits = {"train": one_each("a", 4), "test": one_each("b", 2)}
    dataset = make(splits, {"a0": "What is TEA?", "b0": "what is  tea"})
    data = training_data(dataset, seed=0)
    assert {pair.query_id for pair in data.pairs} == {"a1", "a2", "a3"}
    assert data.repeats_removed == 1
    assert "1 training queries repeat a test query" in " ".join(data.notes)
    assert training_data(dataset, seed=0, remove_repeats=False).repeats_removed == 0


def test_the_id_of_a_test_query_is_never_trained_on() -> None:
    splits = {"train": {**one_each("a", 3), "b0": {"d-a0": 1}}, "dev": {"b1": {"d-a0": 1}}, "test": one_each("b", 2)}
    data = training_data(make(splits), seed=0, remove_repeats=False)
    assert not {"b0", "b1"} & ({pair.query_id for pair in data.pairs} | set(data.dev_queries))


def test_an_existing_development_split_is_used_without_a_budget_of_examples() -> None:
    splits = {"train": one_each("a", 200), "dev": one_each("c", 30), "test": one_each("b", 5)}
    data = training_data(make(splits), seed=0)
    assert set(data.dev_queries) == set(splits["dev"])
    assert (len(data.pairs), data.labels) == (200, 230)


def test_a_budget_of_examples_contains_the_development_pairs() -> None:
    splits = {"train": one_each("a", 300), "dev": one_each("c", 30), "test": one_each("b", 5)}
    data = training_data(make(splits), seed=0, examples=200)
    assert (len(data.pairs), len(data.dev_queries), data.labels) == (160, 40, 200)
    assert set(data.dev_queries) <= set(splits["train"])


@pytest.mark.parametrize("examples", [50, 99])
def test_below_a_hundred_labels_nothing_is_held_out(examples: int) -> None:
    data = training_data(make({"train": one_each("a", 300), "test": one_each("b", 5)}), seed=0, examples=examples)
    assert (len(data.pairs), data.dev_queries) == (examples, {})


def test_a_budget_of_more_labels_than_exist_gives_a_note() -> None:
    data = training_data(make({"train": one_each("a", 10), "test": one_each("b", 5)}), seed=0, examples=50)
    assert len(data.pairs) == 10
    assert "50 labelled pairs were requested, but there are 10" in data.notes


def test_judgements_of_grade_0_are_neither_pairs_nor_labels() -> None:
    train = {query: {**docs, "d-a0": docs.get("d-a0", 0)} for query, docs in one_each("a", 120).items()}
    data = training_data(make({"train": train, "test": one_each("b", 5)}), seed=0)
    assert data.labels == 120
    assert all(pair.doc_id == f"d-{pair.query_id}" for pair in data.pairs)


def test_without_a_train_split_the_development_split_is_trained_on_or_nothing() -> None:
    data = training_data(make({"dev": one_each("c", 100), "test": one_each("b", 5)}), seed=0)
    assert (len(data.pairs), len(data.dev_queries)) == (80, 20)
    data = training_data(make({"test": one_each("b", 5)}), seed=0)
    assert not data.pairs and data.notes == ("dataset 'toy' has no training split",)


def test_pseudo_pairs_are_not_labels() -> None:
    data = training_data(make({"train": one_each("a", 200), "test": one_each("b", 5)}, pseudo=True), seed=0)
    assert len(data.pairs) == 160
    assert data.labels == 0


def test_seen_queries_have_a_relevant_document_in_training() -> None:
    qrels = {"q1": {"d1": 1}, "q2": {"d1": 0, "d2": 1}, "q3": {"d3": 2, "d1": 1}}
    assert seen_queries(qrels, {"d1"}) == {"q1", "q3"}


def test_overlap_of_real_datasets(shared_data: Path) -> None:
    scifact = overlap(read_beir(shared_data / "scifact", DatasetInfo("scifact")))
    assert (scifact.shared_relevant, scifact.test_relevant) == (181, 283)
    assert (scifact.seen_queries, scifact.test_queries) == (196, 300)
    assert "181 of 283" in scifact.sentence()
    medquad = overlap(read_beir(shared_data / "medquad", DatasetInfo("medquad")))
    assert medquad.shared_relevant == 13


def test_scifact_development_shares_no_document_with_training(shared_data: Path) -> None:
    data = training_data(read_beir(shared_data / "scifact", DatasetInfo("scifact")), seed=1)
    dev = {doc for docs in data.dev_qrels.values() for doc in docs}
    assert not dev & data.train_relevant
    assert data.labels == 917  # 919 less two pairs whose query repeats a test query
    assert len(data.pairs) == 734
