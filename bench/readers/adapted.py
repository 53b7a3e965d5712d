"""Adapted readers: made once, kept as plain model folders in the cache, and measured for what they forget.

    readers/adapted/<name>/model/            a plain model folder: weights, configuration, tokeniser
    readers/adapted/<name>/adaptation.json   what made it, and the SHA-256 of its files

The name ends in a hash of the reader before, the options and every lesson. A folder is made complete or not at all: a
command that was killed trains again.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from bench.data.files import cache_folder
from bench.data.folders import new_folder
from bench.errors import ModelError, StoreError
from bench.evaluation.answers import match
from bench.progress import Progress, silent
from bench.readers.adaptation import Adaptation, DpoOptions
from bench.readers.lessons import Lesson, Lessons, Preference
from bench.readers.local import LocalReader
from bench.readers.tuning import DEV_QUESTIONS, Tuned, tune
from bench.records import StoredFile, StoredModel, with_digest, without_digest
from bench.statistics.resampling import bootstrap_means, interval
from bench.store.answers import ReadingCache
from bench.store.files import read_json, record_text, sha256, write_durably
from bench.store.provenance import provenance

MARK, MODEL = "adaptation.json", "model"
_FORMAT = 1
"""Raise it when what an adaptation does changes, so that none is taken for another one."""
_ANSWER_TOKENS = 24
"""The largest number of tokens of an answer of the reader's own."""
_TEXT_TOKENS = 128
"""Tokens of a text whose perplexity is measured."""


class Perplexity(StoredModel):
    """Perplexity a token on general text, before and after. What a reader forgets raises it."""

    before: float
    after: float
    ratio_low: float
    """after / before: the lower end of its 95% bootstrap interval over texts."""
    ratio_high: float
    texts: int
    tokens: int


class AdaptationRecord(StoredModel):
    """`adaptation.json`: how a reader was adapted, what that cost, and what it forgot."""

    expression: str
    kind: str
    base: str
    base_fingerprint: str
    options: dict[str, Any]
    train_queries: int
    dev_queries: int
    """Development questions that chose the checkpoint; 0 kept the last one."""
    preferences: int = 0
    """Of `dpo`: training questions that the reader answered wrongly itself."""
    prompt_tokens: int = 0
    tokens: int = 0
    """Of `dpo`: tokens that the reader read and wrote for its own answers."""
    steps: int = 0
    best_step: int = 0
    stopped_by: str = ""
    over_budget: bool = False
    trainable_params: int = 0
    seconds: float = 0.0
    """Seconds of the steps and of the reader's own answers."""
    losses: list[float] = Field(default_factory=list)
    dev: dict[str, float] = Field(default_factory=dict)
    """Step -> mean log-likelihood a token of the gold answers to development questions, in nats; 0 is before."""
    perplexity: Perplexity | None = None
    environment: dict[str, Any] = Field(default_factory=dict)
    files: dict[str, StoredFile] = Field(default_factory=dict)


def adapted_reader(
    adaptation: Adaptation,
    base: LocalReader,
    lessons: Lessons,
    general: Sequence[str],
    cache: Path | None = None,
    progress: Progress = silent,
) -> tuple[LocalReader, AdaptationRecord]:
    """Return an adapted reader with its record. It is trained where the cache does not hold it.

    Args:
        adaptation: how it is adapted. Its `base` is not looked up, and shown by its own name.
        base: the reader before.
        lessons: what it learns from.
        general: texts outside the domain, on which forgetting is measured.
        cache: the folder of adapted readers; None is the user's.
        progress: is called with `answering` and `tuning` and the numbers done and needed.

    Raises:
        ModelError: there is nothing to learn from, a package is missing, or the training diverged.
        BudgetError: the budget does not pay for one step.
    """
    from filelock import FileLock

    if not lessons.train:
        raise ModelError(f"{adaptation}: no training question has a gold answer, so there is nothing to learn from")
    adaptation = replace(adaptation, base=base.name)  # without the path of a folder
    root = cache or cache_folder() / "readers"
    folder = root / "adapted" / _name(adaptation, base, lessons, general)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f".{folder.name}.lock")):
        record = _kept(folder)
        if record is None:
            shutil.rmtree(folder, ignore_errors=True)  # what is there is damaged
            with new_folder(folder) as temporary:
                _make(temporary, adaptation, base, lessons, general, root, progress)
            record = _kept(folder)
            assert record is not None
    return LocalReader(folder / MODEL, str(adaptation), base.device, base.precision), record


def _name(adaptation: Adaptation, base: LocalReader, lessons: Lessons, general: Sequence[str]) -> str:
    dev = lessons.dev[:DEV_QUESTIONS]
    identity = [
        _FORMAT, base.fingerprint, adaptation.kind, asdict(adaptation.options),
        [asdict(each) for each in lessons.train], [asdict(each) for each in dev], list(general),
    ]  # fmt: skip
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]
    return f"{re.sub(r'[^A-Za-z0-9.=+-]+', '-', str(adaptation)).strip('-.')[:60]}--{digest}"


