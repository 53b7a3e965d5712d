"""Templates among questions: "what are the symptoms of ...", asked of one name after another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.data.text import words

GAP = "..."
OTHER = "no template"
_WORD_SHARE = 0.005
_WORD_COUNT = 5
"""A word belongs to a template if it is in at least this share, and this number, of the questions."""
_TEMPLATE_SHARE = {3: 0.05, 4: 0.01}
_TEMPLATE_COUNT = 10
"""A template of three fixed words has at least this share of the questions, a longer one at least that, and each at
least this number: many natural questions, too, begin with the same three words."""


@dataclass(frozen=True)
class Template:
    """A pattern that several questions share."""

    pattern: str
    """The fixed words; a run of others is `...`."""
    members: tuple[int, ...]
    """Positions of the questions."""


def find_templates(questions: Sequence[str]) -> list[Template]:
    """Find templates, the most frequent first: fixed words with a gap that holds what differs.

    A word is fixed if many of the questions have it. Questions that begin with the same three fixed words or more,
    up to the gap, share a template whatever follows; others if all their fixed words are the same, around one gap.
    """
    tokens = [words(question) for question in questions]
    counts = Counter(word for found in tokens for word in set(found))
    floor = max(_WORD_COUNT, _WORD_SHARE * len(questions))
    members: dict[tuple[str, ...], list[int]] = {}
    for position, found in enumerate(tokens):
        if pattern := _pattern([word if counts[word] >= floor else GAP for word in found]):
            members.setdefault(pattern, []).append(position)
    templates = [
        Template(" ".join(pattern), tuple(positions))
        for pattern, positions in members.items()
        if len(positions) >= max(_TEMPLATE_COUNT, _TEMPLATE_SHARE[min(4, len(pattern) - 1)] * len(questions))
    ]
    return sorted(templates, key=lambda template: (-len(template.members), template.pattern))


def template_groups(questions: Mapping[str, str]) -> dict[str, str]:
    """Group questions by their template, so that averages over groups show what one frequent template hides.

    Args:
        questions: query id -> text.

    Returns:
        Query id -> pattern, `OTHER` for what follows none; empty where fewer than two templates are found or where
        they hold less than half of the questions.
    """
    ids = list(questions)
    templates = find_templates(list(questions.values()))
    groups = {ids[position]: template.pattern for template in templates for position in template.members}
    if len(templates) < 2 or len(groups) < len(ids) / 2:
        return {}
    return {query: groups.get(query, OTHER) for query in ids}


def is_template(label: str) -> bool:
    """Return whether a group's label is one that `template_groups` gives."""
    return label == OTHER or GAP in label.split(" ")


def _pattern(masked: Sequence[str]) -> tuple[str, ...]:
    """Return the pattern of a question whose other words are gaps; empty where it can have none."""
    if GAP not in masked:
        return ()
    start = masked.index(GAP)
    if start >= 3:
        return (*masked[:start], GAP)
    end = len(masked) - masked[::-1].index(GAP)
    pattern = (*masked[:start], GAP, *masked[end:])
    return pattern if len(pattern) > 3 and all(word == GAP for word in masked[start:end]) else ()
