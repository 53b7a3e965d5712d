"""The shipped forgetting probe has the structure that its README promises. No test here scores or ranks it."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from statistics import mean

import pytest

from bench.data.beir import read_beir
from bench.data.dataset import Dataset, DatasetInfo

FOLDER = Path(__file__).parents[2] / "datasets" / "general"


@pytest.fixture(scope="module")
def general() -> Dataset:
    return read_beir(FOLDER, DatasetInfo("general"))


@pytest.fixture(scope="module")
def bodies(general: Dataset) -> dict[str, str]:
    assert general.corpus.bodies is not None
    return dict(zip(general.corpus.ids, general.corpus.bodies, strict=True))


def words(text: str) -> set[str]:
    return set(re.findall(r"[a-z]+", text.lower()))


def group_of(doc: str) -> str:
    return doc.rpartition("-")[0]


def test_it_reads_without_a_warning_and_has_a_test_split_only(general: Dataset) -> None:
    assert general.warnings == ()
    assert list(general.splits) == ["test"]


def test_it_has_at_least_240_passages_and_400_questions(general: Dataset) -> None:
    assert len(general.corpus) >= 240
    assert len(general.queries) >= 400


def test_the_readme_states_its_size(general: Dataset) -> None:
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    judgements = sum(len(docs) for docs in general.qrels("test").values())
    assert f"| passages | {len(general.corpus)}," in readme
    assert f"| questions | {len(general.queries)}," in readme
    assert f"| judgements | {judgements} " in readme
    assert f"| groups | {len(set(general.groups.values()))}," in readme


def test_every_question_is_judged_and_every_passage_is_relevant_to_one(general: Dataset) -> None:
    qrels = general.qrels("test")
    assert set(qrels) == set(general.queries)
    assert {doc for docs in qrels.values() for doc in docs} == set(general.corpus.ids)
    assert {grade for docs in qrels.values() for grade in docs.values()} == {1}


def test_groups_hold_four_to_eight_passages_and_a_question_stays_in_its_own(general: Dataset) -> None:
    sizes = Counter(map(group_of, general.corpus.ids))
    assert all(4 <= size <= 8 for size in sizes.values())
    assert set(general.groups.values()) == set(sizes)
    for query, docs in general.qrels("test").items():
        assert {group_of(doc) for doc in docs} == {general.groups[query]}


def test_passages_are_titled_and_40_to_90_words_long(general: Dataset, bodies: dict[str, str]) -> None:
    assert general.corpus.titles is not None
    assert all(title.strip() for title in general.corpus.titles)
    assert {doc: len(body.split()) for doc, body in bodies.items() if not 40 <= len(body.split()) <= 90} == {}


def test_no_text_occurs_twice(general: Dataset, bodies: dict[str, str]) -> None:
    for texts in (bodies.values(), general.queries.values()):
        seen = Counter(" ".join(re.findall(r"\w+", text.lower())) for text in texts)
        assert [text for text, count in seen.items() if count > 1] == []


def test_questions_begin_in_different_ways(general: Dataset) -> None:
    openings = Counter(" ".join(text.lower().split()[:2]) for text in general.queries.values())
    assert openings.most_common(1)[0][1] < 0.1 * len(general.queries)


def test_questions_use_other_words_than_their_passages(general: Dataset) -> None:
    """Mean token Jaccard of a question and its passage. The bound guards the property; items are not tuned to it."""
    overlaps = []
    for pair in general.pairs("test"):
        query, document = words(pair.query), words(pair.document)
        overlaps.append(len(query & document) / len(query | document))
    assert mean(overlaps) < 0.1
