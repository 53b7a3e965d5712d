"""Faithfulness: whether the passages that a reader was shown support what it answered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from bench.answering.measure import Answered
from bench.evaluation.answers import abstains
from bench.progress import Progress
from bench.readers.judges import Claim, Judge
from bench.store.answers import JudgeSummary, ReadingCache
from bench.store.store import Store


def judge_answers(
    answered: Sequence[Answered], judge: Judge, abstentions: Sequence[str], store: Store, progress: Progress
) -> JudgeSummary:
    """Add faithfulness and hallucination to answers that were written from passages.

    Faithfulness is 1 where the passages support the answer and 0 where they do not. An abstention claims nothing and
    has no value. Hallucination is 1 where the answer claims what the passages do not support, and 0 for every other
    answer, abstentions included. Verdicts are kept beside the readings, so that none is paid twice.

    Raises:
        ModelError: the judge failed. Its verdicts before that are kept.
    """
    shown = [each for each in answered if each.text is not None and each.passages]
    claims: dict[str, Claim] = {}
    keys: list[str | None] = []
    for each in shown:
        claim = Claim(each.question, each.text or "", each.passages)
        key = None if abstains(claim.answer, abstentions) else judge.key(claim)
        keys.append(key)
        if key is not None:
            claims[key] = claim
    verdicts = ReadingCache.of_run(store, judge.fingerprint)
    paid = verdicts.complete(claims, lambda missing: _rows(judge, missing), progress, "judging")
    unreadable = 0
    for each, key in zip(shown, keys, strict=True):
        if key is None:
            each.values["hallucination"] = 0.0
            continue
        supported = judge.supports(verdicts[key]["text"])
        if supported is None:
            unreadable += 1
            continue
        each.values |= {"faithfulness": float(supported), "hallucination": float(not supported)}
    prompt = judge.prompt.model_dump(mode="json") if judge.prompt is not None else {}
    return JudgeSummary(name=judge.name, fingerprint=judge.fingerprint, prompt=prompt, unreadable=unreadable, paid=paid)


def _rows(judge: Judge, claims: Mapping[str, Claim]) -> Iterator[dict[str, Any]]:
    """Yield the verdicts on these claims as they come."""
    keys = list(claims)
    for place, reply in judge.verdicts(list(claims.values())) if keys else ():
        yield {"key": keys[place], **asdict(reply)}
