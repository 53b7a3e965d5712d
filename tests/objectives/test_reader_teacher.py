"""A reader teaches a retriever: what it is asked, what its scores are, what they cost."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.budget import Budget
from bench.config.schema import RunConfig
from bench.data.dataset import TrainingData
from bench.encoders.base import BaseEncoder
from bench.errors import BenchError, NotApplicableError
from bench.expression import parse
from bench.objectives import joint
from bench.objectives.joint import Joint
from bench.planning.build import canonical, config_of, needs_of
from bench.planning.plan import plan
from bench.planning.registry import Registry
from bench.readers.adaptation import SftOptions
from bench.readers.lessons import Lesson
from bench.readers.local import LocalReader
from bench.readers.prompts import Prompt
from bench.readers.tuning import Tuned
from tests.objectives.conftest import Bench
from tests.toy_answers import add_answers


@pytest.fixture
def expression(tiny_reader_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    return f"listwise(teacher=reader({tiny_reader_folder}), candidates=3, max_length=30)"


def with_answers(data: TrainingData) -> TrainingData:
    """Give all training questions but the last one two answers."""
    queries = list(data.train_queries)[:-1]
    return replace(data, answers={query: ("kiln", f"the word {at}") for at, query in enumerate(queries)})


def test_candidates_are_scored_by_the_likelihood_of_the_gold_answer(
    bench: Bench, expression: str, tiny_reader_folder: Path
) -> None:
    data = with_answers(bench.data)
    strategy = bench.build(f"lora(objective={expression})")
    examples = strategy.examples(data)
    assert {each.query_id for each in examples} == set(data.answers) < set(data.train_queries)
    reader, example = LocalReader(tiny_reader_folder, precision="fp32"), examples[3]
    golds, expected = data.answers[example.query_id], []
    for text in (example.document, *example.negatives):
        prompt = Prompt().messages(example.query, reader.cut(text, 30)[0])
        expected.append(max(scored.log_likelihood for _, scored in reader.score([prompt] * 2, golds)))
    assert example.scores == pytest.approx(expected, abs=1e-4) and np.ptp(example.scores) > 0.01
    asked = strategy.objective.reader_tokens
    spent = strategy.resources.meter._charged
    again = bench.build(f"full(objective={expression})")
    assert [each.scores for each in again.examples(data)] == [each.scores for each in examples]
    assert again.objective.reader_tokens == asked > 0
    charged = again.resources.meter._charged - spent  # nothing was read, and the cost is what it was
    assert charged == pytest.approx(again.objective.reader_seconds) and charged > 0
    with pytest.raises(NotApplicableError, match="no training question has one"):
        strategy.examples(replace(data, answers={}))


def test_only_what_learns_from_a_reader_is_shown_answers() -> None:
    registry = Registry()
    lora = registry.get("lora")
    for text, needs in (
        ("lsr", {"pairs", "answers"}),
        ("lora(objective=matryoshka(listwise(teacher=reader(smollm2))))", {"pairs", "answers"}),
        ("lora(objective=listwise(teacher=bm25))", {"pairs"}),
    ):
        named = parse(text)
        config = config_of(named.name, {key: str(value) for key, value in named.options}, registry)
        assert needs_of(lora, config, registry) == needs
    spelled = parse("lora(objective=listwise(teacher=reader(smollm2), teacher_temperature=0.5), r=8)")
    assert str(canonical(spelled, registry)) == "lsr(r=8)"


def test_a_reader_that_cannot_teach_is_refused_when_the_run_is_planned(
    toy_config: Callable[..., RunConfig], beir_folder: Path, tiny_folder: Callable[[str], Path],
    tiny_reader_folder: Path, expression: str,
) -> None:  # fmt: skip
    def planned(objective: str, strategy: str = "") -> Any:
        text = strategy or f"lora(objective={objective})"
        model = str(tiny_folder("bert"))
        return plan(toy_config(strategies=text, baseline="frozen", strategy_files=[], model=model))

    with pytest.raises(BenchError, match=r"learns from the gold answers to training questions, and dataset 'tiny' has"):
        planned(expression)
    add_answers(beir_folder, splits=("train", "test"))
    fits = {fit.strategy: fit for fit in planned(expression).fits}
    (name,) = (name for name in fits if "reader" in name)
    assert fits[name].needs == ("answers", "pairs") and fits["frozen"].needs == ()
    for objective, message in (
        ("margin-mse(teacher=reader(smollm2))", "margin-mse takes no reader as its teacher"),
        ("listwise(teacher=reader('openai:http://127.0.0.1:1/v1#m'))", "an endpoint gives no likelihoods"),
        ("listwise(teacher=reader(./nothere))", "unknown reader './nothere'"),
        ("listwise(teacher=reader(sft(smollm2)))", "a teacher is a reader as it is"),
        ("listwise(teacher=reader(smollm2, top=3))", r"write reader\(smollm2\) or reader\(FOLDER\)"),
    ):
        with pytest.raises(BenchError, match=message):
            planned(objective)
    with pytest.raises(BenchError, match="distill takes no reader"):
        planned("", "distill(lora, teacher=reader(smollm2))")


def test_retriever_and_reader_learn_in_turns(
    bench: Bench, expression: str, tiny_reader_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each round trains the reader of the round before, on what the retriever finds now."""
    rounds: list[tuple[Path, Sequence[Lesson]]] = []

    def tuned(reader: LocalReader, options: SftOptions, lessons: Sequence[Lesson], folder: Path) -> Tuned:
        rounds.append((reader.folder, lessons))
        shutil.copytree(reader.folder, folder)
        (folder / "round.txt").write_text(f"{len(rounds)}, {options.steps} steps")
        return Tuned(steps=options.steps, seconds=2.0)

    monkeypatch.setattr(joint, "tune_apart", tuned)
    data = with_answers(bench.data)
    text = expression.replace("listwise(", "joint(rounds=2, reader_steps=7, ")
    strategy = bench.build(f"lora(lr=0.05, objective={text})")
    base = BaseEncoder(None, bench.resources)
    report = strategy.fit(data, Budget(steps=4), seed=0)
    (first, lessons), (second, later) = rounds
    assert first == tiny_reader_folder and second.name == "round-1"
    found = base.search(data.train_queries, base.index(data.corpus), 1)
    reader = LocalReader(tiny_reader_folder, precision="fp32")
    assert [each.messages for each in lessons] == [
        Prompt().messages(data.train_queries[query], reader.cut(data.corpus.text_of(found[query][0][0]), 30)[0])
        for query in data.train_queries
        if query in data.answers
    ]
    assert {each.answer for each in lessons} == {"kiln"} and lessons != later
    assert report.steps == 4 and report.reader_seconds > 4 and bench.resources.meter._charged >= 4
    (tmp_path / "saved").mkdir()
    strategy.save(tmp_path / "saved")
    assert (tmp_path / "saved" / "reader" / "round.txt").read_text() == "2, 7 steps"
    bench.build(f"lora(lr=0.05, objective={text})").load(tmp_path / "saved")
    assert str(canonical(parse("lora(objective=joint(rounds=2))"), Registry())) == "joint"
    with pytest.raises(BenchError, match="joint trains a reader, and bm25 is none"):
        Joint.check(Joint.Config(teacher="bm25"))
