"""Records survive a round trip through JSON; wrong types, unknown keys and changed content are refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import records
from bench.errors import StoreError
from bench.records import (
    DIGEST,
    SCHEMA_VERSION,
    CellResult,
    CurvePoint,
    FitRecord,
    FitReport,
    StoredFile,
    migrate,
    with_digest,
)


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


def rewritten(record: CellResult | FitRecord, **changes: object) -> dict[str, Any]:
    """Return what a file would hold if a version of AdaptBench had written the record with these changes."""
    values = {key: value for key, value in record.to_dict().items() if key != DIGEST}
    return with_digest({**values, **changes})


@pytest.mark.parametrize(
    "record",
    [
        cell(metrics={"ndcg@10": 0.5}, strata={"unseen": {"ndcg@10": 0.4, "n": 12}}, notes=["fell back to fp32"]),
        fit(components=["frozen-1"], files={"model/x": StoredFile(bytes=3, sha256="00")}),
        fit(seed=None, cost={"usd": None, "fit_seconds": float("inf")}, report={"base_dev": 0.1 + 0.2}),
    ],
    ids=["cell", "fit", "floats"],
)
def test_a_record_survives_json(record: CellResult | FitRecord) -> None:
    assert type(record).from_dict(json.loads(json.dumps(record.to_dict()))) == record


def test_numpy_numbers_paths_and_sets_become_json_values() -> None:
    values = {"n": np.int64(3), "loss": np.float32(0.5), "file": Path("a/b"), "names": {"b", "a"}, "pair": (1, 2)}
    written = fit(report=values, seed=np.int64(1)).to_dict()
    assert written["report"] == {"n": 3, "loss": 0.5, "file": "a/b", "names": ["a", "b"], "pair": [1, 2]}
    assert FitRecord.from_dict(written).report == written["report"]


def test_a_record_says_which_schema_it_was_written_under() -> None:
    assert cell().to_dict()["schema_version"] == SCHEMA_VERSION


def test_an_unknown_key_is_refused_with_the_known_one() -> None:
    with pytest.raises(StoreError, match="not a CellResult: unknown key 'metric', did you mean 'metrics'"):
        CellResult.from_dict(rewritten(cell(), metric={}))


@pytest.mark.parametrize("missing", ["strategy", "status", "seed"])
def test_a_record_that_lacks_a_key_is_refused_by_name(missing: str) -> None:
    raw = rewritten(cell())
    del raw[missing], raw[DIGEST]
    with pytest.raises(StoreError, match=f"not a CellResult: missing key '{missing}'"):
        CellResult.from_dict(with_digest(raw))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": "0"}, "seed = '0': input should be a valid integer"),
        ({"seed": True}, "seed = True: input should be a valid integer"),
        ({"seed": 1.0}, "seed = 1.0: input should be a valid integer"),
        ({"strategy": 7}, "strategy = 7: input should be a valid string"),
        ({"status": "fine"}, "status = 'fine': input should be 'ok', 'over_budget'"),
        ({"metrics": [0.5]}, r"metrics = \[0.5\]: input should be a valid dict"),
        ({"metrics": {"ndcg@10": "0.5"}}, "metrics.ndcg@10 = '0.5': input should be a valid number"),
        ({"notes": "none"}, "notes = 'none': input should be a valid list"),
        ({"files": {"a": {"bytes": "3", "sha256": ""}}}, "files.a.bytes = '3': input should be a valid integer"),
        ({"seed": None, "n_docs": None, "split": 1}, "n_docs = None: .*; split = 1: |split = 1: .*; n_docs = None: "),
    ],
)
def test_a_wrong_type_is_refused_by_its_key(changes: dict[str, object], message: str) -> None:
    with pytest.raises(StoreError, match=message):
        CellResult.from_dict(rewritten(cell(), **changes))


def test_content_that_changed_after_it_was_written_is_refused() -> None:
    raw = cell(metrics={"ndcg@10": 0.5}).to_dict()
    for change in ({"metrics": {"ndcg@10": 0.6}}, {"seed": 1}, {DIGEST: "0" * 64}, {"extra": 1}):
        with pytest.raises(StoreError, match="does not match its digest"):
            CellResult.from_dict(raw | change)
    del raw[DIGEST]
    with pytest.raises(StoreError, match="its digest is missing"):
        CellResult.from_dict(raw)


def test_a_record_of_schema_1_is_migrated() -> None:
    """The keys are those of a committed `fit.json` of schema 1, which named the components its parts."""
    raw = {
        "schema_version": 1,
        "fit": "hybrid-lora---medquad--60-steps--s0--307b904c49",
        "strategy": "hybrid(lora)",
        "dataset": "medquad",
        "model": "all-MiniLM-L6-v2",
        "seed": 0,
        "status": "ok",
        "reason": "",
        "parts": ["lora--medquad--60-steps--s0--64af"],
        "trains": "encoder",
        "reindex": "encode",
        "strategy_version": 2,
        "hyperparameters": {"method": "rrf"},
        "training": {"batch_size": 32},
        "budget": {"limits": {"steps": 60}, "stopped_by": ""},
        "report": {"steps": 0, "best_dev": 0.82},
        "cost": {"fit_seconds": 9.5, "usd": None},
        "tuning": {},
        "train_relevant": ["a0", "a1"],
        "fingerprints": {"dataset": "ab"},
        "environment": {"threads": 1},
        "files": {"curve.parquet": {"bytes": 12, "sha256": "cd"}},
    }
    before = json.dumps(raw)
    record = FitRecord.from_dict(raw)
    assert json.dumps(raw) == before, "a migration is a pure function"
    assert record.components == ["lora--medquad--60-steps--s0--64af"] and record.train_relevant == ["a0", "a1"]
    assert record.schema_version == SCHEMA_VERSION and record.files["curve.parquet"].bytes == 12
    assert FitRecord.from_dict(record.to_dict()) == record


def test_a_newer_record_is_refused_with_what_to_do() -> None:
    with pytest.raises(StoreError, match="update adaptbench"):
        CellResult.from_dict({**cell().to_dict(), "schema_version": SCHEMA_VERSION + 1})


@pytest.mark.parametrize("version", [None, "1", True, 0])
def test_something_without_a_version_is_not_a_record(version: object) -> None:
    with pytest.raises(StoreError, match="not written by AdaptBench"):
        migrate({"schema_version": version})


def test_older_records_pass_through_every_migration_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    def step(version: int):
        return lambda record: {**record, "path": [*record["path"], version]}

    monkeypatch.setattr(records, "SCHEMA_VERSION", 3)
    monkeypatch.setattr(records, "_MIGRATIONS", {1: step(1), 2: step(2)})
    assert migrate({"schema_version": 1, "path": []}) == {"schema_version": 3, "path": [1, 2]}
    assert migrate({"schema_version": 2, "path": []}) == {"schema_version": 3, "path": [2]}


def test_every_older_schema_has_its_migration() -> None:
    assert set(records._MIGRATIONS) == set(range(1, SCHEMA_VERSION))


@pytest.mark.parametrize(("status", "usable"), [("ok", True), ("over_budget", True), ("no_effect", False)])
def test_only_some_statuses_have_scores_that_mean_something(status: str, usable: bool) -> None:
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
    assert FitReport().model_dump()["notes"] == []


def test_a_report_can_be_changed_while_training_goes_on() -> None:
    report = FitReport(planned_steps=60)
    report.steps, report.best_dev = 10, 0.5
    report.notes.append("fell back to fp32")
    assert (report.steps, report.best_dev, report.notes) == (10, 0.5, ["fell back to fp32"])


def test_records_load_pydantic_and_nothing_larger() -> None:
    """`bench --help` answers within half a second, and a report reads records without loading a model."""
    program = "import sys; import bench.records; print(*{name.partition('.')[0] for name in sys.modules})"
    root = Path(__file__).resolve().parent.parent
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True)
    assert "pydantic" in done.stdout.split()
    assert {"torch", "transformers", "numpy", "pandas", "scipy", "matplotlib", "rich"}.isdisjoint(done.stdout.split())
