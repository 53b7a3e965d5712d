"""Judges say whether passages support an answer. Here a language model is asked; `entailment` has a classifier."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Protocol

import pydantic
from pydantic import Field

from bench.readers.base import Messages, Reader, Written
from bench.readers.prompts import SLOT, read_toml

_SLOTS = {"question", "answer", "context"}
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Claim:
    """An answer with its question and the passages that should support it."""

    question: str
    answer: str
    context: str


class Judge(Protocol):
    """Says whether passages support answers. It says the same each time."""

    name: str
    """Readable, for tables."""
    fingerprint: str
    """Identifies everything that decides what it says, its prompt apart."""

    @property
    def prompt(self) -> JudgePrompt | None:
        """The prompt of a language model; None for a classifier."""
        ...

    def key(self, claim: Claim) -> str:
        """Return what identifies the verdict on a claim: equal keys have equal verdicts."""
        ...

    def verdicts(self, claims: Sequence[Claim]) -> Iterator[tuple[int, Written]]:
        """Yield (position, reply) of each claim, in any order, as soon as each is done.

        Raises:
            ModelError: the judge cannot say. Replies that were yielded before are valid.
        """
        ...

    def supports(self, reply: str) -> bool | None:
        """Return whether a reply says that the passages support the answer; None where it says neither."""
        ...


class JudgePrompt(pydantic.BaseModel):
    """What a language model is asked. `{question}`, `{answer}` and `{context}` are replaced."""

    model_config = pydantic.ConfigDict(frozen=True, strict=True, extra="forbid")

    system: str = "You check answers. Reply with one word: yes or no."
    user: str = (
        "Passages:\n{context}\n\nQuestion: {question}\nAnswer: {answer}\n\nDo the passages support every statement of "
        "this answer? Reply yes or no."
    )
    yes: Annotated[tuple[str, ...], Field(strict=False)] = ("yes", "supported")
    """First words of a reply that mean support, in lower case."""
    no: Annotated[tuple[str, ...], Field(strict=False)] = ("no", "not", "unsupported")
    max_tokens: Annotated[int, Field(ge=1)] = 8
    """The largest number of tokens of a reply."""

    @pydantic.model_validator(mode="after")
    def _check(self) -> JudgePrompt:
        found = set(SLOT.findall(self.user))
        if found != _SLOTS:
            raise ValueError(f"user needs {{answer}}, {{context}} and {{question}}, and has {', '.join(sorted(found))}")
        if both := sorted(set(self.yes) & set(self.no)):
            raise ValueError(f"{both[0]!r} stands in yes and in no")
        return self

    def messages(self, claim: Claim) -> Messages:
        """Return the chat about a claim."""
        values = {"question": claim.question, "answer": claim.answer, "context": claim.context}
        chat = [("system", self.system)] if self.system else []
        return (*chat, ("user", SLOT.sub(lambda slot: values[slot[1]], self.user)))


def read_judge_prompt(path: Path) -> JudgePrompt:
    """Read the prompt of a judge from a TOML file.

    Raises:
        BenchError: the file is not TOML, or a key is unknown or of the wrong type. The message names file and key.
    """
    return read_toml(path, JudgePrompt)


class ReaderJudge:
    """A language model that is asked, claim by claim (Zheng et al., 2023, Judging LLM-as-a-judge)."""

    def __init__(self, reader: Reader, prompt: JudgePrompt) -> None:
        self.reader, self.prompt = reader, prompt
        self.name, self.fingerprint = reader.name, reader.fingerprint

    def key(self, claim: Claim) -> str:
        """Return a hash of the reader and the chat."""
        identity = json.dumps([self.fingerprint, "judged", self.prompt.messages(claim), self.prompt.max_tokens])
        return hashlib.sha256(identity.encode()).hexdigest()[:32]

    def verdicts(self, claims: Sequence[Claim]) -> Iterator[tuple[int, Written]]:
        """Yield (position, reply) of each claim."""
        yield from self.reader.write([self.prompt.messages(claim) for claim in claims], self.prompt.max_tokens)

    def supports(self, reply: str) -> bool | None:
        """Return the verdict of a reply's first word."""
        first = next(iter(_WORD.findall(reply.lower())), "")
        if first in self.prompt.yes:
            return True
        return False if first in self.prompt.no else None
