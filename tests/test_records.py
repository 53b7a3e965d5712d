"""Records survive a round trip through JSON, older schemas are migrated, newer ones refused."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from bench import records
from bench.errors import StoreError
from bench.records import SCHEMA_VERSION, CellResult, CurvePoint, FitRecord, FitReport, migrate


def cell(**changes: object) -> CellResult:
    values = {
        "cell": "lora-tiny-1a2b", "fit": "lora-tiny-9c", "strategy": "lora", "dataset": "tiny", "split": "test",
        "model": "mini", "seed": 0, "status": "ok",
    }  # fmt: skip
    return CellResult(**(values | changes))


def fit(**changes: object) -> FitRecord:
    values = {
        "fit": "lora-tiny-9c", "strategy": "lora", "dataset": "tiny", "model": "mini", "seed": 0, "status": "ok",
    }  # fmt: skip
    return FitRecord(**(values | changes))


@pytest.mark.parametrize(
    "record",
    [
        cell(metrics={"ndcg@10": 0.5}, strata={"unseen": {"ndcg@10": 0.4, "n": 12}}, notes=["fell back to fp32"]),
        fit(components=["frozen-1"], train_relevant=["d1", "d2"], files={"model/x": {"bytes": 3, "sha256": "00"}}),
    ],
    ids=["cell", "fit"],
)
def test_a_record_survives_json(record: CellResult | FitRecord) -> None:
    assert type(record).from_dict(json.loads(json.dumps(record.to_dict()))) == record


def test_a_record_says_which_schema_it_was_written_under() -> None:
    assert cell().to_dict()["schema_version"] == SCHEMA_VERSION


def test_keys_that_this_version_does_not_know_are_left_out() -> None:
    assert CellResult.from_dict({**cell().to_dict(), "colour": "green"}) == cell()


@pytest.mark.parametrize("missing", ["strategy", "status", "seed"])
def test_a_record_that_lacks_a_key_is_refused_by_name(missing: str) -> None:
    raw = cell().to_dict()
    del raw[missing]
    with pytest.raises(StoreError, match=missing):
        CellResult.from_dict(raw)


def test_a_newer_record_is_refused_with_what_to_do() -> None:
    with pytest.raises(StoreError, match="update adaptbench"):
        CellResult.from_dict({**cell().to_dict(), "schema_version": SCHEMA_VERSION + 1})


@pytest.mark.parametrize("version", [None, "1"])
def test_something_without_a_version_is_not_a_record(version: object) -> None:
    with pytest.raises(StoreError, match="not written by AdaptBench"):
        migrate({"schema_version": version})


def test_older_records_pass_through_every_migration_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    def step(version: int):
        return lambda record: {**record, "schema_version": version + 1, "path": [*record["path"], version]}

    monkeypatch.setattr(records, "SCHEMA_VERSION", 3)
    monkeypatch.setattr(records, "_MIGRATIONS", {1: step(1), 2: step(2)})
    raw = {"schema_version": 1, "path": []}
    assert migrate(raw) == {"schema_version": 3, "path": [1, 2]}
    assert raw == {"schema_version": 1, "path": []}, "a migration is a pure function"


def test_every_older_schema_has_its_migration() -> None:
    assert set(records._MIGRATIONS) == set(range(1, SCHEMA_VERSION))


@pytest.mark.parametrize(("status", "usable"), [("ok", True), ("over_budget", True), ("no_effect", False)])
def test_only_some_statuses_carry_scores_that_mean_something(status: str, usable: bool) -> None:
    assert cell(status=status).usable is usable


def test_usable_statuses_are_statuses() -> None:
    assert set(records.STATUSES) >= records.USABLE


@pytest.mark.parametrize(
    ("best", "base", "prefers"),
    [(0.6, 0.5, False), (0.5, 0.5, True), (0.4, 0.5, True), (None, 0.5, None), (0.5, None, None)],
)
def test_development_prefers_the_base_model_unless_something_beat_it(
    best: float | None, base: float | None, prefers: bool | None
) -> None:
    assert FitReport(best_dev=best, base_dev=base).dev_prefers_base is prefers


def test_a_strategy_that_trains_nothing_reports_nothing() -> None:
    report = FitReport()
    assert (report.steps, report.trainable_params, report.stopped_by, report.curve) == (0, 0, "", [])


def test_reports_do_not_share_their_lists() -> None:
    FitReport().curve.append(CurvePoint(step=1, seconds=0.1, loss=2.0))
    assert FitReport().curve == []
    assert asdict(FitReport())["notes"] == []


def test_records_need_only_the_standard_library() -> None:
    root = Path(__file__).resolve().parent.parent
    program = (
        f"import sys; sys.path.insert(0, {str(root)!r}); import bench.records; "
        "sys.stdout.write(' '.join({m.partition('.')[0] for m in sys.modules} - set(sys.stdlib_module_names)))"
    )
    command = [sys.executable, "-I", "-S", "-c", program]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert set(loaded) <= {"__main__", "bench"}
