"""Writing systems: scripts without spaces between words, and marks that belong to the letter before them."""

from __future__ import annotations

import re
import unicodedata
from functools import cache

_UNSPACED = (
    (0x0E00, 0x0FFF),  # Thai, Lao, Tibetan
    (0x1000, 0x109F),  # Burmese
    (0x1780, 0x17FF),  # Khmer
    (0x1950, 0x19FF),  # Tai Le, New Tai Lue, Khmer signs
    (0x1A20, 0x1AAF),  # Tai Tham
    (0x1B00, 0x1B7F),  # Balinese
    (0x3005, 0x3007),  # signs between Chinese characters
    (0x3040, 0x312F),  # Hiragana, Katakana, Bopomofo
    (0x31A0, 0x31FF),  # Bopomofo, Katakana
    (0x3400, 0x4DBF),  # Chinese characters
    (0x4E00, 0x9FFF),
    (0xA000, 0xA4CF),  # Yi
    (0xA980, 0xA9FF),  # Javanese, Burmese
    (0xAA60, 0xAADF),  # Burmese, Tai Viet
    (0xF900, 0xFAFF),  # Chinese characters
    (0xFF66, 0xFF9F),  # Katakana of half width
    (0x1B000, 0x1B16F),  # Hiragana, Katakana
    (0x20000, 0x3FFFF),  # Chinese characters
)
"""Ranges of the scripts that put no spaces between words."""
_HAN = ((0x3005, 0x3007), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x3FFFF))
_HANGUL = ((0x1100, 0x11FF), (0x3130, 0x318F), (0xA960, 0xA97F), (0xAC00, 0xD7FF))
_MARKS_END = 0x1F000
"""Above it lie no marks but the variation selectors."""
_JOINERS = "\u200c\u200d"
"""Signs inside words of Persian and of Indian scripts that show how letters join."""


def _class(ranges: tuple[tuple[int, int], ...]) -> str:
    """Return ranges for a character class of a regular expression."""
    return "".join(f"{chr(first)}-{chr(last)}" for first, last in ranges)


@cache
def marks() -> str:
    """Return the combining marks for a character class. Many scripts write vowels with them."""
    codes = [code for code in range(0x300, _MARKS_END) if unicodedata.category(chr(code)).startswith("M")]
    ranges: list[tuple[int, int]] = []
    for code in [*codes, *range(0xE0100, 0xE01F0)]:
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1] = (ranges[-1][0], code)
        else:
            ranges.append((code, code))
    return _class(tuple(ranges)) + _JOINERS


UNSPACED = _class(_UNSPACED)
"""The scripts without spaces between words, for a character class."""
HAN = _class(_HAN)
"""Chinese characters, for a character class."""
BIGRAMS = UNSPACED + _class(_HANGUL)
"""The scripts that are compared by pairs of letters: those without spaces, and Korean, whose words carry particles."""


@cache
def words_pattern() -> re.Pattern[str]:
    """Return the pattern of a word: letters, digits and their marks. In scripts without spaces it is one letter."""
    mark = marks()
    letter = rf"[^\W{UNSPACED}]"
    return re.compile(rf"(?=\w)[{UNSPACED}][{mark}]*|{letter}+(?:[{mark}]+{letter}*)*")
