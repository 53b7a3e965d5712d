"""The command line: what it answers at once, what it says of mistakes, what it returns."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench import __version__
from bench.cli import command_modules, main

ROOT = Path(__file__).resolve().parents[1]
HEAVY = {
    "torch",
    "numpy",
    "pandas",
    "transformers",
    "sentence_transformers",
    "peft",
    "scipy",
    "rich",
    "yaml",
    "matplotlib",
}


def run_fresh(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bench", *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )


def loaded_by(program: str) -> set[str]:
    program = f"{program}\nsys.stderr.write('LOADED ' + ' '.join(m.partition('.')[0] for m in list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert "LOADED" in done.stderr, done.stderr
    return set(done.stderr.rpartition("LOADED ")[2].split())


def test_help_lists_every_command_and_imports_nothing_heavy() -> None:
    done = run_fresh("--help")
    assert done.returncode == 0 and done.stderr == ""
    for name in command_modules():
        assert f"  {name} " in done.stdout
    loaded = loaded_by("import sys; from bench.cli import main; main(['--help'])")
    assert loaded.isdisjoint(HEAVY)


def test_the_help_of_run_imports_nothing_heavy() -> None:
    program = "import sys\nfrom bench.cli import main\ntry:\n    main(['run', '--help'])\nexcept SystemExit:\n    pass"
    assert loaded_by(program).isdisjoint(HEAVY)


def test_every_command_has_a_summary() -> None:
    import importlib

    from bench.cli import _summary

    for name, stem in command_modules().items():
        module = importlib.import_module(f"bench.commands.{stem}")
        assert _summary(stem) == module.SUMMARY and module.SUMMARY, name
        assert callable(module.add_arguments) and callable(module.run)


def test_run_documents_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    from bench.config.schema import RunConfig

    with pytest.raises(SystemExit) as stop:
        main(["run", "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    for name in RunConfig.model_fields.keys() - {"budget"}:
        assert f"--{name.removesuffix('s') if name == 'strategy_files' else name}".replace("_", "-") in text
    for limit in ("steps", "flops", "seconds", "usd", "examples", "trainable-params", "memory"):
        assert f"--budget-{limit}" in text


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["rnu"], "unknown command 'rnu', did you mean 'run'?"),
        (["--verison"], "unknown option '--verison'"),
        (["run", "--strategys", "lora"], "did you mean '--strategies'?"),
        (["run", "--budget-step", "5"], "did you mean '--budget-steps'?"),
        (["run", "extra"], "unknown argument 'extra'"),
        (["run", "--seeds"], "expected one argument"),
        (["run", "--strategies", "lroa"], "did you mean 'lora'?"),
        (["run", "--datasets", "pydcos"], "did you mean 'pydocs'?"),
        (["run", "--measures", "ndgc@10"], "unknown measure 'ndgc@10', did you mean 'ndcg@10'?"),
        (["run", "--budget-examples", "50"], "add one of --budget-steps"),
        (["run", "--executor", "ray"], "'ray' is planned and not part of this version: use --executor local"),
        (["run", "--executor", "slurm"], "'slurm' is planned and not part of this version"),
        (["run", "--executor", "lcal"], "unknown executor 'lcal', did you mean 'local'? Known: local."),
        (["run", "--config", "nowhere.yaml"], "nowhere.yaml: No such file"),
        (["list", "modles"], "did you mean 'models'?"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(
    arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert text in captured.err.replace("\n", " ") and captured.out == ""
    assert "Traceback" not in captured.err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"adaptbench {__version__}\n"


@pytest.mark.parametrize(
    ("what", "name"), [("strategies", "frozen"), ("datasets", "pydocs"), ("models", "all-MiniLM-L6-v2")]
)
def test_lists_as_json(what: str, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", what, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert name in {row["name"] for row in rows}


def test_models_state_their_size(capsys: pytest.CaptureFixture[str]) -> None:
    main(["list", "models", "--json"])
    row = json.loads(capsys.readouterr().out)[0]
    assert (row["dimension"], row["max_length"], row["parameters"]) == (384, 256, 22_713_216)


def test_an_interrupted_command_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(arguments: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("bench.cli._dispatch", interrupted)
    assert main(["list"]) == 130
    assert capsys.readouterr().err == "adaptbench: interrupted\n"


def test_a_reader_that_stops_reading_is_no_error() -> None:
    done = subprocess.run(
        f"{sys.executable} -m bench list strategies --json | head -1",
        shell=True, cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout == "[\n" and done.stderr == ""
