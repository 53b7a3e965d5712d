"""A reader as a teacher of retrievers: how likely it finds the gold answer with each passage (Shi et al., 2023)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.data.files import cache_folder
from bench.errors import ModelError
from bench.expression import ExpressionError, parse
from bench.models.endpoint import PREFIX
from bench.progress import silent
from bench.readers.adaptation import is_adaptation
from bench.readers.base import Messages
from bench.readers.local import LocalReader
from bench.readers.locate import model_folder, reader_of
from bench.readers.prompts import Prompt
from bench.readers.smollm2 import NAME, require_smollm2
from bench.store.answers import ReadingCache

READER = "reader"


@dataclass(frozen=True)
class Likelihoods:
    """What a teacher said, and what it cost."""

    scores: list[tuple[float, ...]]
    """Of each question, the log-likelihood a token of its likeliest gold answer with each passage, in nats."""
    tokens: int
    """Tokens of prompts and answers, as if nothing had been read before."""
    seconds: float
    """What the readings took when they were made."""
    spared_seconds: float
    """The part of `seconds` that the cache spared."""


def is_reader(teacher: str) -> bool:
    """Whether a teacher's expression names a reader: `reader(smollm2)`."""
    try:
        return bool(teacher) and parse(teacher).name == READER
    except ExpressionError:
        return False


def reader_files(teacher: str) -> Sequence[Path]:
    """Return the files that decide what a reader says. Those of the packaged reader are pinned by their hash.

    Raises:
        ModelError: there is no such reader, or it gives no likelihoods.
    """
    name = _name(teacher)
    if name == NAME:
        require_smollm2()
        return ()
    if name.startswith(PREFIX):
        raise ModelError(f"{teacher}: an endpoint gives no likelihoods, so it cannot teach")
    if is_adaptation(name):
        raise ModelError(f"{teacher}: a teacher is a reader as it is. Give the folder of an adapted one")
    return sorted(path for path in model_folder(name).iterdir() if path.is_file())


def _name(teacher: str) -> str:
    expression = parse(teacher)
    if expression.options or len(expression.arguments) > 1:
        raise ModelError(f"{teacher}: write {READER}({NAME}) or {READER}(FOLDER)")
    return str(expression.arguments[0]).strip('"') if expression.arguments else NAME


class Teacher:
    """A reader that says how much a passage helps it.

    Args:
        reader: a local reader.
        cache: its readings; None is the user's cache.
    """

    def __init__(self, reader: LocalReader, cache: ReadingCache | None = None) -> None:
        self.reader = reader
        folder = cache_folder() / "readers"
        self.cache = cache or ReadingCache(folder / f"likelihoods--{reader.fingerprint}.jsonl")
        self.prompt = Prompt()

    @classmethod
    def of(cls, teacher: str, device: str, precision: str) -> Teacher:
        """Return the teacher of an expression such as `reader(smollm2)`.

        Raises:
            ModelError: there is no such reader.
        """
        reader = reader_of(_name(teacher), device, precision)
        assert isinstance(reader, LocalReader), "reader_files refuses endpoints"
        return cls(reader)

    def likelihoods(
        self, questions: Sequence[tuple[str, Sequence[str]]], passages: Sequence[Sequence[str]], max_tokens: int
    ) -> Likelihoods:
        """Return how likely the gold answers are with each passage.

        Args:
            questions: text and gold answers of each question.
            passages: of each question.
            max_tokens: tokens that a passage is cut to.
        """
        cut = {text: self.reader.cut(text, max_tokens)[0] for each in passages for text in each}
        asks: list[list[list[tuple[str, Messages, str]]]] = [
            [[self._ask(self.prompt.messages(question, cut[text]), gold) for gold in golds] for text in each]
            for (question, golds), each in zip(questions, passages, strict=True)
        ]
        needed = {ask[0]: ask for each in asks for passage in each for ask in passage}
        spared = sum(self.cache[key]["seconds"] for key in needed if key in self.cache)
        self.cache.complete(needed, self._read, silent, "reading")
        rows: list[Mapping[str, Any]] = [self.cache[key] for key in needed]
        scores = [
            tuple(max(self.cache[key]["log_likelihood"] for key, _, _ in passage) for passage in each) for each in asks
        ]
        tokens = sum(row["prompt_tokens"] + row["tokens"] for row in rows)
        return Likelihoods(scores, tokens, sum(row["seconds"] for row in rows), spared)

    def _ask(self, messages: Messages, gold: str) -> tuple[str, Messages, str]:
        key = hashlib.sha256(json.dumps([messages, gold]).encode()).hexdigest()[:32]
        return key, messages, gold

    def _read(self, asks: Mapping[str, tuple[str, Messages, str]]) -> Iterator[dict[str, Any]]:
        if asks:
            keys = list(asks)
            _, prompts, golds = zip(*asks.values(), strict=True)
            yield from ({"key": keys[place], **asdict(found)} for place, found in self.reader.score(prompts, golds))
