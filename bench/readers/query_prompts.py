"""Prompts for queries: how a passage becomes a chat in which a model writes a question that the passage answers.

A TOML file may hold another prompt: `system`, `passage` with the slot `{passage}`, and `[[examples]]` with `passage`
and `question`. docs/data.md has one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pydantic
from pydantic import Field

from bench.readers.base import Messages
from bench.readers.prompts import SLOT, read_toml


class QueryExample(pydantic.BaseModel):
    """A passage with a question that it answers, shown before the real passage."""

    model_config = pydantic.ConfigDict(frozen=True, strict=True, extra="forbid")

    passage: str
    question: str


_EXAMPLES = (
    QueryExample(
        passage="Yeast is sold dry or fresh. Dry yeast keeps for a year in a cool place, fresh yeast for two weeks "
        "in the fridge.",
        question="how long does fresh yeast last in the fridge",
    ),
    QueryExample(
        passage="The deposit is paid back within 30 days after the flat is handed over, less the cost of repairs that "
        "the tenant has to bear.",
        question="When do I get my deposit back after moving out?",
    ),
    QueryExample(
        passage="A bicycle chain stretches with use. Once it is 0.75% longer than a new one, it wears out the "
        "sprockets and should be replaced.",
        question="at what wear should a bike chain be replaced",
    ),
)


class QueryPrompt(pydantic.BaseModel):
    """A prompt. `{passage}` is replaced; nothing else in braces is allowed."""

    model_config = pydantic.ConfigDict(frozen=True, strict=True, extra="forbid")

    system: str = "Write one question that a user would type into a search engine and that the passage answers."
    passage: str = "Passage: {passage}\n\nQuestion:"
    examples: Annotated[tuple[QueryExample, ...], Field(strict=False)] = _EXAMPLES

    @pydantic.model_validator(mode="after")
    def _check_slots(self) -> QueryPrompt:
        found = set(SLOT.findall(self.passage))
        if found != {"passage"}:
            raise ValueError(f"passage needs {{passage}}, and has {', '.join(sorted(found)) or 'nothing'} in braces")
        return self

    def messages(self, passage: str, number: int) -> Messages:
        """Return the chat that asks for a passage's question of this number, from 0.

        The examples are rotated by the number: a model that does the same each time then writes several questions.
        """
        turn = number % len(self.examples) if self.examples else 0
        chat = [("system", self.system)] if self.system else []
        for example in (*self.examples[turn:], *self.examples[:turn]):
            chat += [("user", self._filled(example.passage)), ("assistant", example.question)]
        return (*chat, ("user", self._filled(passage)))

    def _filled(self, passage: str) -> str:
        return SLOT.sub(lambda _: passage, self.passage)


def read_query_prompt(path: Path) -> QueryPrompt:
    """Read a prompt from a TOML file.

    Raises:
        BenchError: the file is not TOML, or a key is unknown or of the wrong type. The message names file and key.
    """
    return read_toml(path, QueryPrompt)
