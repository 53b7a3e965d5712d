"""What holds for every command: JSON on request, one line and exit code 2 for a mistake, shell completion."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.cli import COMPLETION, command_modules, main


@pytest.mark.parametrize("name", command_modules())
def test_every_command_prints_its_result_as_json_on_request(name: str, capsys: Any) -> None:
    assert main([name, "--help"]) == 0
    assert "  --json " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["export", "no-such-run"], "no-such-run is not a folder"),
        (["export", ".", "--strategy", "lora"], "holds no fit"),
        (
            ["export", ".", "--strateggy", "lora"],
            "Did you mean one of: '--separate', '--strategy', '--strategy-file'?) See adaptbench export --help.",
        ),
        (["similarity", "no-such-run", "a", "b"], "no-such-run is not a folder"),
        (["similarity", "only one"], "similarity takes two texts"),
        (["list", "models", "./no-such-model"], "no-such-model does not exist"),
        (["run", "--report-to", "tensorbord", "--strategies", "bm25"], "did you mean 'tensorboard'"),
        (["run", "--dry-run", "--out", "a-file"], "a-file is a file, not a folder"),
        (["run", "--dry-run", "--out", "a-file/x/y"], "a-file/x/y is below a-file, which is not a folder"),
        (["run", "--strategies", "bm25", "--out", "/proc/x"], "/proc/x: nothing can be written into /"),
        (["tune", "--out", "a-file"], "a-file is a file, not a folder"),
        (["import", "no.csv", "--out", "a-file/x"], "a-file is a file, not a folder"),
        (["report", "a-run", "--out", "a-file"], "a-file is a file, not a folder"),
        (["import", "no.csv", "--out", "a-file"], "a-file: already exists"),
        (["clean", "pydocs", "--out", "a-file/x"], "a-file is a file, not a folder"),
        (["run", "--config", "latin.yaml"], "latin.yaml:2: not UTF-8"),
        (["run", "--device", "tpu"], "unknown device 'tpu'"),
        (["run", "--dry-run", "--device", "cuda"], "torch finds no CUDA device here"),
        (["speed", "--device", "cuda:7"], "torch finds no CUDA device here"),
        (["run", "--dry-run", "--strategies", "bm25", "--set", "bm25.k1=nan"], "nan is not a finite number"),
        (["run", "--dry-run", "--strategies", "lora(r=0)"], "lora(r=0): option r must be above 0, got 0"),
        (["run", "--budget-steps", "1e400"], "budget steps: 1e400 is larger than the largest number"),
        (["run", "--budget-steps=-5"], "budget steps must be above 0, got -5"),
        (["run", "--split", "nope", "--dry-run", "--strategies", "bm25"], "has no split 'nope'. It has: "),
        (["tune", "--tune-trials", "0"], "--tune-trials must be at least 1 here, got 0"),
        (["tune", "--no-report"], "No such option '--no-report'"),
        (["tune", "--overwrite", "always"], "No such option '--overwrite'"),
        (
            ["recommend", "--queries-per-month=-5"],
            "'--queries-per-month': -5.0 is not in the range x>0. See adaptbench recommend --help.",
        ),
        (["recommend", "--corpus-docs=-100"], "'--corpus-docs': -100.0 is not in the range x>0"),
        (["recommend", "--max-query-ms", "-1"], "'--max-query-ms': -1.0 is not in the range x>0"),
        (["recommend", "--max-forgetting=-1"], "'--max-forgetting': -1.0 is not in the range x>=0"),
        (["recommend", "--usd-per-hour=nan"], "'--usd-per-hour': 'nan' is not a number"),
        (["report", "--min-gain=-1"], "'--min-gain': -1.0 is not in the range x>0"),
        (["inspect", "pydocs", "--gain=0"], "'--gain': 0.0 is not in the range x>0"),
        (["import", "no.csv", "--out", "x", "--max-words", "0"], "'--max-words': 0 is not in the range x>=1"),
        (["clean", "pydocs", "--per-group", "1.5"], "'--per-group': '1.5' is not a valid integer"),
        (["clean", "pydocs", "--near-query", "2"], "'--near-query': 2.0 is not in the range 0<x<=1"),
        (["speed", "--threads=-1"], "'--threads': -1 is not in the range x>=1"),
        (["run", "--primary", "ndgc@10"], "unknown measure 'ndgc@10', did you mean 'ndcg@10'?"),
        (["list", "strategies", "extra"], "list strategies takes no names, got 'extra'"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    Path("a-file").write_text("")
    Path("a-run").mkdir()
    Path("a-run/run.json").write_text('{"invocations": []}')
    Path("latin.yaml").write_bytes(b"seeds: 0\nout: caf\xe9\n")
    assert main(arguments) == 2
    printed = capsys.readouterr().err.strip()
    assert message in printed and printed.startswith("adaptbench: ") and "\n" not in printed
    assert not (tmp_path / "results").exists()


def test_a_file_that_cannot_be_used_is_one_line_wherever_it_is_met(
    monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    for error, printed in (
        (OSError(28, "No space left on device", "results/x"), "results/x: No space left on device"),
        (ConnectionError("no route\nto the host"), "ConnectionError: no route"),
    ):
        monkeypatch.setattr("bench.cli._dispatch", lambda arguments, error=error: (_ for _ in ()).throw(error))
        assert main(["list"]) == 2
        assert capsys.readouterr().err == f"adaptbench: {printed}\n"


def test_options_of_a_run_that_tuning_has_no_use_for_may_stand_in_its_file(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "run.yaml").write_text("strategies: bm25\nno_report: true\ntune_trials: 0\ndry_run: true\n")
    assert main(["tune", "--config", str(tmp_path / "run.yaml"), "--out", str(tmp_path / "out"), "--json"]) == 0
    captured = capsys.readouterr()
    assert "1 study to run, 0 already complete" in captured.err.replace("\n", " ") and "8 trials each" in captured.err
    assert json.loads(captured.out)["trials"] == 8
    assert not (tmp_path / "out").exists(), "a dry run makes nothing"


# --- models ---------------------------------------------------------------------------------------------------------


def test_a_folder_is_described_by_its_files(tiny_folder: Any, tmp_path: Path, capsys: Any) -> None:
    from sentence_transformers import SentenceTransformer

    folder = tmp_path / "carded"
    shutil.copytree(tiny_folder("mpnet"), folder)
    (folder / "README.md").write_text("---\nlanguage: en\nlicense: CC-BY-4.0\n---\n# a model\n", encoding="utf-8")
    assert main(["list", "models", str(folder), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    model = SentenceTransformer(str(folder), device="cpu")
    assert row["parameters"] == sum(parameter.numel() for parameter in model.parameters())
    assert (row["dimension"], row["max_length"]) == (model.get_embedding_dimension(), model.max_seq_length)
    assert row["licence"] == "cc-by-4.0" and row["where"] == str(folder)


def test_names_of_models_are_never_cut(capsys: Any) -> None:
    assert main(["list", "models"]) == 0
    printed = capsys.readouterr().out
    assert "sentence-transformers/all-mpnet-base-v2" in printed and "109M parameters" in printed


# --- completion -----------------------------------------------------------------------------------------------------


@pytest.fixture
def complete(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Callable[[str], list[str]]:
    """Return a function from a line, its last word unfinished, to what bash offers for it."""

    def offers(line: str) -> list[str]:
        monkeypatch.setenv(COMPLETION, "bash_complete")
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", str(line.count(" ")))
        assert main([]) == 0
        return capsys.readouterr().out.split()

    return offers


@pytest.mark.parametrize(
    ("line", "offer"),
    [
        ("adaptbench rep", "plain,report"),
        ("adaptbench --vers", "plain,--version"),
        ("adaptbench run --budget-st", "plain,--budget-steps"),
        ("adaptbench run --strategies fro", "plain,frozen"),
        ("adaptbench run --strategies bm25,fro", "plain,bm25,frozen"),
        ("adaptbench run --probes bool", "plain,boolq"),
        ("adaptbench run --overwrite fa", "plain,failed"),
        ("adaptbench run --device cu", "plain,cuda"),
        ("adaptbench run --out s", "file,s"),
        ("adaptbench export --strategy query-", "plain,query-lora"),
        ("adaptbench list mo", "plain,models"),
        ("adaptbench report r", "file,r"),
    ],
)
def test_commands_options_and_names_are_completed(complete: Callable[[str], list[str]], line: str, offer: str) -> None:
    assert complete(line) == [offer]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_can_read_the_completion_script(shell: str, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setenv(COMPLETION, f"{shell}_source")
    assert main([]) == 0
    script = capsys.readouterr().out
    assert "adaptbench" in script
    if shutil.which(shell):
        done = subprocess.run([shell, "-n"], input=script, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
