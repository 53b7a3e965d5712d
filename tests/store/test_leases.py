"""A process that lost its lease writes no record, and removes none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.config.schema import RunConfig
from bench.records import CellResult, FitRecord
from bench.running.job import run_job
from bench.running.run import Run
from bench.running.scorer import Scorer
from bench.store.lease import Lease, LeaseError
from bench.store.store import Store

FIT = FitRecord(fit="f-1", strategy="s", dataset="d", model="m", seed=0, status="ok")
CELL = CellResult(cell="c-1", fit="f-1", strategy="s", dataset="d", split="test", model="m", seed=0, status="ok")


def test_the_holder_of_a_lease_writes(tmp_path: Path) -> None:
    store = Store(tmp_path, Lease.grant(tmp_path, "f-1"))
    store.begin_fit("f-1")
    store.put_fit(FIT)
    assert Store(tmp_path).has_fit("f-1")


@pytest.mark.parametrize("end", ["revoked", "granted again", "damaged"])
def test_whoever_lost_the_lease_writes_and_removes_nothing(tmp_path: Path, end: str) -> None:
    lease = Lease.grant(tmp_path, "f-1")
    late, now = Store(tmp_path, lease), Store(tmp_path)
    now.put_fit(FIT)
    if end == "damaged":
        lease.path.write_bytes(b"\xff")
    elif end == "revoked":
        lease.revoke()
    else:
        assert Lease.grant(tmp_path, "f-1") != lease
    for write in (
        lambda: late.begin_fit("f-1"), lambda: late.put_fit(FIT), lambda: late.begin_cell("c-1"),
        lambda: late.put_cell(CELL),
    ):  # fmt: skip
        with pytest.raises(LeaseError, match="f-1: this process was given up"):
            write()
    assert now.has_fit("f-1") and not now.has_cell("c-1")


def test_the_lease_is_checked_again_right_before_the_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lease = Lease.grant(tmp_path, "f-1")
    store = Store(tmp_path, lease)
    (store.begin_fit("f-1") / "model" / "weights").write_bytes(b"1")
    monkeypatch.setattr("bench.store.files.sha256", lambda path: lease.revoke() or "0" * 64)
    with pytest.raises(LeaseError):
        store.put_fit(FIT)
    assert not Store(tmp_path).has_fit("f-1")


def test_a_fit_that_loses_its_lease_in_training_leaves_the_weights_of_another_attempt(
    toy_config: Callable[..., RunConfig],
) -> None:
    run = Run.prepare(toy_config())
    job, execution, folder = run.pending()[0], run.execution, run.store.folder

    def is_given_up(event: str, values: dict[str, Any]) -> None:
        if event == "step":
            other = Store(folder, Lease.grant(folder, job.name))
            (other.begin_fit(job.name) / "model" / "seen.json").write_text("another attempt")
            other.put_fit(FIT.model_copy(update={"fit": job.name}))

    late = replace(job, lease=Lease.grant(folder, job.name))
    with pytest.raises(LeaseError):
        run_job(late, run.store, execution, is_given_up, Scorer.of(job.spec, run.store, execution.data_dir))
    assert (run.store.artefact(job.name) / "seen.json").read_text() == "another attempt"
