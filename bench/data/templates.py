"""Finds templates among questions, such as "what are the symptoms of ..." with one name after another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.data.text import words

GAP = "..."
OTHER = "no template"
_WORD_SHARE = 0.005
_WORD_COUNT = 5
"""A word can be fixed in a template if at least this share and this number of the questions have it."""
_TEMPLATE_SHARE = {3: 0.05, 4: 0.01}
_TEMPLATE_COUNT = 10
"""Number of fixed words -> least share of the questions, and the least number of questions. Short templates need a
larger share, as many natural questions begin with the same three words."""


@dataclass(frozen=True)
class Template:
    """A pattern that several questions share."""

    pattern: str
    """The fixed words, with `...` for a run of other words."""
    members: tuple[int, ...]
    """Positions of the questions."""


def find_templates(questions: Sequence[str]) -> list[Template]:
    """Return the templates among questions, beginning with the most frequent one.

    A template is a pattern of fixed words around a gap. A word is fixed if many of the questions have it. Questions
    that begin with the same three or more fixed words share a template, whatever follows the gap. Other questions share
    a template if all their fixed words are the same and surround one gap.
    """
    tokens = [words(question) for question in questions]
    counts = Counter(word for question in tokens for word in set(question))
    floor = max(_WORD_COUNT, _WORD_SHARE * len(questions))
    members: dict[tuple[str, ...], list[int]] = {}
    for position, question in enumerate(tokens):
        if pattern := _pattern([word if counts[word] >= floor else GAP for word in question]):
            members.setdefault(pattern, []).append(position)
    templates = [
        Template(" ".join(pattern), tuple(positions))
        for pattern, positions in members.items()
        if len(positions) >= max(_TEMPLATE_COUNT, _TEMPLATE_SHARE[min(4, len(pattern) - 1)] * len(questions))
    ]
    return sorted(templates, key=lambda template: (-len(template.members), template.pattern))


def template_groups(questions: Mapping[str, str]) -> dict[str, str]:
    """Return the group of each question, named by its template. Averages over groups show what a frequent one hides.

    Args:
        questions: query id -> text.

    Returns:
        Query id -> pattern, or `OTHER` for a question without a template. Empty if there are fewer than two templates,
        or if they cover less than half of the questions.
    """
    ids = list(questions)
    templates = find_templates(list(questions.values()))
    groups = {ids[position]: template.pattern for template in templates for position in template.members}
    if len(templates) < 2 or len(groups) < len(ids) / 2:
        return {}
    return {query: groups.get(query, OTHER) for query in ids}


def is_template(label: str) -> bool:
    """Whether `template_groups` made this label of a group."""
    return label == OTHER or GAP in label.split(" ")


def _pattern(masked: Sequence[str]) -> tuple[str, ...]:
    """Return the pattern of a question whose words are masked unless fixed, or an empty tuple."""
    if GAP not in masked:
        return ()
    start = masked.index(GAP)
    if start >= 3:
        return (*masked[:start], GAP)
    end = len(masked) - masked[::-1].index(GAP)
    pattern = (*masked[:start], GAP, *masked[end:])
    return pattern if len(pattern) > 3 and all(word == GAP for word in masked[start:end]) else ()
