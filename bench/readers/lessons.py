"""What a reader learns from: a prompt with its gold answer, and for `dpo` with a wrong answer too."""

from __future__ import annotations

from dataclasses import dataclass

from bench.readers.base import Messages


@dataclass(frozen=True)
class Lesson:
    """A prompt, and the answer that the reader shall give."""

    messages: Messages
    answer: str
    golds: tuple[str, ...] = ()
    """All gold answers. An answer of the reader's own is wrong if none of them stands in it."""


@dataclass(frozen=True)
class Lessons:
    """Lessons of training questions and of development questions."""

    train: tuple[Lesson, ...]
    dev: tuple[Lesson, ...] = ()
    """On these the checkpoint is chosen. Empty keeps the last one."""


@dataclass(frozen=True)
class Preference:
    """A prompt with a better and a worse answer."""

    messages: Messages
    better: str
    worse: str
