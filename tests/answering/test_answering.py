"""A reader over the rankings of a finished run: planted readers, what is paid once, resuming, damage."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bench.answering.answer import Adapted, AnswerSettings, answer
from bench.answering.measure import Measuring
from bench.config.schema import RunConfig
from bench.errors import BenchError, ModelError
from bench.readers.adapted import AdaptationRecord, Perplexity
from bench.readers.base import Messages, Written
from bench.readers.judges import Claim
from bench.readers.prompts import Prompt
from bench.report import numbers, write_report
from bench.report.analysis import Analysis
from bench.report.build import build
from bench.report.colours import styles
from bench.report.load import LoadedRun, load_run
from bench.report.plots import answer_gains
from bench.report.readings import Readings, readings_of, without_samples
from bench.report.text import code
from bench.report.two_by_two import two_by_two
from bench.store.answers import MARK, answer_records, per_query_answers
from bench.store.store import Store
from tests.toy_answers import PlantedReader, relevant


def tables(run: LoadedRun) -> dict[str, list[list[str]]]:
    report = build(Analysis(run))
    return {table.name: [[cell.text for cell in row] for row in table.rows] for table in report.tables}


def test_the_interaction_of_retriever_and_reader_is_that_of_planted_readers(
    finished: LoadedRun, beir_folder: Path
) -> None:
    """Before, the reader ignores its passages. Adapted, it answers right where the gold passage is shown."""
    ignoring, planted = PlantedReader(beir_folder, ignores=True), PlantedReader(beir_folder)
    (comparison,) = finished.comparisons
    how = AdaptationRecord(
        expression="sft(ignoring)", kind="sft", base="ignoring", base_fingerprint="ignoring", options={}, steps=4,
        best_step=2, train_queries=9, dev_queries=3, dev={"0": -5.0, "2": -2.5},
        perplexity=Perplexity(before=20, after=25, ratio_low=1.1, ratio_high=1.4, texts=64, tokens=6000),
    )  # fmt: skip
    for reader, record in ((ignoring, {}), (planted, how.model_dump())):
        answer(finished, reader, AnswerSettings(), adapted=Adapted((comparison.dataset, comparison.split), record))
    readings, _ = readings_of(comparison)
    (pair,) = two_by_two(readings)
    assert (pair.before.record.reader, pair.after.record.reader) == ("ignoring", "planted")
    assert without_samples([pair.after, pair.before]) == [pair.before, pair.after]
    squares, baseline = pair.squares("f1"), comparison.baseline
    assert [square.label for square in squares] == pair.labels == ["toy(bonus=1.0)", "toy(bonus=2.0)"]
    for square in squares:
        assert (square.neither, square.retriever) == (0, 0)
        assert square.reader == pair.after.mean(baseline, "f1")
        assert square.interaction.difference == pytest.approx(square.both - square.reader) != 0
        per_query = pair.after.values(square.label, "f1") - pair.after.values(baseline, "f1")
        assert square.interaction.difference == pytest.approx(per_query.mean())
    gain = pair.reader_gain("f1")
    assert (gain.ci_low, gain.difference, gain.ci_high) == pytest.approx((1, squares[0].reader, 1))
    square = next(each for each in build(Analysis(finished)).tables if each.name == "two-by-two-f1-1-1")
    assert any("Reader alone against neither: +1.000, 95% CI +1.000 to +1.000" in note for note in square.notes)
    found = tables(finished)
    assert [row[0] for row in found["two-by-two-f1-1-1"]] == [code(label) for label in pair.labels]
    ((_, questions, _, steps, *_, before, after, ratio),) = found["adapted-readers-1"]
    assert (questions, steps, before, after, ratio) == ("9", "2 / 4", "20.000", "25.000", "1.100 to 1.400")
    with_more = answer(finished, planted, AnswerSettings(top=2), adapted=Adapted(("tiny", "test"), how.model_dump()))
    assert len(with_more) == 1 and len(two_by_two(readings_of(comparison)[0])) == 1  # asked in another way


@pytest.mark.parametrize("top", [1, 3])
def test_of_a_reader_that_needs_the_gold_passage_the_gap_closed_is_hit_at_k(
    top: int, finished: LoadedRun, beir_folder: Path
) -> None:
    (record,) = answer(finished, PlantedReader(beir_folder), AnswerSettings(top=top))
    (comparison,) = finished.comparisons
    ((readings,), problems) = readings_of(comparison)
    assert not problems and readings.record == record
    assert (record.contexts["none"].metrics["f1"], record.contexts["gold"].metrics["f1"]) == (0, 1)
    gold, hits = relevant(beir_folder), {}
    for label, candidate in comparison.candidates.items():
        ranked = finished.store.ranking(candidate.usable[0].cell).hits
        found = [gold[query] in [doc for doc, _ in ranked[query][:top]] for query in comparison.queries]
        hits[label] = sum(found) / len(found)
        for measure in ("f1", "match"):
            gap = readings.gap(label, measure)
            assert gap is not None and gap.value == pytest.approx(hits[label]) and gap.low <= gap.value <= gap.high
    assert len(set(hits.values())) > 1 and any(0 < hit < 1 for hit in hits.values()), hits


def test_of_a_reader_that_ignores_its_context_the_gap_is_undefined_and_the_report_says_so(
    finished: LoadedRun, beir_folder: Path
) -> None:
    answer(finished, PlantedReader(beir_folder, ignores=True), AnswerSettings())
    ((readings,), _) = readings_of(finished.comparisons[0])
    for measure in ("f1", "match", "log_likelihood"):
        assert all(readings.gap(label, measure) is None for label in readings.labels)
    shown = tables(finished)["reader-f1-1-1"]
    assert {row[1] for row in shown} == {"undefined"} and len(shown) == 3
    table = next(table for table in build(Analysis(finished)).tables if table.name == "reader-f1-1-1")
    assert any("within noise" in note for note in table.notes)


def test_the_report_shows_means_differences_and_their_correlation(
    finished: LoadedRun, beir_folder: Path, tmp_path: Path
) -> None:
    answer(finished, PlantedReader(beir_folder), AnswerSettings())
    shown = tables(finished)
    assert (shown["reader-1-1"][0][0], shown["reader-1-1"][-1][0]) == ("none", "gold")
    assert {"reader-f1-1-1", "reader-match-1-1", "reader-log_likelihood-1-1"} <= set(shown)
    ((readings,), _) = readings_of(finished.comparisons[0])
    gains = readings.gains("f1")
    assert set(gains) == {"toy(bonus=1.0)", "toy(bonus=2.0)"} and len(shown["reader-gains-1-1"]) == 2
    for label, (ranking, answers) in gains.items():
        one, two = ([value.mean() for value in pair] for pair in _values(readings, label))
        assert (ranking, answers) == pytest.approx((one[0] - one[1], two[0] - two[1]))
    # one relevant document and one passage: the answer is right exactly where nDCG@10 is 1
    assert readings.over_queries("toy(bonus=1.0)", "f1") > 0.5
    assert np.isnan(readings.over_queries("toy(bonus=2.0)", "f1"))  # it moves every query alike
    assert readings.correlation("f1") is None  # two gains are too few
    written = write_report(finished.store, tmp_path / "report", exports=["csv"])
    assert {"answer-gains-1-1.png", "reader-1-1.csv", "reader-gains-1-1.csv"} <= {path.name for path in written}


def _values(readings: Readings, label: str) -> list[list[np.ndarray]]:
    """Return the values of a candidate and of the baseline, in the ranking's measure and in F1."""
    names = (label, readings.comparison.baseline)
    return [[readings.comparison.scores(name) for name in names], [readings.values(name, "f1") for name in names]]


