"""Normalises texts for comparison, and splits them into words, shingles and sentences."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from bench.data.scripts import words_pattern

_SURROGATE = re.compile("[\ud800-\udfff]")
REPLACEMENT = "\ufffd"
_FILLERS = "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"
"""Signs that show nothing, although Unicode calls them letters, marks or symbols."""


_UNSHOWN = ("Cc", "Cf", "Cs", "Zl", "Zp")


def is_blank(text: str) -> bool:
    """Whether a text shows nothing: white space, control and format characters, fillers, variation selectors."""
    return not text or all(sign.isspace() or _is_invisible(sign) for sign in text)


def shown_name(name: str) -> str:
    """Return a name that shows on a line as it is: U+FFFD stands for line ends, control and format characters."""
    return "".join(REPLACEMENT if unicodedata.category(sign) in _UNSHOWN else sign for sign in name)


def _is_invisible(sign: str) -> bool:
    selector = "\ufe00" <= sign <= "\ufe0f" or "\U000e0000" <= sign <= "\U000e0fff"
    return selector or sign in _FILLERS or unicodedata.category(sign) in ("Cc", "Cf")


def without_surrogates(text: str) -> str:
    """Return a text in which U+FFFD stands for each half of a pair of UTF-16, which is no character."""
    return _SURROGATE.sub(REPLACEMENT, text)


def words(text: str) -> list[str]:
    """Return the words of a text, case-folded and in compatibility form (NFKC).

    Marks stay in their words. In scripts without spaces, each letter counts as a word.
    """
    return words_pattern().findall(unicodedata.normalize("NFKC", text).casefold())


def normalise(text: str) -> str:
    """Return a text without case, punctuation, compatibility forms and spacing. Texts with equal results are repeats.

    A text without words (only symbols) keeps everything but its outer spaces.
    """
    return " ".join(words(text)) or text.strip()


def shingles(text: str, size: int = 3) -> set[str]:
    """Return the set of all runs of `size` words. A shorter text gives one run of all its words."""
    all_words = words(text)
    if len(all_words) <= size:
        return {" ".join(all_words)} if all_words else set()
    return {" ".join(all_words[start : start + size]) for start in range(len(all_words) - size + 1)}


_SENTENCE_END = re.compile(r"(?<=[.!?])[\"')\]]*\s+(?=[\"'(\[]?[A-Z0-9])|(?<=[。！？।॥۔။។])\s*(?=\S)")


def sentences(text: str) -> Iterator[str]:
    """Yield the sentences of a text, split after `.`, `!` or `?` before a capital or a digit. This is a rough rule.

    Full stops of other scripts need no space and no capital.
    """
    for part in _SENTENCE_END.split(text):
        if part.strip():
            yield part.strip()
