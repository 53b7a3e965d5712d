"""A reader over every strategy's stored rankings: it reads, is measured, and leaves a record in the run."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from bench.answering.contexts import Assembler, Passages, documents
from bench.answering.faithfulness import judge_answers
from bench.answering.measure import Answered, Measuring, measure, table
from bench.data.dataset import Dataset
from bench.errors import BenchError
from bench.progress import Progress, silent
from bench.readers.base import Messages, Reader
from bench.readers.prompts import Prompt
from bench.report.load import LoadedRun
from bench.report.readings import MEASURES
from bench.report.texts import find_texts
from bench.store.answers import AnswerRecord, ContextSummary, ReadingCache, put_answers
from bench.store.provenance import provenance

WRITTEN, SCORED = "written", "scored"
_MILLION = 1_000_000


@dataclass(frozen=True)
class AnswerSettings:
    """How a reader is used."""

    top: int = 1
    """Passages that the reader is shown."""
    context_tokens: int = 512
    """The largest number of tokens of all passages."""
    max_tokens: int = 24
    """The largest number of tokens of an answer."""
    queries: int | None = None
    """A sample of so many queries; None is all."""
    generate: int | None = None
    """Of these, the number of queries for which answers are written; None is all, and 0 asks for likelihoods alone."""


@dataclass(frozen=True)
class Adapted:
    """What a reader was adapted to, and how."""

    target: tuple[str, str]
    """Dataset and split whose training questions it learned from."""
    record: Mapping[str, Any] = field(default_factory=dict)
    """The record of the adaptation, as plain values; empty for the reader before."""


@dataclass(frozen=True)
class _Ask:
    """One request: an answer to a prompt, or the likelihood of a gold answer."""

    key: str
    kind: str
    messages: Messages
    gold: str = ""


def answer(
    run: LoadedRun, reader: Reader, settings: AnswerSettings, prompt: Prompt | None = None, progress: Progress = silent,
    measuring: Measuring | None = None, adapted: Adapted | None = None,
) -> list[AnswerRecord]:  # fmt: skip
    """Let a reader answer from every strategy's rankings, and write what came of it into the run.

    Readings that the run holds already are not paid again.

    Args:
        run: a finished run. Its cells hold their rankings.
        reader: the reader.
        settings: how it is used.
        prompt: None is the default, without examples.
        progress: is called with `reading` or `judging` and the numbers of readings done and needed.
        measuring: what is measured; None is everything that needs no option.
        adapted: of a reader that was adapted to one dataset, and of the one before: that dataset, which alone it reads.

    Returns:
        A record for each dataset and split.

    Raises:
        BenchError: no dataset of the run has gold answers, or one is not where the run found it.
        ModelError: the reader, its judge or a measure's model failed. What was read and judged before is kept.
        StoreError: a cell has no ranking.
    """
    prompt, measuring = prompt or Prompt(), measuring or Measuring()
    targets = [adapted.target] if adapted is not None else targets_of(run)
    adaptation = adapted.record if adapted is not None else {}
    records, reasons = [], []
    for dataset_name, split in targets:
        dataset, reason = _dataset(run, dataset_name, split)
        if dataset is None:
            reasons.append(reason)
            continue
        record = _answer_one(
            run, dataset, dataset_name, split, reader, settings, prompt, measuring, progress, adaptation
        )
        records.append(record)
    if not records:
        raise BenchError("; ".join(reasons))
    return records


def targets_of(run: LoadedRun) -> list[tuple[str, str]]:
    """Return the datasets of a run with their splits, each once."""
    return list(dict.fromkeys((comparison.dataset, comparison.split) for comparison in run.comparisons))


def _dataset(run: LoadedRun, name: str, split: str) -> tuple[Dataset | None, str]:
    """Return a dataset with gold answers to queries of a split, or None and the reason."""
    comparison = next(each for each in run.comparisons if (each.dataset, each.split) == (name, split))
    texts = find_texts(run, comparison)
    if texts.dataset is None:
        return None, f"dataset {name!r} is needed for its texts and answers: {texts.reason}"
    if not any(texts.dataset.answers.get(query) for query in texts.dataset.qrels(split)):
        return None, f"dataset {name!r} has no gold answers to queries of {split!r}: see docs/answers.md"
    return texts.dataset, ""


def drawn(queries: Iterable[str], count: int | None) -> list[str]:
    """Return so many queries, drawn by a hash of their ids, sorted. A smaller sample lies within a larger one."""
    ordered = sorted(queries, key=lambda query: hashlib.sha256(query.encode()).digest())
    return sorted(ordered[:count])


def _answer_one(
    run: LoadedRun, dataset: Dataset, name: str, split: str, reader: Reader, settings: AnswerSettings, prompt: Prompt,
    measuring: Measuring, progress: Progress, adaptation: Mapping[str, Any],
) -> AnswerRecord:  # fmt: skip
    judged = dataset.judged(split)
    queries = drawn((query for query in judged if query in dataset.answers), settings.queries)
    generated = set(drawn(queries, settings.generate))
    if not reader.scores and not generated:
        raise BenchError(f"{reader.name} gives no likelihoods, so without answers (--generate 0) nothing is measured")
    cells = [cell.cell for cell in run.results if cell.usable and (cell.dataset, cell.split) == (name, split)]
    assemble = Assembler(reader, dataset.corpus, settings.context_tokens)
    shown = {
        context: {query: assemble(docs) for query, docs in found.items()}
        for context, found in documents(run, cells, dataset, split, queries, settings.top).items()
    }
    asks = {
        (context, query): list(
            _asks(
                reader, prompt, settings, dataset.queries[query], passages, dataset.answers[query], query in generated
            )
        )
        for context, found in shown.items()
        for query, passages in found.items()
    }
    readings = ReadingCache.of_run(run.store, reader.fingerprint)
    needed = {ask.key: ask for each in asks.values() for ask in each}
    paid = readings.complete(needed, lambda missing: _rows(reader, missing, settings), progress, "reading")
    if measuring.usd_per_million is not None:
        paid["usd"] = _usd(paid, measuring.usd_per_million)
    answered = _answered(shown, asks, readings, dataset)
    notes = measure(answered, measuring)
    judge = None
    if measuring.judge is not None:
        judge = judge_answers(answered, measuring.judge, measuring.abstentions, run.store, progress)
    record = AnswerRecord(
        name=_name(name, split, reader, settings, prompt, dataset),
        dataset=name,
        split=split,
        reader=reader.name,
        reader_fingerprint=reader.fingerprint,
        prompt=prompt.model_dump(mode="json"),
        settings=asdict(settings),
        fingerprints={"dataset": dataset.fingerprint},
        contexts=_summaries(shown, asks, readings, answered),
        n_queries=len(queries),
        left_out=sum(query not in dataset.answers for query in judged),
        unanswerable=sum(not dataset.answers[query] for query in queries),
        paid=paid,
        usd_per_million=None if measuring.usd_per_million is None else list(measuring.usd_per_million),
        abstentions=list(measuring.abstentions),
        notes=notes,
        judge=judge,
        adaptation=dict(adaptation),
        environment=provenance(),
    )
    put_answers(run.store, record, table(answered))
    return record


def _name(dataset: str, split: str, reader: Reader, settings: AnswerSettings, prompt: Prompt, content: Dataset) -> str:
    identity = [
        content.fingerprint, dataset, split, reader.fingerprint, asdict(settings), prompt.model_dump(mode="json")
    ]  # fmt: skip
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:10]
    readable = re.sub(r"[^A-Za-z0-9.+-]+", "-", f"{reader.name}--{dataset}--top-{settings.top}").strip("-.")[:60]
    return f"{readable}--{digest}"


def _asks(
    reader: Reader, prompt: Prompt, settings: AnswerSettings, question: str, passages: Passages, gold: Sequence[str],
    is_generated: bool,
) -> Iterator[_Ask]:  # fmt: skip
    """Yield what is asked about a query in one context."""
    messages = prompt.messages(question, passages.text)
    if is_generated:
        yield _Ask(_key(reader, WRITTEN, messages, settings.max_tokens), WRITTEN, messages)
    if reader.scores:
        for each in gold:
            yield _Ask(_key(reader, SCORED, messages, each), SCORED, messages, each)


def _key(reader: Reader, kind: str, messages: Messages, asked: object) -> str:
    identity = json.dumps([reader.fingerprint, kind, messages, asked])
    return hashlib.sha256(identity.encode()).hexdigest()[:32]


def _rows(reader: Reader, asks: Mapping[str, _Ask], settings: AnswerSettings) -> Iterator[dict[str, Any]]:
    """Yield the readings of these requests as they come."""
    written = [ask for ask in asks.values() if ask.kind == WRITTEN]
    for place, made in reader.write([ask.messages for ask in written], settings.max_tokens) if written else ():
        yield {"key": written[place].key, **asdict(made)}
    scored = [ask for ask in asks.values() if ask.kind == SCORED]
    prompts, golds = [ask.messages for ask in scored], [ask.gold for ask in scored]
    for place, found in reader.score(prompts, golds) if scored else ():
        yield {"key": scored[place].key, **asdict(found)}


def _answered(
    shown: Mapping[str, Mapping[str, Passages]], asks: Mapping[tuple[str, str], Sequence[_Ask]], readings: ReadingCache,
    dataset: Dataset,
) -> list[Answered]:  # fmt: skip
    """Return what the reader made of each query in each context."""
    found = []
    for (context, query), own in asks.items():
        made = [(ask, readings[ask.key]) for ask in own]
        found.append(
            Answered(
                context,
                query,
                dataset.queries[query],
                shown[context][query].text,
                dataset.answers[query],
                next((row["text"] for ask, row in made if ask.kind == WRITTEN), None),
                [row["log_likelihood"] for ask, row in made if ask.kind == SCORED],
            )
        )
    return found


def _summaries(
    shown: Mapping[str, Mapping[str, Passages]], asks: Mapping[tuple[str, str], Sequence[_Ask]], readings: ReadingCache,
    answered: Sequence[Answered],
) -> dict[str, ContextSummary]:  # fmt: skip
    """Return context -> the means of all measures, and the costs as if no other context had shared the readings."""
    summaries: dict[str, ContextSummary] = {}
    for context, found in shown.items():
        summary = summaries[context] = ContextSummary(
            context_tokens=float(np.mean([passages.tokens for passages in found.values()]))
        )
        for query in found:
            for ask in asks[context, query]:
                made = readings[ask.key]
                summary.prompt_tokens += made["prompt_tokens"]
                summary.tokens += made["tokens"]
                summary.seconds += made["seconds"]
        rows = [each.values for each in answered if each.context == context]
        for name in MEASURES:
            known = [row[name] for row in rows if not np.isnan(row.get(name, np.nan))]
            if known:
                summary.metrics[name], summary.n[name] = float(np.mean(known)), len(known)
    return summaries


def _usd(costs: Mapping[str, float], prices: tuple[float, float]) -> float:
    return (costs["prompt_tokens"] * prices[0] + costs["tokens"] * prices[1]) / _MILLION