def test_equal_contexts_are_read_once(finished: LoadedRun, beir_folder: Path) -> None:
    reader = PlantedReader(beir_folder)
    (first,) = answer(finished, reader, AnswerSettings())
    asked = len(reader.prompts)
    assert asked == first.paid["readings"] == 2 * len(set(reader.prompts))
    assert asked < 2 * sum(summary.n["f1"] for summary in first.contexts.values())
    (again,) = answer(finished, reader, AnswerSettings())
    assert len(reader.prompts) == asked
    assert (again.paid["readings"], again.paid["seconds"], again.paid["reused"]) == (0, 0, asked)
    assert again.contexts == first.contexts  # costs do not depend on what ran before


def test_another_prompt_or_more_passages_pay_only_for_new_prompts(finished: LoadedRun, beir_folder: Path) -> None:
    reader = PlantedReader(beir_folder)
    (one,) = answer(finished, reader, AnswerSettings())
    (more,) = answer(finished, reader, AnswerSettings(top=2))
    assert more.paid["reused"] == 2 * (one.n_queries + one.n_queries)  # none, and gold: there is one relevant passage
    (other,) = answer(finished, reader, AnswerSettings(), Prompt(system="Be brief."))
    assert other.paid["reused"] == 0
    assert len({one.name, more.name, other.name}) == 3 == len(answer_records(finished.store)[0])


