"""Display names: two models or datasets of different content never share one, so that no table averages them."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path

from bench.data.files import expanded
from bench.data.text import shown_name

_HASH_DIGITS = 6


def distinct_names(items: Sequence[tuple[str, str, str]]) -> list[str]:
    """Return a name for each item. Items of one name and different content get the end of their paths.

    Args:
        items: the name, the path or the text that requested it, and the fingerprint of the content.

    Returns:
        As many names, in the same order. Where the paths do not tell items apart, the fingerprints do.
    """
    seen = [_as_seen(name) for name, _, _ in items]
    return [
        shown_name(name)
        if all(other == fingerprint for same, (_, _, other) in zip(seen, items, strict=True) if same == _as_seen(name))
        else _longer([item for item in items if _as_seen(item[0]) == _as_seen(name)], path, fingerprint)
        for name, path, fingerprint in items
    ]


def _as_seen(name: str) -> str:
    """Return a form that names share which look alike: the form of accents and control characters do not show."""
    return unicodedata.normalize("NFC", shown_name(name))


def _longer(clashing: Sequence[tuple[str, str, str]], path: str, fingerprint: str) -> str:
    """Return the shortest end of a path that no other content has, or the name with the fingerprint's beginning."""
    parts = _parts(path)
    shown = [_as_seen(part) for part in parts]
    others = [[_as_seen(part) for part in _parts(other)] for _, other, content in clashing if content != fingerprint]
    for length in range(2, len(parts) + 1):
        if all(shown[-length:] != other[-length:] for other in others):
            return shown_name("/".join(parts[-length:]))
    return f"{shown_name(clashing[0][0])}-{fingerprint[:_HASH_DIGITS]}"


def _parts(path: str) -> tuple[str, ...]:
    place = expanded(Path(path))
    return tuple(part for part in (place.resolve() if place.exists() else place).parts if part != place.anchor)
