"""Texts made comparable: what counts as the same question."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

_WORD = re.compile(r"\w+")


def words(text: str) -> list[str]:
    """Return the words of a text, in compatibility form (NFKC) and case-folded."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def normalise(text: str) -> str:
    """Return a text without case, punctuation, compatibility forms and spacing: equal results count as repeats.

    A text that has no words (only symbols) is compared as it stands, less its outer spaces.
    """
    return " ".join(words(text)) or text.strip()


def shingles(text: str, size: int = 3) -> set[str]:
    """Return the set of runs of `size` words; a text that is shorter gives one, all its words."""
    found = words(text)
    if len(found) <= size:
        return {" ".join(found)} if found else set()
    return {" ".join(found[start : start + size]) for start in range(len(found) - size + 1)}


_SENTENCE_END = re.compile(r"(?<=[.!?])[\"')\]]*\s+(?=[\"'(\[]?[A-Z0-9])")


def sentences(text: str) -> Iterator[str]:
    """Yield sentences, split after `.`, `!` or `?` before a capital or a digit. Rough."""
    for part in _SENTENCE_END.split(text):
        if part.strip():
            yield part.strip()
