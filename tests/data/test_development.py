"""Development samples: held-out labels where there are enough, else queries made from documents, never test queries."""

from __future__ import annotations

import pytest

from bench.data.dataset import Corpus, Dataset, DatasetInfo
from bench.data.development import MOST_QUERIES, development_sample
from bench.data.splits import training_data
from bench.data.text import normalise
from bench.errors import NotApplicableError

NOUNS = ("kettle", "lamp", "tent", "printer", "saddle", "violin", "barrel", "compass")


def labelled(train: int, test: int = 20, pseudo: bool = False, dev: int = 0) -> Dataset:
    """Return documents with a title and three sentences, and a query for each of `train`, `test` and `dev` of them."""
    ids = [f"d{number}" for number in range(train + test + dev + 40)]
    titles = [f"Care of the {NOUNS[n % 8]} number {n}" for n in range(len(ids))]
    bodies = [
        f"Clean the {NOUNS[n % 8]} {n} with a cloth. Keep it dry in winter {n}. It lasts." for n in range(len(ids))
    ]
    parts = {"train": ids[:train], "test": ids[train : train + test], "dev": ids[train + test : train + test + dev]}
    queries = {f"q-{doc}": f"how do I look after {doc}?" for docs in parts.values() for doc in docs}
    splits = {name: {f"q-{doc}": {doc: 1} for doc in docs} for name, docs in parts.items() if docs}
    texts = [f"{title} {body}" for title, body in zip(titles, bodies, strict=True)]
    corpus = Corpus(ids, texts, titles, bodies)
    return Dataset(DatasetInfo("toy", pseudo=pseudo), corpus, queries, splits)


def test_a_sample_is_what_the_fits_of_its_seed_hold_out() -> None:
    dataset = labelled(200)
    for seed in (0, 1):
        sample, data = development_sample(dataset, seed, None, "test"), training_data(dataset, seed, None, "test")
        assert not sample.made
        assert sample.queries == data.dev_queries and sample.qrels == data.dev_qrels
        assert len(sample.queries) == 40
        assert not set(sample.queries) & {pair.query_id for pair in data.pairs}
        assert not set(sample.queries) & set(dataset.splits["test"])
    assert development_sample(dataset, 0, 150, "test").queries != development_sample(dataset, 0, None, "test").queries


def test_with_few_labels_the_queries_are_made_from_documents_that_no_fit_trains_on() -> None:
    dataset = labelled(200)
    sample, data = development_sample(dataset, 0, 50, "test"), training_data(dataset, 0, 50, "test")
    assert len(data.pairs) == 50 and data.dev_queries == {}, "nothing is set apart"
    assert sample.made and len(sample.queries) > 100
    relevant = {doc for docs in sample.qrels.values() for doc in docs}
    assert not relevant & data.train_relevant
    assert not set(sample.queries) & set(dataset.queries)
    assert sample == development_sample(dataset, 0, 50, "test")
    known = {normalise(query) for query in dataset.queries.values()}
    assert not known & {normalise(query) for query in sample.queries.values()}
    for query, (doc,) in sample.qrels.items():
        assert normalise(sample.queries[query]) in normalise(dataset.corpus.text_of(doc))


def test_a_development_split_with_few_labels_in_all_is_not_used() -> None:
    assert development_sample(labelled(60, dev=20), 0, None, "test").made
    assert not development_sample(labelled(90, dev=20), 0, None, "test").made


def test_the_floor_decides_what_few_is() -> None:
    assert not development_sample(labelled(200), 0, 50, "test", floor=20).made


def test_pseudo_queries_are_no_labelled_evidence() -> None:
    sample = development_sample(labelled(200, pseudo=True), 0, None, "test")
    assert sample.made and len(sample.queries) == 40


def test_a_sample_is_capped_and_drawn_anew_for_each_seed() -> None:
    dataset = labelled(20, dev=MOST_QUERIES + 200)
    first, second = (development_sample(dataset, seed, None, "test") for seed in (0, 1))
    assert len(first.queries) == len(second.queries) == MOST_QUERIES
    assert set(first.queries) != set(second.queries)


def test_documents_that_give_no_query_leave_nothing_to_choose_on() -> None:
    corpus = Corpus(["a", "b"], ["one", "two"])
    dataset = Dataset(DatasetInfo("toy"), corpus, {"q": "one?"}, {"test": {"q": {"a": 1}}})
    with pytest.raises(NotApplicableError, match="no query can be made"):
        development_sample(dataset, 0, None, "test")
