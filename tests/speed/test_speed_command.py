"""The speed command does the same work with the harness and the plain library, and accounts for the time."""

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
from bench.speed.rounds import OURS, PLAIN, PLAIN_BF16, Timing
from bench.speed.whole import own_time, whole_job
from bench.speed.workload import Sizes, Workload, filled

TINY = Sizes(rounds=2, encoded=8, steps=3, warm_up_steps=1, searched=20, queries=6, lexical=48, whole=30)


@pytest.fixture
def workload(tiny_bert: BaseModel, tiny_dataset: Dataset) -> Workload:
    return Workload(tiny_bert, tiny_dataset, Registry(), ("bm25", "frozen", "full", "lora"), TINY)


@pytest.fixture
def fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.models.precision.native_bf16", lambda device: False)


def test_both_sides_encode_the_same_texts_to_the_same_vectors(workload: Workload, fp32: None) -> None:
    (row,) = comparisons.encoding(workload)
    assert set(row.seconds) == {PLAIN, OURS}
    assert all(len(values) == 2 and min(values) > 0 for values in row.seconds.values())
    assert "mean 1.000000, least 1.00000" in row.notes[0] or "least 0.99999" in row.notes[0]
    assert row.flops is not None
    assert row.flops > 0


def test_with_bf16_the_library_is_measured_with_its_own_option(
    workload: Workload, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.models.precision.native_bf16", lambda device: True)
    (row,) = comparisons.encoding(workload)
    assert set(row.seconds) == {PLAIN, PLAIN_BF16, OURS}
    assert row.formats == {PLAIN: "fp32", PLAIN_BF16: "bf16", OURS: "bf16"}


def test_a_training_step_is_timed_on_both_sides_for_each_strategy_that_trains(workload: Workload, fp32: None) -> None:
    rows = list(comparisons.training(workload))
    assert [row.what for row in rows] == ["training step, full", "training step, lora"]
    for row in rows:
        assert set(row.seconds) == {PLAIN, OURS}
        assert all(len(values) == 2 and min(values) > 0 for values in row.seconds.values())
        assert row.flops is not None


def test_the_plain_script_trains_as_many_parameters_as_the_strategy(workload: Workload) -> None:
    for name, kind in workload.encoders().items():
        strategy, model = kind(None, workload.resources()), workload.plain_model()
        plain.adapt(model, strategy)
        counted = sum(p.numel() for n, p in model.named_parameters() if p.requires_grad and ".pooler." not in f".{n}")
        assert counted == strategy.trainable_params, name


def test_the_plain_script_learns_and_prints_nothing(workload: Workload, capsys: pytest.CaptureFixture[str]) -> None:
    model = workload.plain_model()
    before = plain.encode(model, ["salt"])
    seconds = plain.train(model, workload.pairs, bf16=False, device="cpu", steps=3)
    assert len(seconds) == 2
    assert not np.allclose(before, plain.encode(model, ["salt"]))
    assert capsys.readouterr().out == ""  # where `--json` goes


def test_both_sides_score_the_same_rankings_alike(workload: Workload, fp32: None) -> None:
    (row,) = comparisons.evaluation(workload)
    ours, library = (float(row.notes[0].partition(f"{name} ")[2].split(",")[0]) for name in (OURS, PLAIN))
    assert ours == pytest.approx(library, abs=0.002)


def test_bm25_is_timed_for_indexing_and_for_searching(workload: Workload) -> None:
    rows = list(comparisons.lexical(workload))
    assert [row.what for row in rows] == ["BM25, index", "BM25, search"]
    assert all(set(row.seconds) == {PLAIN, OURS} for row in rows)


def test_a_strategy_without_a_counterpart_is_refused(workload: Workload) -> None:
    with pytest.raises(BenchError, match="bitfit has no counterpart"):
        measure(replace(workload, strategies=("bitfit",)), ["bm25"], 1)


def test_an_unknown_comparison_is_refused_with_a_suggestion(workload: Workload) -> None:
    with pytest.raises(BenchError, match="did you mean 'encode'"):
        measure(workload, ["encoding"], 1)


def test_without_bf16_it_reports_that_it_computes_in_fp32(workload: Workload, fp32: None) -> None:
    measurement = measure(workload, ["bm25"], 1)
    assert set(measurement.peaks) == {"fp32"}
    assert any("the harness computes in fp32" in note for note in measurement.notes)
    assert table(measurement).row_count == 2
    assert any(measurement.environment["machine"] in line for line in sentences(measurement))
    written = json.loads(json.dumps(measurement.to_dict()))
    assert written["rows"][0]["times_faster"][PLAIN]["median"] > 0
    assert written["environment"]["sizes"]["rounds"] == 2


def test_a_dataset_without_training_pairs_is_refused_for_training(workload: Workload) -> None:
    dataset = workload.dataset
    bare = replace(workload, dataset=replace(dataset, splits={"test": dataset.qrels("test")}))
    with pytest.raises(BenchError):
        next(comparisons.training(bare))


def test_other_time_than_loading_training_encoding_and_search_is_the_harnesss_own() -> None:
    own = own_time({"phases": {"loading": 1.0, "training": 6.0}, "own": {"report": 2.0}, "jobs": 3}, wall=10.0)
    assert own["harness"] == pytest.approx(3.0)
    assert own["share"] == pytest.approx(0.3)
    assert own["own"] == {"report": 2.0, "imports and the like": pytest.approx(1.0)}
    shown = sentences(Measurement([Timing("w", "n", {OURS: [10.0]})], {"fp32": 1e12}, ENVIRONMENT, own))
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


def test_a_slice_keeps_the_first_documents_and_adds_others(tiny_dataset: Dataset) -> None:
    first = list(tiny_dataset.corpus.ids[-3:])
    docs = filled(tiny_dataset.corpus, first, 10)
    assert docs[:3] == first
    assert len(docs) == len(set(docs)) == 10
    assert filled(tiny_dataset.corpus, first, 2) == first


def test_the_whole_job_gives_scores_on_both_sides_and_an_account_of_the_time(
    workload: Workload, fp32: None, tmp_path: Path
) -> None:
    row, own = whole_job(workload, threads=1)
    assert set(row.seconds) == {PLAIN, OURS}
    library = next(note for note in row.notes if note.startswith(f"nDCG@10, {PLAIN}:"))
    ours = next(note for note in row.notes if note.startswith(f"nDCG@10, {OURS}:"))
    for name in workload.strategies:
        assert f"{name} 0." in library or f"{name} 1." in library
        assert f"{name} 0." in ours or f"{name} 1." in ours
    assert own["jobs"] == 3 * len(workload.strategies), "a fit, its development cell and its test cell"
    assert 0 < own["share"] < 1
    assert {"loading", "training", "encoding", "search"} <= set(own["phases"])
