"""Measures of answers: how well a text agrees with gold answers, and which passages hold one.

Texts are normalised as SQuAD's evaluation script does it (Rajpurkar et al., 2016): lower case, no punctuation, no
articles, single spaces. Where a query has several gold answers, the best one counts.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from functools import lru_cache

import numpy as np

from bench.data.dataset import Answers
from bench.data.text import words
from bench.evaluation.measures import ANSWER_RECALL
from bench.retrieval.ranking import Ranking

ANSWER_CUTS = (1, 5, 10, 20, 100)
"""The cut-offs of answer recall, as far as rankings are long enough."""
ABSTENTIONS = (
    "unanswerable", "unknown", "none", "no answer", "not answerable", "cannot answer", "cannot be answered",
    "cant answer", "cannot be determined", "dont know", "not know", "not mentioned", "does not mention",
    "not specified", "does not specify", "not stated", "not provided", "does not provide", "no information",
    "not enough information", "insufficient information",
)  # fmt: skip
"""What counts as an abstention unless others are given."""
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_ARTICLE_WORDS = frozenset(("a", "an", "the"))


def normalised(text: str) -> str:
    """Return a text as SQuAD's script compares it."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(answer: str, gold: Collection[str]) -> float:
    """Return 1 where the normalised answer equals a gold answer, else 0. Without one, an empty answer is right."""
    return float(normalised(answer) in _gold(gold))


def f1(answer: str, gold: Collection[str]) -> float:
    """Return the best F1 of the answer's tokens with those of a gold answer, between 0 and 1.

    Where one side has no token, F1 is 1 if neither has one, as in the script of SQuAD 2.
    """
    return max(_f1(normalised(answer).split(), each.split()) for each in _gold(gold))


def match(answer: str, gold: Collection[str]) -> float:
    """Return 1 where the answer holds a gold answer as a run of whole tokens, else 0.

    Without a gold answer, only an empty answer is right.
    """
    return float(Holder(answer).holds(gold)) if gold else float(not normalised(answer))


def token_support(answer: str, context: str) -> float:
    """Return the share of the answer's tokens that stand in the context, between 0 and 1; NaN without a token."""
    tokens, known = normalised(answer).split(), set(normalised(context).split())
    return sum(token in known for token in tokens) / len(tokens) if tokens else float("nan")


def abstains(answer: str, phrases: Sequence[str] = ABSTENTIONS) -> bool:
    """Return whether an answer says that there is none: it is empty, or holds one of the phrases.

    Texts are compared as SQuAD's script does. A phrase of one word must be the whole answer, because it may be part of
    a right one (the unknown soldier). A longer phrase may stand anywhere in it, as whole words.
    """
    own = normalised(answer)
    if not own:
        return True
    known = (normalised(phrase) for phrase in phrases)
    return any(own == each or (" " in each and f" {each} " in f" {own} ") for each in known if each)


def _gold(answers: Collection[str]) -> list[str]:
    """Return normalised gold answers without empty ones; where none is left, an empty one, as in SQuAD's script."""
    return [text for each in answers if (text := normalised(each))] or [""]


def _f1(answer: list[str], gold: list[str]) -> float:
    if not answer or not gold:
        return float(answer == gold)
    same = sum((Counter(answer) & Counter(gold)).values())
    return 2 * same / (len(answer) + len(gold))


class Holder:
    """A text, prepared for the question whether it holds an answer.

    Answers are whole tokens: `art` is not in `party`. Punctuation is removed, as SQuAD's script does. In a second try
    it separates words, so that `Manning` is in `Manning's` and `1986` is in `1986–87`. In scripts without spaces
    between words, each letter is a word of this second try.
    """

    def __init__(self, text: str) -> None:
        self.forms = _forms(text)

    def holds(self, answers: Collection[str]) -> bool:
        """Return whether the text holds one of the answers."""
        return any(
            form and f" {form} " in f" {own} "
            for answer in answers
            for form, own in zip(_forms_of_answer(answer), self.forms, strict=True)
        )


def _forms(text: str) -> tuple[str, str]:
    return normalised(text), " ".join(word for word in words(text) if word not in _ARTICLE_WORDS)


_forms_of_answer = lru_cache(maxsize=1 << 16)(_forms)


def answer_recall(
    ranking: Ranking, queries: Sequence[str], answers: Answers, text_of: Callable[[str], str], cuts: Sequence[int]
) -> dict[str, np.ndarray]:
    """Return whether the first k documents of each query hold an answer: 1 or 0, NaN for a query without an answer.

    Args:
        ranking: the hits of each query, best first.
        queries: the ids of the queries.
        answers: query id -> gold answers.
        text_of: returns the text of a document.
        cuts: the values of k.

    Returns:
        `answer_recall@k` -> values, shape (queries,). Nothing where no query has an answer.
    """

    @lru_cache(maxsize=1 << 14)
    def holder(doc: str) -> Holder:
        return Holder(text_of(doc))

    ranks = np.full(len(queries), np.inf)
    known = np.array([bool(answers.get(query)) for query in queries])
    if not known.any():
        return {}
    depth = max(cuts)
    for position, query in enumerate(queries):
        for rank, (doc, _) in enumerate(ranking.hits.get(query, [])[:depth] if known[position] else (), start=1):
            if holder(doc).holds(answers[query]):
                ranks[position] = rank
                break
    return {f"{ANSWER_RECALL}@{k}": np.where(known, ranks <= k, np.nan) for k in cuts}