def _kept(folder: Path) -> AdaptationRecord | None:
    """Return the record of a reader in the cache; None where there is none, or where it or a file is damaged."""
    try:
        record = AdaptationRecord.from_json_values(without_digest(read_json(folder / MARK)))
    except (OSError, StoreError):
        return None
    whole = all(
        (folder / name).is_file() and sha256(folder / name) == listed.sha256 for name, listed in record.files.items()
    )
    return record if whole else None


def _make(
    folder: Path, adaptation: Adaptation, base: LocalReader, lessons: Lessons, general: Sequence[str], root: Path,
    progress: Progress,
) -> None:  # fmt: skip
    """Train a reader into a folder, and write its record last."""
    options, dev = adaptation.options, lessons.dev[:DEV_QUESTIONS]
    learned: Sequence[Lesson | Preference] = lessons.train
    paid = dict.fromkeys(("prompt_tokens", "tokens", "seconds"), 0.0)
    if isinstance(options, DpoOptions):
        learned, paid = _preferences(base, lessons.train, root, progress)
        if not learned:
            raise ModelError(f"{adaptation}: {base.name} gives no wrong answer to a training question")
    tuned = tune(base, options, learned, dev, folder / MODEL, paid["seconds"], progress)
    after = LocalReader(folder / MODEL, str(adaptation), base.device, base.precision)
    record = AdaptationRecord(
        expression=str(adaptation),
        kind=adaptation.kind,
        base=base.name,
        base_fingerprint=base.fingerprint,
        options=asdict(options),
        train_queries=len(lessons.train),
        dev_queries=len(dev),
        preferences=len(learned) if isinstance(options, DpoOptions) else 0,
        prompt_tokens=int(paid["prompt_tokens"]),
        tokens=int(paid["tokens"]),
        **_measured(tuned),
        seconds=tuned.seconds + paid["seconds"],
        perplexity=_perplexity(base, after, general),
        environment=provenance(),
    )
    record.files = {
        path.relative_to(folder).as_posix(): StoredFile(bytes=path.stat().st_size, sha256=sha256(path))
        for path in sorted((folder / MODEL).iterdir())
    }
    write_durably(folder / MARK, record_text(with_digest(record.model_dump())))


def _measured(tuned: Tuned) -> dict[str, Any]:
    values = asdict(tuned)
    del values["seconds"]
    return values | {"dev": {str(step): value for step, value in tuned.dev.items()}}


def _preferences(
    reader: LocalReader, lessons: Sequence[Lesson], root: Path, progress: Progress
) -> tuple[list[Preference], dict[str, float]]:
    """Return the gold answer over the reader's own, for each question that it answers wrongly, and the cost of asking.

    An answer is wrong if no gold answer stands in it as whole words. An empty answer is no answer, and is left out.
    """
    keys = [hashlib.sha256(json.dumps([each.messages, _ANSWER_TOKENS]).encode()).hexdigest()[:32] for each in lessons]
    kept = ReadingCache(root / f"answers--{reader.fingerprint}.jsonl")
    asked = dict(zip(keys, lessons, strict=True))

    def write(missing: Mapping[str, Lesson]) -> Iterator[dict[str, Any]]:
        names = list(missing)
        made = reader.write([each.messages for each in missing.values()], _ANSWER_TOKENS)
        yield from ({"key": names[place], **asdict(written)} for place, written in made)

    kept.complete(asked, write, progress, "answering")
    rows: list[Mapping[str, Any]] = [kept[key] for key in keys]
    paid = {unit: float(sum(row[unit] for row in rows)) for unit in ("prompt_tokens", "tokens", "seconds")}
    preferences = [
        Preference(each.messages, each.answer, row["text"])
        for each, row in zip(lessons, rows, strict=True)
        if row["text"] and not match(row["text"], each.golds or (each.answer,))
    ]
    return preferences, paid


def _perplexity(before: LocalReader, after: LocalReader, texts: Sequence[str]) -> Perplexity | None:
    """Return the perplexity of both readers on texts, and the interval of their ratio; None without texts."""
    if not texts:
        return None
    first, second = (reader.text_log_likelihoods(texts, _TEXT_TOKENS) for reader in (before, after))
    values = np.array([[-a, -b, n] for (a, n), (b, _) in zip(first, second, strict=True)])
    sums = values.sum(axis=0)
    samples = bootstrap_means(values)
    low, high = interval(np.exp((samples[:, 1] - samples[:, 0]) / samples[:, 2]))
    return Perplexity(
        before=math.exp(sums[0] / sums[2]),
        after=math.exp(sums[1] / sums[2]),
        ratio_low=low,
        ratio_high=high,
        texts=len(texts),
        tokens=int(sums[2]),
    )
