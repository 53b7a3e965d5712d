"""`run` and `check` from the command line, on strategies that need no model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from bench import run as run_api
from bench.cli import main
from bench.running.executors import local
from bench.running.run import Run, RunResult
from bench.store.store import Store
from tests.toy_runs import InProcess


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "EXECUTOR", InProcess)


@pytest.fixture
def line(toy_file: Path, fake_model: Path, beir_folder: Path, tmp_path: Path, in_process: None) -> list[str]:
    """A command line that runs `words` and `toy` on the tiny dataset."""
    return [
        "run", "--strategy-file", str(toy_file), "--strategies", "words,toy", "--baseline", "words", "--device", "cpu",
        "--model", str(fake_model), "--datasets", str(beir_folder), "--budget-steps", "5",
        "--out", str(tmp_path / "out"),
    ]  # fmt: skip


def test_a_run_leaves_results_a_table_and_a_report(
    line: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(line) == 0
    captured = capsys.readouterr()
    assert "toy" in captured.out and "5 steps" in captured.out and "report.md" in captured.out
    assert "2 fits, 4 cells to run, 0 already complete" in captured.err.replace("\n", " ")
    assert "words" in (tmp_path / "out" / "report.md").read_text()
    assert Store(tmp_path / "out").invocations()[0]["command"][:4] == ["python", "-m", "bench", "run"]
    assert main(line) == 0
    assert "0 fits, 0 cells to run, 6 already complete" in capsys.readouterr().err.replace("\n", " ")


def test_records_that_vanish_while_a_run_works_are_named(
    line: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = Run.execute

    def execute_and_lose(self: Run, *arguments: Any, **options: Any) -> RunResult:
        result = whole(self, *arguments, **options)
        shutil.rmtree(next((tmp_path / "out" / "cells").glob("words--*")))
        return result

    with monkeypatch.context() as patched:
        patched.setattr(Run, "execute", execute_and_lose)
        assert main(line) == 2
    assert "lacks the records of 1 cell that this run has ended, such as words--tiny" in capsys.readouterr().err
    assert main(line) == 0


@pytest.mark.usefixtures("narrow_console")
def test_the_end_of_a_run_names_data_and_model_and_closes_with_decision_and_report(
    line: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["toy(does=a_rather_long_name_for_one_option)", "toy(does=a_rather_long_name_for_one_opinion)"]
    assert main([*line, "--strategies", f"words,{','.join(names)}"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("tiny, ") and lines[0].endswith(", 5 steps") and "fake" in lines[0]
    assert all(any(name in printed.split() for printed in lines) for name in names)
    assert lines[-2].startswith(("Keep words", "Use toy")) and lines[-1] == f"report: {tmp_path / 'out' / 'report.md'}"


@pytest.mark.usefixtures("narrow_console")
def test_a_dry_run_shows_whole_names_of_fits(line: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    command = [*line, "--strategies", "words,toy(does=a_rather_long_name_for_one_option)", "--dry-run"]
    assert main([*command, "--json"]) == 0
    names = {row["name"] for row in json.loads(capsys.readouterr().out)["to_run"]}
    assert main(command) == 0
    assert max(map(len, names)) > 60 and names <= set(capsys.readouterr().out.split())


def test_results_as_json(line: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*line, "--json", "--quiet", "--no-report"]) == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert [row["strategy"] for row in found["results"]] == ["toy", "words"]
    assert found["statuses"] == {"ok": 4} and found["report"] is None and captured.err == ""


def test_some_failed_is_exit_code_1(line: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*line, "--set", "toy.does=raise", "--no-report"]) == 1
    captured = capsys.readouterr()
    assert "ValueError: the first line" in captured.out and "--overwrite failed" in captured.out
    assert "Traceback" not in captured.out


def test_a_dry_run_runs_nothing(line: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*line, "--dry-run", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["kind"] for row in found["to_run"]] == ["fit", "cell", "cell", "fit", "cell", "cell"]
    assert {row["how"] for row in found["to_run"]} == {"rough"} and found["seconds"] > 0
    assert not (tmp_path / "out").exists()
    main([*line, "--quiet", "--no-report"])
    capsys.readouterr()
    main([*line, "--dry-run", "--seeds", "0,1"])
    text = capsys.readouterr().out
    assert "measured" in text and "1 fit, 3 cells to run, 5 already complete" in text


def test_a_run_json_says_the_same_as_the_command_line(
    line: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main([*line, "--quiet", "--no-report"])
    capsys.readouterr()
    assert main(["run", "--config", str(tmp_path / "out" / "run.json"), "--no-report"]) == 0
    assert "6 already complete" in capsys.readouterr().err.replace("\n", " ")


def test_a_run_from_python(line: list[str], toy_file: Path, tmp_path: Path) -> None:
    main([*line, "--quiet", "--no-report"])
    outcome = run_api(str(tmp_path / "out" / "run.json"), quiet=True, seeds=[0, 1])
    assert outcome.done == 4, "a fit with two cells, and the other strategy's development queries of that seed"
    assert sorted(outcome.frame()["strategy"]) == ["toy", "toy", "words"]


# --- check ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def golden(beir_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, toy_file: Path, in_process: None) -> Any:
    """Return a function that expects a score of bm25 on the tiny dataset and checks it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "datasets").mkdir()

    def check(measure: str, score: float, *more: str) -> int:
        text = f'kind = "retrieval"\ntitle = "tiny"\n[expected.bm25]\n"{measure}" = {score}\n'
        (tmp_path / "datasets" / "tiny.toml").write_text(text)
        return main(["check", "--data-dir", str(beir_folder.parent), "--datasets", "tiny", *more])

    return check


