"""What a reader is shown for each query: no passage, the relevant ones, or the first ones of a strategy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.data.dataset import Corpus, Dataset
from bench.readers.base import Reader
from bench.report.load import LoadedRun
from bench.store.answers import GOLD, NONE

SEPARATOR = "\n\n"


@dataclass(frozen=True)
class Passages:
    """The passages of one query, joined and cut to the budget."""

    docs: tuple[str, ...]
    text: str
    tokens: int


def documents(
    run: LoadedRun, cells: Sequence[str], dataset: Dataset, split: str, queries: Sequence[str], top: int
) -> dict[str, dict[str, tuple[str, ...]]]:
    """Return context -> query -> documents: `none`, `gold`, and the first documents of each cell's ranking.

    Gold passages are ordered by grade, the highest first, then by id. At most `top` of them are shown.
    """
    qrels, positions = dataset.qrels(split), dataset.corpus.positions
    found: dict[str, dict[str, tuple[str, ...]]] = {NONE: dict.fromkeys(queries, ()), GOLD: {}}
    for query in queries:
        relevant = [(-grade, doc) for doc, grade in qrels[query].items() if grade > 0 and doc in positions]
        found[GOLD][query] = tuple(doc for _, doc in sorted(relevant)[:top])
    for cell in cells:
        hits = run.store.ranking(cell).hits
        found[cell] = {
            query: tuple(doc for doc, _ in hits.get(query, [])[:top] if doc in positions) for query in queries
        }
    return found


class Assembler:
    """Joins the passages of a query within a budget of tokens; the last one is cut. Each document is cut once.

    Args:
        reader: counts and cuts tokens.
        corpus: holds the documents.
        budget: the largest number of tokens of all passages of a query.
    """

    def __init__(self, reader: Reader, corpus: Corpus, budget: int) -> None:
        self.reader, self.corpus, self.budget = reader, corpus, budget
        self._whole: dict[str, tuple[str, int]] = {}

    def __call__(self, docs: tuple[str, ...]) -> Passages:
        """Return the passages of these documents."""
        parts: list[str] = []
        left = self.budget
        for doc in docs:
            text, tokens = self._cut(doc)
            if tokens > left:
                text, tokens = self.reader.cut(text, left)
            if not tokens:
                break
            parts.append(text)
            left -= tokens
        return Passages(docs, SEPARATOR.join(parts), self.budget - left)

    def _cut(self, doc: str) -> tuple[str, int]:
        if doc not in self._whole:
            self._whole[doc] = self.reader.cut(self.corpus.text_of(doc), self.budget)
        return self._whole[doc]
