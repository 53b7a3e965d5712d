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
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    said = capsys.readouterr().err.strip()
    assert message in said and said.startswith("adaptbench: ") and "\n" not in said
    assert not (tmp_path / "results").exists()


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