def test_a_sample_lies_within_a_larger_one_and_answers_may_be_fewer(finished: LoadedRun, beir_folder: Path) -> None:
    reader = PlantedReader(beir_folder)
    (small,) = answer(finished, reader, AnswerSettings(queries=5, generate=3))
    values = per_query_answers(finished.store, small)
    assert values["query"].nunique() == 5 and small.n_queries == 5
    written = ("em", "f1", "match", "support", "false_abstention", "bleu", "rouge_l", "meteor")
    assert small.contexts["gold"].n == dict.fromkeys(written, 3) | {"log_likelihood": 5}
    (larger,) = answer(finished, reader, AnswerSettings(queries=6, generate=0))
    assert set(values["query"]) < set(per_query_answers(finished.store, larger)["query"])
    assert list(larger.contexts["none"].metrics) == ["log_likelihood"]
    answer(finished, reader, AnswerSettings(queries=6, generate=4))
    assert [name for name in tables(finished) if re.fullmatch(r"reader-1-\d", name)] == ["reader-1-1"]
    (readings,) = without_samples(readings_of(finished.comparisons[0])[0])
    analysis, label = Analysis(finished), "toy(bonus=1.0)"
    gain, of_all = readings.gains("f1")[label][0], analysis.finding(readings.comparison, label, "all")
    assert of_all is not None and gain != pytest.approx(of_all.difference, abs=1e-3)
    plot = answer_gains("gains", analysis, readings, styles(readings.labels, readings.comparison.baseline))
    assert any(f"{label}: nDCG@10 {numbers.signed(gain)}, " in hint for hint in plot.hints.values())


class Dying(PlantedReader):
    """Fails after so many answers."""

    lives = 20

    def write(self, prompts: Sequence[Messages], max_tokens: int) -> Iterator[tuple[int, Written]]:
        for place, made in super().write(prompts, max_tokens):
            if self.lives == 0:
                raise ModelError("it died")
            self.lives -= 1
            yield place, made


def test_a_reader_that_dies_is_resumed_without_paying_twice(finished: LoadedRun, beir_folder: Path) -> None:
    reader = Dying(beir_folder)
    with pytest.raises(ModelError, match="it died"):
        answer(finished, reader, AnswerSettings())
    assert answer_records(finished.store) == ([], [])
    (path,) = (finished.store.folder / "answers").glob("readings--*.jsonl")
    assert len(path.read_text().splitlines()) == 20
    path.write_bytes(path.read_bytes()[:-9])  # the process ended inside of a line
    reader.lives = -1
    (record,) = answer(finished, reader, AnswerSettings())
    assert record.paid["reused"] == 19
    (fresh,) = answer(finished, PlantedReader(beir_folder), AnswerSettings())
    assert fresh.contexts == record.contexts