@pytest.mark.parametrize(
    ("expected", "verdict", "code"),
    [(1.0, "OK", 0), (0.998, "OK", 0), (0.9979, "close", 0), (0.99, "close", 0), (0.9899, "FAIL", 1), (0.5, "FAIL", 1)],
)
def test_a_published_score_is_measured_again(
    golden: Any, capsys: pytest.CaptureFixture[str], expected: float, verdict: str, code: int
) -> None:
    assert golden("recall@100", expected, "--json") == code
    rows = json.loads(capsys.readouterr().out)
    assert [(row["verdict"], row["measured"], row["beir"], row["n"]) for row in rows] == [(verdict, 1.0, 1.0, 8)]


def test_a_score_that_could_not_be_measured_fails_with_its_reason(
    golden: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: object) -> None:
        raise RuntimeError("no index today")

    monkeypatch.setattr("strategies.bm25.build_lexical", broken)
    assert golden("recall@100", 1.0) == 1
    text = capsys.readouterr().out
    assert "no index today" in text and "1 FAILED" in text


def test_nothing_to_check_is_a_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--data-dir", str(tmp_path)]) == 2
    assert "no dataset with expected scores" in capsys.readouterr().err
    assert main(["check", "--datasets", "scifcat"]) == 2
    assert "did you mean 'scifact'" in capsys.readouterr().err


def test_the_contract_of_a_file_is_checked(
    toy_file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from bench.contract import ClauseResult

    asked: list[str] = []
    devices: list[str] = []

    def check(name: str, model: object, files: list[Path], device: str) -> list[ClauseResult]:
        asked.append(name)
        devices.append(device)
        return [ClauseResult("budget", name != "head", "what was measured")]

    monkeypatch.setattr("bench.contract.check", check)
    assert main(["check", "--strategy-file", str(toy_file)]) == 1
    assert asked == ["words", "toy", "head", "both"]
    assert "FAIL budget" in capsys.readouterr().out
    assert main(["check", "--strategy-file", str(toy_file), "--strategies", "both(toy, weight=1),words", "--json"]) == 0
    assert [row["strategy"] for row in json.loads(capsys.readouterr().out)] == ["both(toy, weight=1)", "words"]
    assert set(devices) == {"cpu"}
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    for device in ("auto", "cuda:0"):
        assert main(["check", "--strategies", "words", "--strategy-file", str(toy_file), "--device", device]) == 0
    assert devices[-2:] == ["cuda", "cuda:0"]
    assert main(["check", "--strategies", "words", "--strategy-file", str(toy_file), "--device", "cuda:1"]) == 2
