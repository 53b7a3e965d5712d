"""A blind sheet: two answers to a question, and a person says which is better."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.answering.contexts import Assembler, documents
from bench.data.dataset import Dataset
from bench.errors import BenchError, unknown
from bench.judging.page import Form, write_form
from bench.judging.sheet import refuse_to_overwrite, shown_in_cells, write_rows
from bench.readers.base import Reader
from bench.report.load import LoadedRun
from bench.report.readings import Readings, readings_of
from bench.report.texts import find_texts
from bench.store.answers import AnswerRecord
from bench.store.preferences import FIRST, SECOND, TIE, SheetPair, SheetRecord, put_sheet

COLUMNS = ("sheet", "pair", "question", "answer_1", "answer_2", "passages_1", "passages_2", "choice")
_FORM = Form(
    "pairs.html.j2",
    [("1", FIRST, "the first is better"), ("2", SECOND, "the second is better"), ("0", TIE, "both alike")],
    "Pair",
    "judged",
    "No pair of answers differs.",
)


@dataclass(frozen=True)
class SheetSettings:
    """Which answers a sheet shows."""

    strategies: Sequence[str] = ()
    """The strategies that are compared with the baseline; nothing is all of them."""
    queries: int = 50
    """Queries of each strategy, the same for all."""
    seed: int = 0
    """Draws the queries, the order and the sides; of a strategy with several seeds, the one whose answer is shown."""


def write_pairs(
    run: LoadedRun, record: AnswerRecord, reader: Reader, path: Path, settings: SheetSettings
) -> SheetRecord:
    """Write a sheet of the answers of a reader, as CSV or as a page, and keep in the run what it hides.

    Args:
        run: the run.
        record: what the reader answered.
        reader: that reader; it cuts passages as it did then.
        path: a file that ends in `.csv` or `.html`.
        settings: which answers are shown.

    Raises:
        BenchError: the file exists already or ends otherwise, a strategy is not there, or no answer was written.
    """
    if path.suffix.lower() not in (".csv", ".html"):
        raise BenchError(f"{path}: a sheet is a file that ends in .csv or .html")
    refuse_to_overwrite(path)
    found = [
        readings
        for comparison in run.comparisons
        for readings in readings_of(comparison)[0]
        if readings.record.name == record.name and comparison.baseline in readings.labels and readings.queries("f1")
    ]
    others = {label for readings in found for label in readings.labels if label != readings.comparison.baseline}
    for name in settings.strategies:
        if name not in others:
            raise unknown("strategy", name, sorted(others))
    if not others:
        raise BenchError("a sheet needs written answers of the baseline and of another strategy (--generate)")
    rng = np.random.default_rng(settings.seed)
    hidden = SheetRecord(
        sheet="", answers=record.name, baseline={each.comparison.name: each.comparison.baseline for each in found}
    )
    rows: list[list[str]] = []
    for readings in found:
        for pair, texts in _pairs(run, readings, reader, settings, rng, hidden):
            name = f"{len(hidden.pairs):05}"
            hidden.pairs[name] = pair
            rows.append([name, *texts])
    hidden.sheet = "s" + hashlib.sha256(f"{record.name} {rows!r} {hidden.pairs!r}".encode()).hexdigest()[:12]
    order = rng.permutation(len(rows))
    numbers = {rows[place][0]: f"{number + 1}" for number, place in enumerate(order)}
    hidden.pairs = {numbers[name]: pair for name, pair in hidden.pairs.items()}
    shown = [shown_in_cells([hidden.sheet, numbers[rows[at][0]], *rows[at][1:]]) for at in order]
    put_sheet(run.store, hidden)
    if path.suffix.lower() == ".csv":
        write_rows(COLUMNS, shown, path)
    else:
        write_form(_FORM, COLUMNS, shown, path, path.with_suffix(".csv").name)
    return hidden


def _pairs(
    run: LoadedRun, readings: Readings, reader: Reader, settings: SheetSettings, rng: np.random.Generator,
    hidden: SheetRecord,
) -> Iterator[tuple[SheetPair, list[str]]]:  # fmt: skip
    """Yield the pairs of a comparison whose answers differ, with question, answers and passages as they are shown."""
    comparison, record = readings.comparison, readings.record
    dataset = find_texts(run, comparison).dataset
    if dataset is None:
        raise BenchError(f"dataset {comparison.dataset!r} is needed for its texts")
    queries = sorted(rng.permutation(sorted(readings.queries("f1")))[: settings.queries].tolist())
    baseline = comparison.baseline
    labels = [label for label in readings.labels if label != baseline]
    if settings.strategies:
        labels = [label for label in labels if label in settings.strategies]
    cells = {label: [c.cell for c in comparison.candidates[label].usable] for label in (baseline, *labels)}
    drawn = {(label, query): str(rng.choice(cells[label])) for label in cells for query in queries}
    passages = _passages(run, record, dataset, reader, sorted(set(drawn.values())), queries)
    answers = readings.frame.set_index(["context", "query"])["answer"].to_dict()
    for label in labels:
        same = 0
        for query in queries:
            keys = [(drawn[label, query], query), (drawn[baseline, query], query)]
            if answers[keys[0]] == answers[keys[1]]:
                same += 1
                continue
            is_first = bool(rng.integers(2))
            sides = keys if is_first else keys[::-1]
            texts = [dataset.queries[query], *(answers[key] for key in sides), *(passages[key] for key in sides)]
            pair = SheetPair(comparison=comparison.name, strategy=label, query=query, strategy_is_first=is_first)
            yield pair, texts
        hidden.same.setdefault(comparison.name, {})[label] = same


def _passages(
    run: LoadedRun, record: AnswerRecord, dataset: Dataset, reader: Reader, cells: Sequence[str], queries: Sequence[str]
) -> dict[tuple[str, str], str]:
    """Return (cell, query) -> the passages that the reader was shown."""
    assemble = Assembler(reader, dataset.corpus, record.settings["context_tokens"])
    found = documents(run, cells, dataset, record.split, queries, record.settings["top"])
    return {(cell, query): assemble(found[cell][query]).text for cell in cells for query in queries}