def test_a_damaged_record_is_named_in_the_report(finished: LoadedRun, beir_folder: Path) -> None:
    (record,) = answer(finished, PlantedReader(beir_folder), AnswerSettings())
    mark = finished.store.folder / "answers" / record.name / MARK
    values = json.loads(mark.read_text())
    mark.write_text(json.dumps(values | {"n_queries": 7}))
    records, (problem,) = answer_records(finished.store)
    assert not records and "does not match its digest" in problem
    assert problem.partition(":")[0] in build(Analysis(finished)).words
    answer(finished, PlantedReader(beir_folder), AnswerSettings())
    (repaired,), problems = answer_records(finished.store)
    assert repaired.contexts == record.contexts and not problems


def test_an_abstention_is_right_where_the_data_have_no_answer(
    tmp_path: Path, beir_folder: Path, toy_config: Callable[..., RunConfig], run_inline: Callable[[RunConfig], Any]
) -> None:
    """Two questions have no answer, and nobody wrote down that of a third one."""
    reader = PlantedReader(beir_folder, unanswerable=2)
    path = beir_folder / "answers.jsonl"
    lines = sorted(path.read_text().splitlines(), key=lambda line: line.endswith("[]}"))
    path.write_text("\n".join(lines[1:]))
    run_inline(toy_config(strategies="words,toy(bonus=1.0)", baseline="words"))
    run = load_run(Store(tmp_path / "run"))
    (record,) = answer(run, reader, AnswerSettings(), measuring=Measuring(usd_per_million=(1000.0, 10_000.0)))
    n = len(lines) - 1
    assert (record.n_queries, record.left_out, record.unanswerable) == (n, 1, 2)
    none, gold = record.contexts["none"], record.contexts["gold"]
    assert (none.metrics["abstention"], none.n["abstention"], "false_abstention" in none.n) == (0, n, False)
    assert (gold.metrics["abstention"], gold.n["abstention"]) == (1, 2)
    assert (gold.metrics["false_abstention"], gold.n["false_abstention"]) == (0, n - 2)
    assert (gold.metrics["f1"], gold.n["f1"], gold.n["bleu"], none.metrics["f1"]) == (1, n, n - 2, 0)
    assert record.paid["usd"] == pytest.approx(
        (record.paid["prompt_tokens"] * 1000 + record.paid["tokens"] * 10_000) / 1e6
    )
    report = build(Analysis(run))
    found = {table.name: table for table in report.tables}
    first, further = found["reader-1-1"], found["reader-further-1-1"]
    assert any("2 queries have no answer" in note for note in first.notes)
    assert first.columns[-1].name == "cost" and first.rows[-1][-1].value == pytest.approx(
        1000 * (gold.prompt_tokens * 1000 + gold.tokens * 10_000) / 1e6 / n
    )
    named = [column.name for column in further.columns]
    right = named.index("abstention where it is right")
    assert further.columns[right].unit == "n = 2" and further.rows[-1][right].value == 1
    assert "BERTScore is left out" in " ".join(further.notes)
    tests = {row[0].text for row in found["reader-further-tests-1-1"].rows}
    assert tests >= {"BLEU", "ROUGE-L", "METEOR", "exact match"} and "abstention where it is wrong" not in tests
    same = "No strategy differs from the baseline in abstention where it is wrong."
    assert found["reader-further-tests-1-1"].notes[-1] == same

    (other,) = answer(run, reader, AnswerSettings(), measuring=Measuring(abstentions=("zebra",)))
    assert other.name == record.name and other.paid["readings"] == 0
    assert (other.contexts["none"].metrics["abstention"], other.contexts["gold"].metrics["abstention"]) == (1, 0)


