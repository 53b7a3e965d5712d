"""Makes pseudo-queries from documents, for training without labels. A pseudo-query never counts as a label.

They are titles and headings, first sentences, and cropped spans. The spans follow the inverse cloze task of Lee et al.
(2019, section 3.2) and the independent cropping of Izacard et al. (2022, section 3.1).
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from bench.data.dataset import Corpus
from bench.data.text import normalise, sentences, words

PREFIX = "pseudo:"
"""Prefix of the groups of pseudo-queries: `pseudo:title`, `pseudo:sentence`, `pseudo:span`."""
GENERATED = "generated"
"""The kind of the queries that a language model wrote, and the split that holds them where labels train too."""
_TITLE_WORDS = range(2, 21)
_SENTENCE_WORDS = range(5, 41)
_SPAN_WORDS = (6, 16)


@dataclass(frozen=True)
class PseudoQuery:
    """A query made from a document."""

    id: str
    text: str
    doc: str
    kind: str
    """`title`, `sentence` or `span`; `generated` where a language model wrote it."""

    @property
    def group(self) -> str:
        """The group of the query in a dataset."""
        return f"{PREFIX}{self.kind}"


def pseudo_queries(corpus: Corpus, seed: int = 0) -> list[PseudoQuery]:
    """Return at most one query of each kind for every document. A query that two documents would share is left out.

    A title that is a path of headings (`Guide > Install > Linux`) gives its last two headings.
    """
    made = [query for doc in range(len(corpus)) for query in _of_document(corpus, doc, seed)]
    counts = Counter(normalise(query.text) for query in made)
    return [query for query in made if counts[normalise(query.text)] == 1]


def is_pseudo(groups: Mapping[str, str], query: str) -> bool:
    """Whether a query is a pseudo-query, according to its group."""
    return groups.get(query, "").startswith(PREFIX)


def is_generated(groups: Mapping[str, str], query: str) -> bool:
    """Whether a language model wrote a query, according to its group."""
    return groups.get(query) == f"{PREFIX}{GENERATED}"


def _of_document(corpus: Corpus, position: int, seed: int) -> Iterator[PseudoQuery]:
    doc = corpus.ids[position]
    title = corpus.titles[position] if corpus.titles is not None else ""
    body = corpus.bodies[position] if corpus.bodies is not None else corpus.texts[position]
    heading = " ".join(title.split(" > ")[-2:])
    if len(words(heading)) in _TITLE_WORDS and words(body):
        yield PseudoQuery(f"pseudo-title-{doc}", heading, doc, "title")
    plain = [sentence for paragraph in body.split("\n\n") for sentence in sentences(" ".join(paragraph.split()))]
    if len(plain) > 1 and len(words(plain[0])) in _SENTENCE_WORDS:
        yield PseudoQuery(f"pseudo-sentence-{doc}", plain[0], doc, "sentence")
    rest = " ".join(plain[1:]).split()
    if len(rest) >= 2 * _SPAN_WORDS[1]:
        draw = random.Random(hashlib.sha256(f"{seed}\0{doc}".encode()).digest())
        length = draw.randint(*_SPAN_WORDS)
        start = draw.randrange(len(rest) - length + 1)
        yield PseudoQuery(f"pseudo-span-{doc}", " ".join(rest[start : start + length]), doc, "span")
