"""What a reader is: it writes answers to prompts, and says how likely given answers are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

Messages = tuple[tuple[str, str], ...]
"""A chat: (role, text) of each message. Roles are `system`, `user` and `assistant`."""


@dataclass(frozen=True)
class Written:
    """An answer that a reader wrote, and what it cost."""

    text: str
    prompt_tokens: int
    tokens: int
    """Tokens that were written."""
    seconds: float
    """Its share of the time of its batch, or the time of its request."""


@dataclass(frozen=True)
class Scored:
    """How likely a reader finds an answer, and what it cost to ask."""

    log_likelihood: float
    """Mean natural logarithm of the probability of a token of the answer."""
    prompt_tokens: int
    tokens: int
    """Tokens of the answer."""
    seconds: float


class Reader(Protocol):
    """A language model. It does the same each time: nothing is sampled."""

    name: str
    """Readable, for tables."""
    fingerprint: str
    """Identifies everything that decides what it writes: weights, precision; of an endpoint, address and model."""
    scores: bool
    """Whether it can say how likely an answer is. Endpoints cannot."""

    def cut(self, text: str, tokens: int) -> tuple[str, int]:
        """Return the beginning of a text that is at most this number of tokens long, and its number of tokens."""
        ...

    def write(self, prompts: Sequence[Messages], max_tokens: int) -> Iterator[tuple[int, Written]]:
        """Yield (position, answer) of each prompt, in any order, as soon as each is done.

        Raises:
            ModelError: the reader cannot answer. Answers that were yielded before are valid.
        """
        ...

    def score(self, prompts: Sequence[Messages], answers: Sequence[str]) -> Iterator[tuple[int, Scored]]:
        """Yield (position, likelihood) of each prompt's answer, in any order, as soon as each is done."""
        ...
