"""What studies leave on disk: resumed line by line, never mistaken, and honest about how sure the choice was."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.errors import StoreError
from bench.records import with_digest
from bench.store import studies as records
from bench.store.studies import Study, Trial, studies

STUDY = Study(
    study="lora--domain--60-steps--0123456789",
    strategy="lora",
    dataset="domain",
    model="base",
    budget={"steps": 60},
    space={"lr": {"kind": "LogUniform", "low": 1e-5, "high": 1e-2}},
    defaults={"lr": 1e-3},
    folds=3,
    queries=4,
)


def trial(number: int, value: float | None, scores: list[float] | None = None, **changes: Any) -> Trial:
    known = {"params": {"lr": 1e-3 * (number + 1)}, "seconds": 10.0, "fit_seconds": 6.0, **changes}
    return Trial(number=number, value=value, scores=scores or [], **known)


def with_trials(*trials: Trial) -> Study:
    return STUDY.with_trials(trials)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "tuning" / STUDY.study


def test_what_is_written_is_read_back(folder: Path, tmp_path: Path) -> None:
    records.begin(folder, STUDY)
    assert studies(tmp_path) == [STUDY]
    trials = trial(0, 0.5, [0.25, 0.75]), trial(1, None, status="diverged", reason="the loss was nan at step 3")
    for each in trials:
        records.append(folder, each)
    assert studies(tmp_path) == [with_trials(*trials)]


def test_a_line_that_was_cut_short_is_no_trial_and_is_written_over(folder: Path) -> None:
    records.begin(folder, STUDY)
    records.append(folder, trial(0, 0.5))
    with (folder / records.TRIALS_FILE).open("a", encoding="utf-8") as stream:
        stream.write('{"number": 1, "params": {"lr": 0.00')
    assert [each.number for each in records.read(folder).trials] == [0]
    records.append(folder, trial(1, 0.6))
    assert records.read(folder).trials == (trial(0, 0.5), trial(1, 0.6))


def test_a_folder_without_a_study_is_empty(tmp_path: Path) -> None:
    assert studies(tmp_path) == []


def test_damage_is_named_with_file_and_line(folder: Path) -> None:
    records.begin(folder, STUDY)
    records.append(folder, trial(0, 0.5))
    records.append(folder, trial(2, 0.5))
    with pytest.raises(StoreError, match=r"trials\.jsonl:2: not a trial \(trial 2 where trial 1 belongs\)"):
        records.read(folder)


def test_a_newer_study_is_refused(folder: Path) -> None:
    records.begin(folder, STUDY)
    path = folder / records.STUDY_FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema_version": 99}))
    with pytest.raises(StoreError, match="schema 99: update adaptbench"):
        records.read(folder)


@pytest.mark.parametrize("line", [0, 1])
def test_a_changed_trial_is_named_by_its_line(folder: Path, line: int) -> None:
    records.begin(folder, STUDY)
    for number in (0, 1):
        records.append(folder, trial(number, 0.5))
    path = folder / records.TRIALS_FILE
    lines = path.read_text().splitlines()
    lines[line] = lines[line].replace('"value": 0.5', '"value": 0.6')
    path.write_text("\n".join(lines) + "\n")
    message = rf"trials\.jsonl:{line + 1}: not a trial \(its content does not match its digest"
    with pytest.raises(StoreError, match=message):
        records.read(folder)


def test_a_changed_study_is_named(folder: Path) -> None:
    records.begin(folder, STUDY)
    path = folder / records.STUDY_FILE
    path.write_text(path.read_text().replace('"folds": 3', '"folds": 4'))
    with pytest.raises(StoreError, match=r"study\.json is damaged \(its content does not match its digest"):
        records.read(folder)


def test_a_study_of_schema_1_is_read_and_goes_on(folder: Path) -> None:
    """Schema 1 had no digests."""
    folder.mkdir(parents=True)
    (folder / records.STUDY_FILE).write_text(json.dumps({"schema_version": 1, **STUDY.model_dump(exclude={"trials"})}))
    (folder / records.TRIALS_FILE).write_text(json.dumps(trial(0, 0.5).model_dump()) + "\n")
    records.append(folder, trial(1, 0.6))
    assert records.read(folder) == with_trials(trial(0, 0.5), trial(1, 0.6))


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"number": "0"}, "number = '0': input should be a valid integer"), ({"colour": 1}, "unknown key 'colour'")],
)
def test_a_trial_of_the_wrong_form_is_named(folder: Path, changes: dict[str, Any], message: str) -> None:
    records.begin(folder, STUDY)
    (folder / records.TRIALS_FILE).write_text(json.dumps(with_digest(trial(0, 0.5).model_dump() | changes)) + "\n")
    with pytest.raises(StoreError, match=rf"trials\.jsonl:1: not a trial \(not a Trial: {message}"):
        records.read(folder)


def test_the_earliest_of_equal_trials_is_chosen_so_that_the_default_stays() -> None:
    study = with_trials(trial(0, 0.5), trial(1, 0.5), trial(2, 0.4))
    assert study.best is study.trials[0]
    assert with_trials(trial(0, None)).best is None
    assert with_trials(trial(0, 0.0), trial(1, None)).best == trial(0, 0.0)


def test_the_best_so_far_never_falls_and_skips_what_came_to_nothing() -> None:
    study = with_trials(trial(0, None), trial(1, 0.5), trial(2, 0.3), trial(3, None), trial(4, 0.6))
    assert study.best_so_far == [None, 0.5, 0.5, 0.5, 0.6]


def test_a_study_that_was_extended_can_be_read_as_it_was() -> None:
    study = with_trials(trial(0, 0.5), trial(1, 0.6), trial(2, 0.9))
    assert study.first(2).best == study.trials[1]
    assert study.first(2).seconds == 20.0
    assert study.best == study.trials[2]


def test_the_gain_over_the_default_has_a_paired_standard_error() -> None:
    study = with_trials(trial(0, 0.25, [0.0, 0.5, 0.0, 0.5]), trial(1, 0.5, [0.0, 1.0, 0.5, 0.5]))
    found = study.gain
    assert found is not None
    assert found[0] == 0.25
    # differences 0, .5, .5, 0: variance 1/12 with three degrees of freedom, over four queries
    assert found[1] == pytest.approx((1 / 12 / 4) ** 0.5)
    assert with_trials(trial(0, None), trial(1, 0.5)).gain is None


def test_trials_within_a_standard_error_of_the_best_are_tied_and_their_range_is_told() -> None:
    study = with_trials(
        trial(0, 0.10, [0.1, 0.1, 0.1, 0.1], params={"lr": 0.1, "kind": "b"}),
        trial(1, 0.49, [0.0, 1.0, 0.44, 0.52], params={"lr": 0.2, "kind": "b"}),
        trial(2, 0.50, [0.0, 1.0, 0.5, 0.5], params={"lr": 0.4, "kind": "a"}),
        trial(3, 0.48, [0.48, 0.48, 0.48, 0.48], params={"lr": 0.8, "kind": "a"}),
        trial(4, None, params={"lr": 9.0, "kind": "c"}),
    )
    assert [each.number for each in study.tied] == [1, 2, 3]
    assert study.summary()["tied_ranges"] == {"lr": [0.2, 0.8], "kind": ["a", "b"]}


def test_the_summary_is_what_a_record_needs() -> None:
    summary = with_trials(trial(0, 0.5, [0.5, 0.5]), trial(1, 0.6, [0.6, 0.6])).summary()
    assert json.loads(json.dumps(summary)) == summary
    assert (summary["trials"], summary["best_trial"], summary["default_value"]) == (2, 1, 0.5)
    assert (summary["value"], summary["params"], summary["seconds"]) == (0.6, {"lr": 2e-3}, 20.0)
    assert STUDY.model_copy(update={"note": "40 labels"}).summary()["best_trial"] is None


def test_reading_studies_loads_no_library_that_is_heavy() -> None:
    code = "import sys, bench.store.studies; print({'torch', 'optuna', 'numpy', 'pandas'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "set()"
