"""What is measured beside the plain library: the same work on both sides, and an honest account of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from bench.data.dataset import Dataset
from bench.errors import BenchError
from bench.models.base import BaseModel
from bench.planning.registry import Registry
from bench.speed import comparisons, plain
from bench.speed.harness_job import Stages
from bench.speed.measuring import Measurement, measure, sentences, table
from bench.speed.rounds import OURS, PLAIN, PLAIN_BF16, Row
from bench.speed.subject import Sizes, Subject, filled
from bench.speed.whole import own_time, whole_job

TINY = Sizes(rounds=2, encoded=8, steps=3, warm_up_steps=1, searched=20, queries=6, lexical=48, whole=30)


@pytest.fixture
def subject(tiny_bert: BaseModel, tiny_dataset: Dataset) -> Subject:
    return Subject(tiny_bert, tiny_dataset, Registry(), ("bm25", "frozen", "full", "lora"), TINY)


@pytest.fixture
def fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.models.precision.native_bf16", lambda device: False)


def test_both_sides_encode_the_same_texts_to_the_same_vectors(subject: Subject, fp32: None) -> None:
    (row,) = comparisons.encoding(subject)
    assert set(row.seconds) == {PLAIN, OURS}
    assert all(len(values) == 2 and min(values) > 0 for values in row.seconds.values())
    assert "mean 1.000000, least 1.00000" in row.notes[0] or "least 0.99999" in row.notes[0]
    assert row.flops is not None
    assert row.flops > 0


def test_with_bf16_the_library_is_given_its_own(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.models.precision.native_bf16", lambda device: True)
    (row,) = comparisons.encoding(subject)
    assert set(row.seconds) == {PLAIN, PLAIN_BF16, OURS}
    assert row.formats == {PLAIN: "fp32", PLAIN_BF16: "bf16", OURS: "bf16"}


def test_a_training_step_is_timed_on_both_sides_for_each_strategy_that_trains(subject: Subject, fp32: None) -> None:
    rows = list(comparisons.training(subject))
    assert [row.what for row in rows] == ["training step, full", "training step, lora"]
    for row in rows:
        assert set(row.seconds) == {PLAIN, OURS}
        assert all(len(values) == 2 and min(values) > 0 for values in row.seconds.values())
        assert row.flops is not None


def test_the_plain_script_trains_as_many_parameters_as_the_strategy(subject: Subject) -> None:
    for name, kind in subject.encoders().items():
        strategy, model = kind(None, subject.resources()), subject.plain_model()
        plain.adapt(model, strategy)
        counted = sum(p.numel() for n, p in model.named_parameters() if p.requires_grad and ".pooler." not in f".{n}")
        assert counted == strategy.trainable_params, name


def test_the_plain_script_learns_and_prints_nothing(subject: Subject, capsys: pytest.CaptureFixture[str]) -> None:
    model = subject.plain_model()
    before = plain.encode(model, ["salt"])
    seconds = plain.train(model, subject.pairs, bf16=False, device="cpu", steps=3)
    assert len(seconds) == 2
    assert not np.allclose(before, plain.encode(model, ["salt"]))
    assert capsys.readouterr().out == ""  # where `--json` goes


def test_both_sides_score_the_same_rankings_alike(subject: Subject, fp32: None) -> None:
    (row,) = comparisons.evaluation(subject)
    ours, library = (float(row.notes[0].partition(f"{name} ")[2].split(",")[0]) for name in (OURS, PLAIN))
    assert ours == pytest.approx(library, abs=0.002)


def test_bm25_is_timed_for_indexing_and_for_searching(subject: Subject) -> None:
    rows = list(comparisons.lexical(subject))
    assert [row.what for row in rows] == ["BM25, index", "BM25, search"]
    assert all(set(row.seconds) == {PLAIN, OURS} for row in rows)


def test_a_strategy_without_a_counterpart_is_refused(subject: Subject) -> None:
    with pytest.raises(BenchError, match="bitfit has no counterpart"):
        measure(replace(subject, strategies=("bitfit",)), ["bm25"], 1)


def test_a_comparison_that_does_not_exist_is_named_with_what_was_meant(subject: Subject) -> None:
    with pytest.raises(BenchError, match="did you mean 'encode'"):
        measure(subject, ["encoding"], 1)


def test_without_bf16_it_says_that_it_falls_back(subject: Subject, fp32: None) -> None:
    found = measure(subject, ["bm25"], 1)
    assert set(found.peaks) == {"fp32"}
    assert any("ours computes in fp32 by itself" in note for note in found.notes)
    assert table(found).row_count == 2
    assert any("1 threads" in line for line in sentences(found))
    told = json.loads(json.dumps(found.to_dict()))
    assert told["rows"][0]["times_faster"][PLAIN]["median"] > 0
    assert told["environment"]["sizes"]["rounds"] == 2


def test_a_dataset_without_training_pairs_is_refused_for_training(subject: Subject) -> None:
    dataset = subject.dataset
    bare = replace(subject, dataset=replace(dataset, splits={"test": dataset.qrels("test")}))
    with pytest.raises(BenchError):
        next(comparisons.training(bare))


def test_what_is_not_loading_training_encoding_or_search_is_the_harnesss_own() -> None:
    found = own_time({"phases": {"loading": 1.0, "training": 6.0}, "own": {"report": 2.0}, "jobs": 3}, wall=10.0)
    assert found["harness"] == pytest.approx(3.0)
    assert found["share"] == pytest.approx(0.3)
    assert found["own"] == {"report": 2.0, "imports and the like": pytest.approx(1.0)}
    shown = sentences(Measurement([Row("w", "n", {OURS: [10.0]})], {"fp32": 1e12}, ENVIRONMENT, found))
    assert any("the harness itself 3.0 s (30.0%)" in line for line in shown)


ENVIRONMENT = {
    "machine": "m", "threads": 1, "python": "3", "libraries": {"torch": "2"}, "model": "t", "dataset": "d",
    "documents": 2,
}  # fmt: skip


def test_stages_are_added_up_by_kind_of_work(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 1.0, 3.0, 7.0, 8.0])
    monkeypatch.setattr("bench.speed.harness_job.time.perf_counter", lambda: next(clock))
    stages, job = Stages(), SimpleNamespace(name="fit")
    stages.started(job)  # type: ignore[arg-type]
    for stage in ("data", "fit", "save"):
        stages.event(job, "stage", {"name": stage})  # type: ignore[arg-type]
    stages.ended(job, "ok", "", 8.0)  # type: ignore[arg-type]
    assert stages.phases == {"loading": 2.0, "training": 4.0}
    assert stages.own == {"process starts": 1.0, "records": 1.0}
    assert stages.jobs == 1


def test_a_slice_keeps_what_is_asked_for_and_is_filled_up(tiny_dataset: Dataset) -> None:
    first = list(tiny_dataset.corpus.ids[-3:])
    docs = filled(tiny_dataset.corpus, first, 10)
    assert docs[:3] == first
    assert len(docs) == len(set(docs)) == 10
    assert filled(tiny_dataset.corpus, first, 2) == first


def test_the_whole_job_gives_scores_on_both_sides_and_an_account_of_the_time(
    subject: Subject, fp32: None, tmp_path: Path
) -> None:
    row, own = whole_job(subject, threads=1)
    assert set(row.seconds) == {PLAIN, OURS}
    library = next(note for note in row.notes if note.startswith(f"nDCG@10, {PLAIN}:"))
    ours = next(note for note in row.notes if note.startswith(f"nDCG@10, {OURS}:"))
    for name in subject.strategies:
        assert f"{name} 0." in library or f"{name} 1." in library
        assert f"{name} 0." in ours or f"{name} 1." in ours
    assert own["jobs"] == 2 * len(subject.strategies)
    assert 0 < own["share"] < 1
    assert {"loading", "training", "encoding", "search"} <= set(own["phases"])
