"""Answers for the toy dataset, and readers with planted behaviour."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from bench.readers.base import Messages, Scored, Written


def texts_of(folder: Path) -> dict[str, str]:
    """Document id -> text, as a dataset joins title and body."""
    rows = map(json.loads, (folder / "corpus.jsonl").read_text(encoding="utf-8").splitlines())
    return {row["_id"]: f"{row.get('title') or ''} {row['text']}".strip() for row in rows}


def relevant(folder: Path, split: str = "test") -> dict[str, str]:
    """Query of a split -> its relevant document."""
    rows = (folder / "qrels" / f"{split}.tsv").read_text(encoding="utf-8").splitlines()[1:]
    return {query: doc for query, doc, _ in (row.split("\t") for row in rows)}


def add_answers(folder: Path, unanswerable: int = 0, splits: Sequence[str] = ("test",)) -> dict[str, list[str]]:
    """Give each query the first words of its relevant document as its answer, and none to the first few queries."""
    texts, judged = texts_of(folder), [pair for split in splits for pair in relevant(folder, split).items()]
    answers = {query: [" ".join(texts[doc].split()[:6])] for query, doc in judged}
    answers |= {query: [] for query in sorted(answers)[:unanswerable]}
    lines = [json.dumps({"query-id": query, "answers": each}) for query, each in answers.items()]
    (folder / "answers.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return answers


class PlantedReader:
    """Answers right exactly when the relevant document is in its prompt, or never where it ignores its context.

    Args:
        folder: a dataset with answers.
        ignores: whether it ignores the context.
        unanswerable: the number of queries to which it has no answer, and says so.
    """

    scores = True

    def __init__(self, folder: Path, ignores: bool = False, unanswerable: int = 0) -> None:
        self.name = self.fingerprint = "ignoring" if ignores else "planted"
        self.ignores = ignores
        self.prompts: list[Messages] = []
        texts, answers = texts_of(folder), add_answers(folder, unanswerable)
        rows = map(json.loads, (folder / "queries.jsonl").read_text(encoding="utf-8").splitlines())
        questions = {row["_id"]: row["text"] for row in rows}
        docs = relevant(folder)
        self.known: Mapping[str, tuple[str, str]] = {
            questions[query]: (texts[docs[query]], each[0] if each else "no answer") for query, each in answers.items()
        }

    def cut(self, text: str, tokens: int) -> tuple[str, int]:
        words = text.split(" ")
        return " ".join(words[:tokens]), min(len(words), tokens)

    def knows(self, prompt: Messages) -> tuple[bool, str]:
        self.prompts.append(prompt)
        shown = prompt[-1][1]
        passage, gold = next(known for question, known in self.known.items() if question in shown)
        return passage in shown and not self.ignores, gold

    def write(self, prompts: Sequence[Messages], max_tokens: int) -> Iterator[tuple[int, Written]]:
        for place, prompt in enumerate(prompts):
            knows, gold = self.knows(prompt)
            yield place, Written(gold if knows else "zebra", 10, 2, 0.5)

    def score(self, prompts: Sequence[Messages], answers: Sequence[str]) -> Iterator[tuple[int, Scored]]:
        for place, prompt in enumerate(prompts):
            knows, gold = self.knows(prompt)
            yield place, Scored(-0.5 if knows else -3.0 - (zlib.crc32(gold.encode()) % 100) / 100, 10, 2, 0.25)
