"""Prompts: how a question and its passages become a chat.

A TOML file may hold another prompt: `system`, `with_context`, `without_context`, and any number of `[[examples]]`,
which make it a few-shot prompt. docs/answers.md has one.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Annotated, TypeVar

import pydantic
from pydantic import Field

from bench.errors import BenchError, describe_validation
from bench.readers.base import Messages

SLOT = re.compile(r"\{(\w+)\}")


Form = TypeVar("Form", bound=pydantic.BaseModel)


class Example(pydantic.BaseModel):
    """A question with its answer, shown before the real question."""

    model_config = pydantic.ConfigDict(frozen=True, strict=True, extra="forbid")

    question: str
    answer: str
    context: str = ""


class Prompt(pydantic.BaseModel):
    """A prompt. `{context}` and `{question}` are replaced; nothing else in braces is allowed."""

    model_config = pydantic.ConfigDict(frozen=True, strict=True, extra="forbid")

    system: str = "Answer the question with a few words, as short as possible."
    with_context: str = "{context}\n\nQuestion: {question}\nAnswer:"
    without_context: str = "Question: {question}\nAnswer:"
    examples: Annotated[tuple[Example, ...], Field(strict=False)] = ()

    @pydantic.model_validator(mode="after")
    def _check_slots(self) -> Prompt:
        for key, allowed in (("with_context", {"context", "question"}), ("without_context", {"question"})):
            found = set(SLOT.findall(getattr(self, key)))
            if found != allowed:
                needed = " and ".join(f"{{{name}}}" for name in sorted(allowed))
                raise ValueError(f"{key} needs {needed}, and has {', '.join(sorted(found)) or 'neither'}")
        return self

    def messages(self, question: str, context: str) -> Messages:
        """Return the chat for a question. An empty context means that the reader answers from memory."""
        chat = [("system", self.system)] if self.system else []
        for example in self.examples:
            chat.append(("user", self._filled(example.question, example.context if context else "")))
            chat.append(("assistant", example.answer))
        return (*chat, ("user", self._filled(question, context)))

    def _filled(self, question: str, context: str) -> str:
        values = {"question": question, "context": context}
        template = self.with_context if context else self.without_context
        return SLOT.sub(lambda slot: values[slot[1]], template)


def read_prompt(path: Path) -> Prompt:
    """Read a prompt from a TOML file.

    Raises:
        BenchError: the file is not TOML, or a key is unknown or of the wrong type. The message names file and key.
    """
    return read_toml(path, Prompt)


def read_toml(path: Path, model: type[Form]) -> Form:
    """Read a TOML file whose keys are the fields of a model.

    Raises:
        BenchError: the file is not TOML, or a key is unknown or of the wrong type. The message names file and key.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise BenchError(f"{path}: no such file") from error
    except (ValueError, RecursionError) as error:
        raise BenchError(f"{path}: not TOML: {error}") from error
    try:
        return model(**values)
    except pydantic.ValidationError as error:
        raise BenchError(f"{path}: {describe_validation(error, model.model_fields)}") from error
