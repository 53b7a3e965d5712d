"""A reader over every strategy's stored rankings: it reads, is measured, and leaves a record in the run."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.answering.contexts import Assembler, Passages, documents
from bench.data.dataset import Dataset
from bench.errors import BenchError
from bench.evaluation.answers import exact_match, f1, match, token_support
from bench.progress import Progress, silent
from bench.readers.base import Messages, Reader
from bench.readers.prompts import Prompt
from bench.report.load import LoadedRun
from bench.report.texts import find_texts
from bench.store.answers import AnswerRecord, ContextSummary, ReadingCache, put_answers
from bench.store.provenance import provenance

if TYPE_CHECKING:
    import pandas as pd

WRITTEN, SCORED = "written", "scored"
MEASURES = ("em", "f1", "match", "support", "log_likelihood")
"""The measures of an answer, in the order of tables. The last needs no generation."""


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
class _Ask:
    """One request: an answer to a prompt, or the likelihood of a gold answer."""

    key: str
    kind: str
    messages: Messages
    gold: str = ""


def answer(
    run: LoadedRun, reader: Reader, settings: AnswerSettings, prompt: Prompt | None = None, progress: Progress = silent
) -> list[AnswerRecord]:
    """Let a reader answer from every strategy's rankings, and write what came of it into the run.

    Readings that the run holds already are not paid again.

    Args:
        run: a finished run. Its cells hold their rankings.
        reader: the reader.
        settings: how it is used.
        prompt: None is the default, without examples.
        progress: is called with `reading` and the numbers of readings done and needed.

    Returns:
        A record for each dataset and split.

    Raises:
        BenchError: no dataset of the run has gold answers, or one is not where the run found it.
        ModelError: the reader failed. What it read before is kept.
        StoreError: a cell has no ranking.
    """
    prompt = prompt or Prompt()
    targets = dict.fromkeys((comparison.dataset, comparison.split) for comparison in run.comparisons)
    records, reasons = [], []
    for dataset_name, split in targets:
        dataset, reason = _dataset(run, dataset_name, split)
        if dataset is None:
            reasons.append(reason)
            continue
        records.append(_answer_one(run, dataset, dataset_name, split, reader, settings, prompt, progress))
    if not records:
        raise BenchError("; ".join(reasons))
    return records


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
    progress: Progress,
) -> AnswerRecord:  # fmt: skip
    judged = dataset.judged(split)
    queries = drawn((query for query in judged if dataset.answers.get(query)), settings.queries)
    generated = set(drawn(queries, settings.generate))
    if not reader.scores and not generated:
        raise BenchError(f"{reader.name} gives no likelihoods, so without answers (--generate 0) nothing is measured")
    cells = [cell.cell for cell in run.results if cell.usable and (cell.dataset, cell.split) == (name, split)]
    assemble = Assembler(reader, dataset, settings.context_tokens)
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
    paid = _read(reader, [ask for each in asks.values() for ask in each], settings, readings, progress)
    rows, summaries = _measured(shown, asks, readings, dataset)
    record = AnswerRecord(
        name=_name(name, split, reader, settings, prompt, dataset),
        dataset=name,
        split=split,
        reader=reader.name,
        reader_fingerprint=reader.fingerprint,
        prompt=prompt.model_dump(mode="json"),
        settings=asdict(settings),
        fingerprints={"dataset": dataset.fingerprint},
        contexts=summaries,
        n_queries=len(queries),
        left_out=sum(not dataset.answers.get(query) for query in judged),
        paid=paid,
        environment=provenance(),
    )
    put_answers(run.store, record, rows)
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


def _read(
    reader: Reader, asks: Sequence[_Ask], settings: AnswerSettings, readings: ReadingCache, progress: Progress
) -> dict[str, float]:
    """Make the readings that are not there yet, and return what they cost."""
    needed = {ask.key: ask for ask in asks}
    missing = [ask for key, ask in needed.items() if key not in readings]
    paid: dict[str, float] = {
        "readings": len(missing),
        "reused": len(needed) - len(missing),
        "prompt_tokens": 0,
        "tokens": 0,
        "seconds": 0.0,
    }
    progress("reading", {"done": 0, "total": len(missing)})
    done = 0
    for part in readings.saved(_rows(reader, missing, settings)):
        done += len(part)
        for unit in ("prompt_tokens", "tokens", "seconds"):
            paid[unit] += sum(row[unit] for row in part)
        progress("reading", {"done": done, "total": len(missing)})
    return paid


def _rows(reader: Reader, asks: Sequence[_Ask], settings: AnswerSettings) -> Iterator[dict[str, Any]]:
    """Yield the readings of these requests as they come."""
    written = [ask for ask in asks if ask.kind == WRITTEN]
    for place, made in reader.write([ask.messages for ask in written], settings.max_tokens) if written else ():
        yield {"key": written[place].key, **asdict(made)}
    scored = [ask for ask in asks if ask.kind == SCORED]
    prompts, golds = [ask.messages for ask in scored], [ask.gold for ask in scored]
    for place, found in reader.score(prompts, golds) if scored else ():
        yield {"key": scored[place].key, **asdict(found)}


def _measured(
    shown: Mapping[str, Mapping[str, Passages]], asks: Mapping[tuple[str, str], Sequence[_Ask]], readings: ReadingCache,
    dataset: Dataset,
) -> tuple[pd.DataFrame, dict[str, ContextSummary]]:  # fmt: skip
    """Return a row for each context and query with its measures, and the summary of each context."""
    import pandas as pd

    rows: list[dict[str, Any]] = []
    summaries: dict[str, ContextSummary] = {}
    for context, found in shown.items():
        summary = summaries[context] = ContextSummary(
            context_tokens=float(np.mean([passages.tokens for passages in found.values()]))
        )
        values: list[dict[str, Any]] = []
        for query, passages in found.items():
            own = asks[context, query]
            for ask in own:
                made = readings[ask.key]
                summary.prompt_tokens += made["prompt_tokens"]
                summary.tokens += made["tokens"]
                summary.seconds += made["seconds"]
            measured = _values(own, readings, dataset.answers[query], passages.text)
            values.append({"context": context, "query": query, **measured})
        rows += values
        for measure in MEASURES:
            known = [row[measure] for row in values if row[measure] == row[measure]]
            if known:
                summary.metrics[measure], summary.n[measure] = float(np.mean(known)), len(known)
    return pd.DataFrame(rows), summaries


def _values(asks: Sequence[_Ask], readings: ReadingCache, gold: Sequence[str], context: str) -> dict[str, Any]:
    """Return the measures of a query in one context; NaN where one was not asked for or has no value."""
    nan = float("nan")
    text = next((readings[ask.key]["text"] for ask in asks if ask.kind == WRITTEN), None)
    likelihoods = [readings[ask.key]["log_likelihood"] for ask in asks if ask.kind == SCORED]
    return {
        "answer": text or "",
        "em": exact_match(text, gold) if text is not None else nan,
        "f1": f1(text, gold) if text is not None else nan,
        "match": match(text, gold) if text is not None else nan,
        "support": token_support(text, context) if text is not None and context else nan,
        "log_likelihood": max(likelihoods, default=nan),
    }
