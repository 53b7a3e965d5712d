"""Cleans a dataset: tidies texts, merges copies, drops leaks between splits, balances groups, and lists each drop."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

from bench.data.dataset import Corpus, Dataset
from bench.data.duplicates import near_pairs
from bench.data.text import normalise, words

NEAR_DOCUMENT = 0.8
NEAR_QUERY = 0.9
"""Jaccard index from which documents (three-word shingles) and queries (words) are near-duplicates. Most questions of
one template that differ in a name lie below it."""


@dataclass(frozen=True)
class Drop:
    """A removed item and the reason."""

    what: str
    """`document`, `query` or `judgement`."""
    id: str
    split: str
    """The split it was removed from. Empty for a document."""
    reason: str
    because: str = ""
    """The id of the item that it repeats or resembles."""

    def to_dict(self) -> dict[str, str]:
        """Return the fields, for JSON."""
        return asdict(self)


@dataclass
class _Cleaner:
    """The dataset while it is cleaned. Documents are (title, body)."""

    documents: dict[str, tuple[str, str]]
    queries: dict[str, str]
    splits: dict[str, dict[str, dict[str, int]]]
    groups: Mapping[str, str]
    drops: list[Drop] = field(default_factory=list)
    changed: int = 0

    def text(self, doc: str) -> str:
        title, body = self.documents[doc]
        return f"{title} {body}".strip()

    def tidy(self) -> None:
        for doc, (title, body) in self.documents.items():
            tidied = (tidy(title), tidy(body))
            self.changed += tidied != (title, body)
            self.documents[doc] = tidied
        for query, text in self.queries.items():
            self.changed += tidy(text) != text
            self.queries[query] = tidy(text)

    def drop_unreachable(self) -> None:
        for split, qrels in self.splits.items():
            for query, docs in list(qrels.items()):
                for doc in [doc for doc in docs if doc not in self.documents]:
                    self._drop_judgement(split, query, doc, "its document is not in the corpus")

    def drop_empty(self) -> None:
        for doc in [doc for doc in self.documents if not words(self.text(doc))]:
            del self.documents[doc]
            self.drops.append(Drop("document", doc, "", "has no words"))
        for split, qrels in self.splits.items():
            for query in list(qrels):
                if not words(self.queries[query]):
                    self._drop_query(split, query, "has no words")
                    continue
                for doc in [doc for doc in qrels[query] if doc not in self.documents]:
                    self._drop_judgement(split, query, doc, "its document has no words")

    def merge_documents(self) -> None:
        first: dict[str, str] = {}
        into: dict[str, str] = {}
        for doc in list(self.documents):
            kept = first.setdefault(normalise(self.text(doc)), doc)
            if kept != doc:
                into[doc] = kept
                del self.documents[doc]
                self.drops.append(Drop("document", doc, "", "is a copy, merged", kept))
        for qrels in self.splits.values():
            for query, docs in qrels.items():
                qrels[query] = _best_grades((into.get(doc, doc), grade) for doc, grade in docs.items())

    def merge_queries(self) -> None:
        for split, qrels in self.splits.items():
            first: dict[str, str] = {}
            for query in sorted(qrels):
                kept = first.setdefault(normalise(self.queries[query]), query)
                if kept != query:
                    qrels[kept] = _best_grades([*qrels[kept].items(), *qrels[query].items()])
                    self._drop_query(split, query, "is a copy, merged", kept)

    def drop_query_leaks(self, order: Sequence[str], threshold: float) -> None:
        """Drop queries that repeat or resemble a query of an earlier split in `order`."""
        ids = [(split, query) for split in order for query in sorted(self.splits[split])]
        gone: set[int] = set()
        for pair in near_pairs([self.queries[query] for _, query in ids], threshold, size=1):
            (early, kept), (late, query) = ids[pair.first], ids[pair.second]
            if early != late and pair.first not in gone and pair.second not in gone:
                how = "repeats" if pair.copy else "resembles"
                gone.add(pair.second)
                self._drop_query(late, query, f"{how} a query of {early}", kept)
        for late_position, late in enumerate(order):
            for early in order[:late_position]:
                for query in set(self.splits[late]) & set(self.splits[early]):
                    self._drop_query(late, query, f"repeats a query of {early}", query)

    def drop_document_leaks(self, order: Sequence[str], threshold: float, shared: bool) -> None:
        """Drop judgements whose relevant document resembles a relevant document of an earlier split."""
        relevant = {
            split: {doc for docs in self.splits[split].values() for doc, grade in docs.items() if grade > 0}
            for split in order
        }
        docs = sorted(set().union(*relevant.values())) if relevant else []
        alike: dict[str, set[str]] = {}
        for pair in near_pairs([self.text(doc) for doc in docs], threshold):
            alike.setdefault(docs[pair.first], set()).add(docs[pair.second])
            alike.setdefault(docs[pair.second], set()).add(docs[pair.first])
        for position, late in enumerate(order):
            for early in order[:position]:
                for query, judged in list(self.splits[late].items()):
                    for doc in [doc for doc, grade in judged.items() if grade > 0]:
                        near = sorted(alike.get(doc, set()) & relevant[early])
                        if shared and doc in relevant[early]:
                            self._drop_judgement(late, query, doc, f"is relevant in {early} too", doc)
                        elif near and doc not in relevant[early]:
                            self._drop_judgement(late, query, doc, f"resembles a document relevant in {early}", near[0])

    def balance(self, split: str, limit: int, seed: int) -> None:
        """Keep at most `limit` queries of each group in a split, drawn by seed."""
        counts: dict[str, int] = {}
        drawn = sorted(
            self.splits.get(split, {}), key=lambda query: hashlib.sha256(f"{seed}\0{query}".encode()).digest()
        )
        for query in drawn:
            group = self.groups.get(query, "")
            counts[group] = counts.get(group, 0) + 1
            if counts[group] > limit:
                self._drop_query(split, query, f"is beyond {limit} of its group", group)

    def _drop_query(self, split: str, query: str, reason: str, because: str = "") -> None:
        if self.splits[split].pop(query, None) is not None:
            self.drops.append(Drop("query", query, split, reason, because))

    def _drop_judgement(self, split: str, query: str, doc: str, reason: str, because: str = "") -> None:
        judged = self.splits[split].get(query)
        if judged is None:  # the query went with its last relevant document
            return
        del judged[doc]
        self.drops.append(Drop("judgement", f"{query} {doc}", split, reason, because))
        if not any(grade > 0 for grade in judged.values()):
            self._drop_query(split, query, "has no relevant document left")


def clean(
    dataset: Dataset,
    *,
    near_document: float = NEAR_DOCUMENT,
    near_query: float = NEAR_QUERY,
    drop_shared: bool = False,
    per_group: int | None = None,
    seed: int = 0,
) -> tuple[Dataset, list[Drop], int]:
    """Return a cleaned copy of a dataset.

    The steps, in this order. The splits rank test, dev, train.

    1. Drop judgements of documents that the corpus lacks, tidy the texts, and drop documents and queries without words.
    2. Merge copies of documents, and copies of queries within a split.
    3. Drop queries that repeat or resemble a query of a higher split.
    4. Drop judgements whose relevant document resembles a relevant document of a higher split.
    5. Balance the groups.

    Args:
        dataset: the dataset.
        near_document: Jaccard index of three-word shingles from which documents are near-duplicates.
        near_query: Jaccard index of words from which queries are near-duplicates.
        drop_shared: drop training judgements of documents that are relevant in the test split too.
        per_group: the largest number of training queries of a group. None sets no limit.
        seed: draws the queries of a group.

    Returns:
        The cleaned dataset, the drops, and the number of tidied texts.
    """
    corpus = dataset.corpus
    titles, bodies = corpus.titles or [""] * len(corpus), corpus.bodies or corpus.texts
    cleaner = _Cleaner(
        dict(zip(corpus.ids, zip(titles, bodies, strict=True), strict=True)),
        dict(dataset.queries),
        {split: {query: dict(docs) for query, docs in qrels.items()} for split, qrels in dataset.splits.items()},
        dataset.groups,
    )
    rank = {"test": 0, "dev": 1, "train": 3}
    order = sorted(cleaner.splits, key=lambda split: (rank.get(split, 2), split))
    cleaner.drop_unreachable()
    cleaner.tidy()
    cleaner.drop_empty()
    cleaner.merge_documents()
    cleaner.merge_queries()
    cleaner.drop_query_leaks(order, near_query)
    cleaner.drop_document_leaks(order, near_document, drop_shared)
    if per_group is not None:
        cleaner.balance("train", per_group, seed)
    judged = {query for qrels in cleaner.splits.values() for query in qrels}
    kept = [*cleaner.documents]
    titled = any(title for title, _ in cleaner.documents.values())
    cleaned = replace(
        dataset,
        corpus=Corpus(
            kept,
            [cleaner.text(doc) for doc in kept],
            [cleaner.documents[doc][0] for doc in kept] if titled else None,
            [cleaner.documents[doc][1] for doc in kept] if titled else None,
        ),
        queries={query: text for query, text in cleaner.queries.items() if query in judged},
        splits={split: qrels for split, qrels in cleaner.splits.items() if qrels},
        groups={query: group for query, group in dataset.groups.items() if query in judged},
        answers={query: texts for query, texts in dataset.answers.items() if query in judged},
        warnings=(),
    )
    return cleaned, cleaner.drops, cleaner.changed


def tidy(text: str) -> str:
    """Return a text in composed form (NFC), without control characters, runs of spaces and runs of blank lines."""
    text = unicodedata.normalize("NFC", text).replace("\r\n", "\n").replace("\r", "\n")
    text = "".join(sign for sign in text if sign in "\n\t" or unicodedata.category(sign) not in ("Cc", "Cs"))
    text = re.sub(r"[^\S\n]+", " ", text.replace("\ufeff", "").replace("\u200b", ""))
    return re.sub(r"\n{3,}", "\n\n", re.sub(r" ?\n ?", "\n", text)).strip()


def _best_grades(judged: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Return the highest grade of each document."""
    grades: dict[str, int] = {}
    for doc, grade in judged:
        grades[doc] = max(grade, grades.get(doc, grade))
    return grades
