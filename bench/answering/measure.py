"""What is measured of a reader's answers, query by query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bench.evaluation.answers import ABSTENTIONS, abstains, exact_match, f1, match, token_support
from bench.evaluation.generated import score_texts
from bench.report.readings import MEASURES

if TYPE_CHECKING:
    import pandas as pd

    from bench.readers.judges import Judge

NAN = float("nan")


@dataclass(frozen=True)
class Measuring:
    """How answers are measured. None of it changes what the reader writes, so it is no part of a record's name."""

    abstentions: tuple[str, ...] = ABSTENTIONS
    """The phrases that count as an abstention."""
    bert: Path | None = None
    """The encoder of BERTScore. Without one it is left out."""
    bert_layer: int | None = None
    """The layer that BERTScore compares; None is its own choice, see `bench.evaluation.generated`."""
    judge: Judge | None = None
    """Says whether passages support answers. Without one there is no faithfulness."""
    usd_per_million: tuple[float, float] | None = None
    """Price of a million tokens of the reader's prompts, and of a million tokens that it writes."""
    device: str = "cpu"
    """Where the encoder of BERTScore computes."""


@dataclass
class Answered:
    """What a reader made of one query in one context."""

    context: str
    query: str
    question: str
    passages: str
    gold: tuple[str, ...]
    """Empty where the question has no answer."""
    text: str | None
    """The answer; None where none was asked for."""
    likelihoods: Sequence[float]
    """Of each gold answer."""
    values: dict[str, float] = field(default_factory=dict)
    """Measure -> value. A measure without a value is absent."""


def measure(answered: Sequence[Answered], measuring: Measuring) -> list[str]:
    """Add the values of every measure that needs no judge, and return sentences on what was left out.

    Raises:
        ModelError: BERTScore was asked for and cannot be measured.
    """
    for each in answered:
        each.values |= _values(each, measuring.abstentions)
    written = [each for each in answered if each.text is not None and each.gold]
    if not written:
        return []
    pairs = [(each.text or "", each.gold) for each in written]
    found, notes = score_texts(pairs, measuring.bert, measuring.bert_layer, measuring.device)
    for key, values in found.items():
        for each, value in zip(written, values.tolist(), strict=True):
            each.values[key] = value
    return notes


def table(answered: Sequence[Answered]) -> pd.DataFrame:
    """Return the values per query: columns `context`, `query`, `answer`, then the measures; NaN without a value."""
    import pandas as pd

    return pd.DataFrame(
        [
            {
                "context": each.context,
                "query": each.query,
                "answer": each.text or "",
                **{name: each.values.get(name, NAN) for name in MEASURES},
            }
            for each in answered
        ]
    )


def _values(each: Answered, phrases: Sequence[str]) -> dict[str, float]:
    """Return the measures that compare texts, and the likelihood.

    A question without a gold answer is answered right by an abstention, as in SQuAD 2 (Rajpurkar et al., 2018).
    """
    found = {"log_likelihood": max(each.likelihoods)} if each.likelihoods else {}
    if each.text is None:
        return found
    abstained = float(abstains(each.text, phrases))
    if each.gold:
        right = {"f1": f1, "match": match, "em": exact_match}
        found |= {name: function(each.text, each.gold) for name, function in right.items()}
    else:
        found |= dict.fromkeys(("f1", "match", "em"), abstained)
    if each.passages:
        found["support"] = token_support(each.text, each.passages)
    found["false_abstention" if each.gold and each.passages else "abstention"] = abstained
    return found
