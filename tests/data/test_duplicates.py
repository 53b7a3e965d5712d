from __future__ import annotations

import random

import pytest

from bench.data.duplicates import Groups, clusters, near_pairs
from bench.data.text import normalise, shingles

WORDS = [f"w{n}" for n in range(500)]


def passage(seed: int, length: int = 60) -> list[str]:
    return random.Random(seed).choices(WORDS, k=length)


def test_texts_that_differ_in_case_and_punctuation_are_equal() -> None:
    assert normalise("What is  (are) TEA ?") == normalise("what is are tea") == "what is are tea"
    assert normalise("ﬁne") == normalise("FINE")
    assert normalise("???") != normalise("!!!")


def test_shingles_of_a_short_text_are_its_words() -> None:
    assert shingles("Green tea", 3) == {"green tea"}
    assert shingles("a b c d", 3) == {"a b c", "b c d"}
    assert shingles("...", 3) == set()


def test_planted_near_duplicates_are_found_and_clean_texts_are_not() -> None:
    originals = [passage(seed) for seed in range(200)]
    planted = {position: 200 + number for number, position in enumerate(range(0, 200, 10))}
    copies = [[*originals[position][:30], "changed", *originals[position][31:]] for position in planted]
    texts = [" ".join(words) for words in originals + copies]
    found = {(pair.first, pair.second) for pair in near_pairs(texts, 0.8)}
    assert found == set(planted.items())


def test_similarity_is_the_exact_jaccard_index() -> None:
    one, two = "a b c d e f", "a b c d e g"
    (pair,) = near_pairs([one, two], 0.5)
    assert pair.similarity == pytest.approx(3 / 5)
    assert near_pairs([one, two], 0.61) == []


def test_copies_are_paired_with_the_first_of_them() -> None:
    pairs = near_pairs(["same text here"] * 4, 0.8)
    assert [(pair.first, pair.second, pair.similarity) for pair in pairs] == [(0, n, 1.0) for n in (1, 2, 3)]


def test_empty_texts_are_not_copies() -> None:
    assert near_pairs(["", "", "  "], 0.5) == []


def test_clusters_join_through_others() -> None:
    texts = ["a b c d e f g h", "a b c d e f g x", "z b c d e f g x", "unlike all of these"]
    groups = clusters(4, near_pairs(texts, 0.6))
    assert groups.members() == {0: [0, 1, 2], 3: [3]}
    assert Groups(2).members() == {0: [0], 1: [1]}