class PlantedJudge:
    """Says that passages support every answer but the wrong one."""

    name = fingerprint = "planted-judge"
    prompt = None

    def __init__(self) -> None:
        self.asked: list[Claim] = []

    def key(self, claim: Claim) -> str:
        return repr(claim)

    def verdicts(self, claims: Sequence[Claim]) -> Iterator[tuple[int, Written]]:
        for place, claim in enumerate(claims):
            self.asked.append(claim)
            yield place, Written("no" if claim.answer == "zebra" else "yes", 20, 1, 0.5)

    def supports(self, reply: str) -> bool | None:
        return reply == "yes"


def test_faithfulness_is_judged_once_for_each_answer_and_passage(finished: LoadedRun, beir_folder: Path) -> None:
    judge, reader = PlantedJudge(), PlantedReader(beir_folder)
    measuring = Measuring(judge=judge)
    (record,) = answer(finished, reader, AnswerSettings(), measuring=measuring)
    assert record.judge is not None and record.judge.paid["readings"] == len(judge.asked) == len(set(judge.asked))
    assert record.judge.paid["prompt_tokens"] == 20 * len(judge.asked)
    assert record.contexts["gold"].metrics["faithfulness"] == 1
    for context, summary in record.contexts.items():
        if context == "none":
            assert "faithfulness" not in summary.metrics
        else:
            assert summary.metrics["faithfulness"] == summary.metrics["f1"] == 1 - summary.metrics["hallucination"]
    (again,) = answer(finished, reader, AnswerSettings(), measuring=measuring)
    assert again.judge is not None and again.judge.paid["readings"] == 0 and again.contexts == record.contexts
    found = {table.name: table for table in build(Analysis(finished)).tables}
    f1 = {row[0].text: row for row in found["reader-f1-1-1"].rows}
    rows = [row for row in found["reader-further-tests-1-1"].rows if row[0].text == "hallucination rate"]
    for row in rows:  # hallucination falls as F1 rises, and lower is better
        right = f1[row[1].text]
        assert row[3].value == pytest.approx(-right[3].value) and row[3].best == right[3].best
        assert row[6].text.split(" ")[0] == right[6].text.split(" ")[0]
    assert {row[6].text.split(" ")[0] for row in rows} & {"better", "worse"}
    # an abstention claims nothing
    (other,) = answer(finished, reader, AnswerSettings(), measuring=Measuring(("zebra",), judge=judge))
    assert all(each.metrics.get("hallucination", 0) == 0 for each in other.contexts.values())


def test_a_dataset_without_answers_is_refused(
    tmp_path: Path, beir_folder: Path, toy_config: Callable[..., RunConfig], run_inline: Callable[[RunConfig], Any]
) -> None:
    reader = PlantedReader(beir_folder)
    (beir_folder / "answers.jsonl").unlink()
    run_inline(toy_config(strategies="words", baseline="words"))
    with pytest.raises(BenchError, match="has no gold answers"):
        answer(load_run(Store(tmp_path / "run")), reader, AnswerSettings())


def test_the_budget_cuts_passages(finished: LoadedRun, beir_folder: Path) -> None:
    reader = PlantedReader(beir_folder)
    (record,) = answer(finished, reader, AnswerSettings(top=3, context_tokens=8))
    assert record.contexts["gold"].context_tokens <= 8 and record.contexts["none"].context_tokens == 0
    assert record.contexts["gold"].metrics["f1"] == 0  # the cut passage is not the passage


def test_values_are_kept_for_each_context_and_query(finished: LoadedRun, beir_folder: Path) -> None:
    (record,) = answer(finished, PlantedReader(beir_folder), AnswerSettings())
    values = per_query_answers(finished.store, record)
    assert set(values["context"]) == set(record.contexts) == {"none", "gold", *(c.cell for c in finished.results)}
    assert isinstance(values, pd.DataFrame) and not values.duplicated(["context", "query"]).any()
