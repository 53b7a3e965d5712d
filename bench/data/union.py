"""The union of datasets, `a+b`: the queries of the first one, searched in the corpora of all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bench.data.dataset import Corpus, Dataset
from bench.data.stored import Chained
from bench.errors import DataError

SIGN = "+"


def union(parts: Sequence[Dataset]) -> Dataset:
    """Return the first dataset, with the documents of the other ones added to its corpus.

    Queries, judgements, answers, groups and settings are those of the first dataset. Its documents keep their ids.
    Every other document gets the name of its dataset before its id: `boolq:p7`. No query judges these documents.

    Raises:
        DataError: two datasets have one name, or an id that the union makes is an id of the first dataset.
    """
    first, *others = parts
    names = [part.name for part in parts]
    if len(set(names)) < len(names):
        raise DataError(f"dataset {SIGN.join(names)!r}: two datasets have one name; rename a folder")
    corpus = _joined([first.corpus, *(_renamed(part) for part in others)])
    if clash := next((doc for doc in corpus.ids[len(first.corpus) :] if doc in first.corpus.positions), None):
        raise DataError(f"dataset {SIGN.join(names)!r}: {first.name} has a document with the id {clash!r} of another's")
    info = replace(
        first.info,
        name=SIGN.join(names),
        title=f"{first.info.title or first.name}; searched together with the documents of {', '.join(names[1:])}",
        licence="; ".join(dict.fromkeys(part.info.licence for part in parts)),
        source="; ".join(dict.fromkeys(part.info.source for part in parts if part.info.source)),
        expected={},
    )
    warnings = [*first.warnings, *_shared_texts(first, others)]
    return replace(first, info=info, corpus=corpus, warnings=tuple(warnings))


def merged_corpus(parts: Sequence[Dataset]) -> Corpus:
    """Return the documents of all datasets, each with the name of its dataset before its id: `boolq:p7`."""
    return _joined([_renamed(part) for part in parts])


def _joined(corpora: Sequence[Corpus]) -> Corpus:
    titled = any(corpus.titles is not None for corpus in corpora)
    return Corpus(
        [doc for corpus in corpora for doc in corpus.ids],
        _chained([corpus.texts for corpus in corpora]),
        _chained([corpus.titles or [""] * len(corpus) for corpus in corpora]) if titled else None,
        _chained([corpus.bodies or corpus.texts for corpus in corpora]) if titled else None,
    )


def _renamed(part: Dataset) -> Corpus:
    return replace(part.corpus, ids=[f"{part.name}:{doc}" for doc in part.corpus.ids])


def _chained(parts: Sequence[Sequence[str]]) -> Sequence[str]:
    """Return the texts of all parts. Texts that lie in a file stay there."""
    if all(isinstance(part, list) for part in parts):
        return [text for part in parts for text in part]
    return Chained(parts)


def _shared_texts(first: Dataset, others: Sequence[Dataset]) -> list[str]:
    """Return a warning where documents of the other datasets repeat documents that the first one may judge."""
    own = {hash(text) for text in first.corpus.texts}
    warnings = []
    for part in others:
        if copies := sum(hash(text) in own for text in part.corpus.texts):
            warnings.append(
                f"{copies} documents of {part.name} have the text of a document of {first.name}: a copy of a relevant "
                "document counts as not relevant"
            )
    return warnings
