"""What holds for every command: JSON on request, one line and exit code 2 for a mistake; completion in a real shell."""

from __future__ import annotations

import importlib
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from bench.cli import Parser, command_modules, main
from bench.commands.completion import Command, commands, script
from bench.errors import BenchError

PRINTS_A_SCRIPT = {"completion"}


@pytest.mark.parametrize("name", sorted(command_modules().keys() - PRINTS_A_SCRIPT))
def test_every_command_that_prints_a_result_prints_it_as_json(name: str) -> None:
    module: Any = importlib.import_module(f"bench.commands.{command_modules()[name]}")
    parser = Parser(prog=name)
    module.add_arguments(parser)
    assert "--json" in parser.format_help()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["export", "no-such-run"], "no-such-run is not a folder"),
        (["export", ".", "--strategy", "lora"], "holds no fit"),
        (["export", ".", "--strateggy", "lora"], "did you mean '--strategy'"),
        (["similarity", "no-such-run", "a", "b"], "no-such-run is not a folder"),
        (["similarity", "only one"], "the following arguments are required: SECOND"),
        (["completion", "tcsh"], "invalid choice: 'tcsh'"),
        (["list", "models", "./no-such-model"], "no-such-model does not exist"),
        (["run", "--report-to", "tensorbord", "--strategies", "bm25"], "did you mean 'tensorboard'"),
        (["run", "--dry-run", "--out", "a-file"], "a-file is a file, not a folder"),
        (["run", "--dry-run", "--out", "a-file/x/y"], "a-file/x/y is below a-file, which is not a folder"),
        (["run", "--dry-run", "--out", "/proc/x"], "/proc/x: nothing can be written into /"),
        (["tune", "--out", "a-file"], "a-file is a file, not a folder"),
        (["import", "no.csv", "--out", "a-file/x"], "a-file is a file, not a folder"),
        (["report", "a-run", "--out", "a-file"], "a-file is a file, not a folder"),
        (["import", "no.csv", "--out", "a-file"], "a-file: is there already"),
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
        (["tune", "--no-report"], "unknown option '--no-report'"),
        (["tune", "--overwrite", "always"], "unknown option '--overwrite'"),
        (["recommend", "--queries-per-month=-5"], "argument --queries-per-month: -5 is not above 0"),
        (["recommend", "--corpus-docs=-100"], "argument --corpus-docs: -100 is not above 0"),
        (["recommend", "--max-query-ms", "-1"], "argument --max-query-ms: -1 is not above 0"),
        (["recommend", "--max-forgetting=-1"], "argument --max-forgetting: -1 is below 0"),
        (["recommend", "--usd-per-hour=nan"], "argument --usd-per-hour: 'nan' is not a number"),
        (["report", "--min-gain=-1"], "argument --min-gain: -1 is not above 0"),
        (["inspect", "pydocs", "--gain=0"], "argument --gain: 0 is not above 0"),
        (["import", "no.csv", "--out", "x", "--max-words", "0"], "argument --max-words: 0 is not above 0"),
        (["clean", "pydocs", "--per-group", "1.5"], "argument --per-group: '1.5' is not a whole number"),
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
    said = capsys.readouterr().err.strip()
    assert message in said and said.startswith("adaptbench: ") and "\n" not in said
    assert not (tmp_path / "results").exists()


def test_a_file_that_cannot_be_used_is_one_line_wherever_it_is_met(
    monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    for error, said in (
        (OSError(28, "No space left on device", "results/x"), "results/x: No space left on device"),
        (ConnectionError("no route\nto the host"), "ConnectionError: no route"),
    ):
        monkeypatch.setattr("bench.cli._dispatch", lambda arguments, error=error: (_ for _ in ()).throw(error))
        assert main(["list"]) == 2
        assert capsys.readouterr().err == f"adaptbench: {said}\n"


def test_options_of_a_run_that_tuning_has_no_use_for_may_stand_in_its_file(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "run.yaml").write_text("strategies: bm25\nno_report: true\ntune_trials: 0\ndry_run: true\n")
    assert main(["tune", "--config", str(tmp_path / "run.yaml"), "--out", str(tmp_path / "out"), "--json"]) == 0
    captured = capsys.readouterr()
    assert "1 studies of 8 trials" in captured.err.replace("\n", " ")
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
    said = capsys.readouterr().out
    assert "sentence-transformers/all-mpnet-base-v2" in said and "apache-2.0" in said


# --- completion -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def known() -> list[Command]:
    return list(commands())


@pytest.fixture(scope="module")
def complete(known: list[Command], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return a function from a line, its last word unfinished, to what bash offers for it."""
    path = tmp_path_factory.mktemp("completion") / "adaptbench.bash"
    path.write_text(script("bash", known), encoding="utf-8")

    def offers(line: str) -> set[str]:
        program = (
            f'source "{path}"\nCOMP_WORDS=({line.rstrip()}{" " + chr(34) * 2 if line.endswith(" ") else ""})\n'
            'COMP_CWORD=$((${#COMP_WORDS[@]} - 1))\n_adaptbench\nprintf "%s\\n" "${COMPREPLY[@]}"\n'
        )
        done = subprocess.run(["bash", "-c", program], capture_output=True, text=True, check=True)
        return set(done.stdout.split())

    return offers


def test_commands_options_and_names_are_completed(complete: Any) -> None:
    assert complete("adaptbench rep") == {"report"}
    assert "run" in complete("adaptbench ") and "--version" in complete("adaptbench --")
    assert complete("adaptbench run --budget-st") == {"--budget-steps"}
    assert complete("adaptbench run --strategies fro") == {"frozen"}
    assert complete("adaptbench run --strategies bm25,fro") == {"bm25,frozen"}
    assert complete("adaptbench run --probes bool") == {"boolq"}
    assert complete("adaptbench export --strategy lo") == {"lora"}
    assert complete("adaptbench list mo") == {"models"}
    assert complete("adaptbench completion z") == {"zsh"}


def test_where_nothing_is_known_the_shell_offers_files(complete: Any) -> None:
    assert complete("adaptbench run --out s") == set()
    assert complete("adaptbench report r") == set()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_command_and_option_is_in_every_script(known: list[Command], shell: str) -> None:
    text = script(shell, known)
    for command in known:
        for option in command.options:
            for flag in option.flags:
                wanted = re.escape(flag.lstrip("-")) if shell == "fish" else re.escape(flag)
                assert re.search(rf"(?<![\w-]){wanted}(?![\w-])", text), f"{command.name} {flag}"
    if shutil.which(shell):
        done = subprocess.run([shell, "-n"], input=text, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_an_unknown_shell_is_refused() -> None:
    with pytest.raises(BenchError, match="did you mean 'fish'"):
        script("fsh", [])
