"""A reader that is adapted to the training questions of a run, from the command to the report."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.answering import adapting
from bench.answering.adapting import Adapter
from bench.answering.answer import AnswerSettings
from bench.cli import main
from bench.config.execution import ExecutionSettings
from bench.config.schema import RunConfig
from bench.data.dataset import Dataset
from bench.data.locate import load_dataset
from bench.errors import BenchError
from bench.readers.lessons import Lessons
from bench.readers.prompts import Prompt
from bench.report.analysis import Analysis
from bench.report.build import build
from bench.report.load import load_run
from bench.running.scorer import Scorer, TrainingRequest
from bench.store.answers import answer_records
from bench.store.store import Store
from tests.toy_answers import add_answers


@contextmanager
def in_this_process(request: TrainingRequest, store: Store, *rest: Any) -> Iterator[Scorer]:
    yield Scorer(request, store)


@contextmanager
def without_answers(request: TrainingRequest, store: Store, *rest: Any) -> Iterator[Scorer]:
    yield Scorer(replace(request, needs=("pairs",)), store)


@pytest.fixture
def finished(
    tmp_path: Path, beir_folder: Path, toy_config: Callable[..., RunConfig], run_inline: Callable[[RunConfig], Any],
    monkeypatch: pytest.MonkeyPatch,
) -> Path:  # fmt: skip
    """The folder of a run of two strategies on a dataset with answers to all questions."""
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(adapting, "scorer_process", in_this_process)
    add_answers(beir_folder, splits=("train", "dev", "test"))
    run_inline(toy_config(strategies="words,toy(bonus=1.0),toy(bonus=2.0)", baseline="words"))
    return tmp_path / "run"


def test_the_command_adapts_a_reader_and_reports_it(
    finished: Path, tiny_reader_folder: Path, toy_file: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(
        "bench.report.write_report", lambda store, folder: [folder / "report.md"]
    )  # its plots take long
    name = f"sft({tiny_reader_folder}, steps=2, lr=0.01)"
    options = ["--strategy-file", str(toy_file), "--queries", "6", "--generate", "2", "--context-tokens", "64"]
    assert main(["answer", str(finished), "--reader", name, *options]) == 0
    printed = " ".join(capsys.readouterr().err.split())
    assert "questions of tiny in 2 steps" in printed and "Perplexity on 64 general texts" in printed
    records = {record.reader: record for record in answer_records(Store(finished))[0]}
    before, after = records["tiny-llama"], records["sft(tiny-llama, lr=0.01, steps=2)"]
    assert not before.adaptation and after.adaptation["base_fingerprint"] == before.reader_fingerprint
    assert before.contexts["gold"].metrics["log_likelihood"] != after.contexts["gold"].metrics["log_likelihood"]
    names = {table.name for table in build(Analysis(load_run(Store(finished)))).tables}
    assert {"adapted-readers-1", "two-by-two-log_likelihood-1-1"} <= names


def test_the_reader_learns_from_the_passages_that_the_retriever_finds(
    finished: Path, toy_file: Path, tiny_reader_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, seen = load_run(Store(finished)), []

    def kept(adaptation: Any, base: Any, lessons: Lessons, *rest: Any, **named: Any) -> Any:
        seen.append(lessons)
        raise BenchError("seen")

    monkeypatch.setattr(adapting, "adapted_reader", kept)
    execution = ExecutionSettings(strategy_files=(str(toy_file),))
    adapter = Adapter(run, execution, AnswerSettings(top=2, context_tokens=64), Prompt())
    with pytest.raises(BenchError, match="seen"):
        adapter.readers(f"sft({tiny_reader_folder})")
    (lessons,), (comparison,) = seen, run.comparisons
    asked = {each.messages[-1][1] for each in (*lessons.train, *lessons.dev)}
    assert len(asked) == len(lessons.train) + len(lessons.dev) > 20
    dataset = load_dataset(str(finished.parent / "tiny"))
    assert isinstance(dataset, Dataset)
    test = {dataset.queries[query] for query in comparison.queries}
    assert not any(question in text for question in test for text in asked)
    first = lessons.train[0]
    assert first.answer in first.golds and len(first.messages[-1][1].split("\n\n")) == 3  # two passages, the question
    with pytest.raises(BenchError, match=r"retriever of this run 'word', did you mean 'words'"):
        adapter.readers(f"sft({tiny_reader_folder}, retriever=word)")
    monkeypatch.setattr(adapting, "scorer_process", without_answers)
    with pytest.raises(BenchError, match="has no gold answers to training questions"):
        adapter.readers(f"sft({tiny_reader_folder})")
