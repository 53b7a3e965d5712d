"""Measures of answers: as SQuAD's script computes them, and which passages hold an answer."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bench.evaluation.answers import abstains, answer_recall, exact_match, f1, match, normalised, token_support
from bench.retrieval.ranking import Ranking


@pytest.mark.parametrize(("text", "expected"), [
    ("The  Eiffel Tower.", "eiffel tower"),
    ("An apple a day, the doctor's away!", "apple day doctors away"),
    ("theory of Athens", "theory of athens"),
    ("U.S.-based (1986–87)", "usbased 1986–87"),
    ("the", ""),
])  # fmt: skip
def test_texts_are_normalised_as_in_squad(text: str, expected: str) -> None:
    assert normalised(text) == expected


@pytest.mark.parametrize(("answer", "gold", "em", "overlap"), [
    ("Denver Broncos", ["Denver Broncos"], 1, 1),
    ("The Denver Broncos!", ["denver broncos", "Carolina"], 1, 1),
    ("Denver", ["Denver Broncos"], 0, 2 / 3),
    ("Denver Denver Broncos", ["Denver Broncos"], 0, 0.8),
    ("at Levi's Stadium in Santa Clara", ["Levi's Stadium", "Santa Clara, California"], 0, 0.5),
    ("Carolina Panthers", ["Denver Broncos"], 0, 0),
    ("", ["Denver Broncos"], 0, 0),
    ("", [], 1, 1),
    ("Denver", [], 0, 0),
    ("the", ["an"], 1, 1),
    ("the", ["an", "Denver"], 0, 0),
])  # fmt: skip
def test_exact_match_and_f1(answer: str, gold: list[str], em: float, overlap: float) -> None:
    assert (exact_match(answer, gold), f1(answer, gold)) == (em, pytest.approx(overlap))


@pytest.mark.parametrize(("text", "answer", "held"), [
    ("He scored 308 points.", "308", True),
    ("He scored 1308 points.", "308", False),
    ("a big party", "art", False),
    ("The Denver Broncos won.", "the denver broncos", True),
    ("Manning's record", "Manning", True),
    ("the season of 1986–87", "1986", True),
    ("made in the U.S. in May", "US", True),
    ("a twenty-four hour race", "twenty four", True),
    ("首都は東京です", "東京", True),
    ("anything", "the", False),
    ("", "308", False),
])  # fmt: skip
def test_an_answer_is_a_run_of_whole_tokens(text: str, answer: str, held: bool) -> None:
    assert match(text, [answer]) == held


def test_without_a_gold_answer_only_an_empty_answer_is_right() -> None:
    assert (match("", []), match("no idea", [])) == (1, 0)


def test_token_support_is_the_share_of_tokens_in_the_context() -> None:
    assert token_support("The Denver Broncos won", "Denver won the game") == pytest.approx(2 / 3)
    assert math.isnan(token_support("", "Denver"))


def test_answer_recall_asks_for_the_first_document_with_an_answer() -> None:
    texts = {"d1": "nothing here", "d2": "it was 308 points", "d3": "three hundred"}
    hits = {"q1": ["d1", "d2"], "q2": ["d3", "d1", "d2"], "q3": ["d2"], "q4": ["d1"], "q6": ["d1"]}
    ranking = Ranking({query: [(doc, -float(n)) for n, doc in enumerate(docs)] for query, docs in hits.items()})
    answers = {"q1": ("308",), "q2": ("308", "three hundred"), "q3": (), "q4": ("308",), "q5": ("308",)}
    found = answer_recall(ranking, ["q1", "q2", "q3", "q4", "q5", "q6"], answers, texts.__getitem__, (1, 2))
    assert list(found) == ["answer_recall@1", "answer_recall@2"]
    np.testing.assert_equal(found["answer_recall@1"], [0, 1, np.nan, 0, 0, np.nan])
    np.testing.assert_equal(found["answer_recall@2"], [1, 1, np.nan, 0, 0, np.nan])


def test_no_answers_give_no_measure() -> None:
    assert answer_recall(Ranking({"q1": [("d1", 1.0)]}), ["q1"], {"q1": ()}, {"d1": ""}.__getitem__, (1,)) == {}


@pytest.mark.parametrize(("answer", "expected"), [
    ("", True),
    ("the", True),
    ("Unknown.", True),
    ("the unknown soldier", False),
    ("I don't know.", True),
    ("The passage does not mention a date", True),
    ("30 days", False),
])  # fmt: skip
def test_an_abstention_is_an_empty_answer_or_holds_a_phrase(answer: str, expected: bool) -> None:
    assert abstains(answer) == expected


def test_other_words_may_count_as_abstention() -> None:
    assert abstains("Keine Antwort", ["keine antwort"]) and not abstains("unknown", ["keine antwort"])
