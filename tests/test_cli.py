"""The command line: how fast it answers, its error messages, its exit codes and its lists."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bench import __version__
from bench.cli import command_modules, main

OWN_STRATEGIES = """
from bench.strategy.base import Strategy


class _Nothing(Strategy):
    def fit(self, data, budget, seed): ...
    def index(self, corpus): ...
    def search(self, queries, index, top_k): ...
    def save(self, folder): ...
    def load(self, folder): ...


class Head(_Nothing):
    name, summary, trains = "my-head", "a head", "head"


class Around(_Nothing):
    name, summary, trains, n_components = "around", "a composite", "head", 2
"""
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
    loaded = loaded_by("import sys; from bench.cli import main; main(['run', '--help'])")
    assert loaded.isdisjoint(HEAVY)


def test_help_answers_within_half_a_second() -> None:
    """The time that the processor takes, so that other programs on the machine do not count."""
    program = "import resource, sys; from bench.cli import main; main(sys.argv[1:]); "
    program += "used = resource.getrusage(resource.RUSAGE_SELF); sys.stderr.write(str(used.ru_utime + used.ru_stime))"
    for arguments in (["--help"], ["run", "--help"]):
        command = [sys.executable, "-c", program, *arguments]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        assert float(done.stderr) < 0.5


@pytest.mark.parametrize("name", command_modules())
def test_the_summary_of_a_command_is_the_first_line_of_its_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    summaries = " ".join(capsys.readouterr().out.split())
    assert main([name, "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    summary = re.search(rf" {name} ([A-Z][^.]*(?:\.\w[^.]*)*\.) ", summaries)
    assert summary is not None and summary[1] in text


@pytest.mark.parametrize("name", command_modules())
def test_help_fits_80_columns(name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main([name, "-h"]) == 0
    assert [line for line in capsys.readouterr().out.splitlines() if len(line) > 80] == []


def test_run_documents_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    from bench.config.schema import RunConfig

    assert main(["run", "--help"]) == 0
    text = capsys.readouterr().out
    for name in RunConfig.model_fields.keys() - {"budget"}:
        assert f"--{name.removesuffix('s') if name == 'strategy_files' else name}".replace("_", "-") in text
    for limit in ("steps", "flops", "seconds", "usd", "examples", "trainable-params", "memory"):
        assert f"--budget-{limit}" in text


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["rnu"], "No such command 'rnu'. Did you mean 'run'? See adaptbench --help."),
        (["--verison"], "No such option '--verison'. Did you mean '--version'?"),
        (["run", "--strategys", "lora"], "Did you mean one of: '--strategies'"),
        (["run", "--budget-step", "5"], "'--budget-steps'"),
        (["run", "extra"], "unexpected extra argument (extra) See adaptbench run --help."),
        (["run", "--seeds"], "Option '--seeds' requires an argument"),
        (["run", "--strategies", "lroa"], "did you mean 'lora'?"),
        (["run", "--datasets", "pydcos"], "did you mean 'pydocs'?"),
        (["run", "--measures", "ndgc@10"], "unknown measure 'ndgc@10', did you mean 'ndcg@10'?"),
        (["run", "--budget-examples", "50"], "add one of --budget-steps"),
        (["run", "--executor", "lcal"], "unknown executor 'lcal', did you mean 'local'? Known: local, ray, slurm."),
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
    ("what", "name"), [("strategies", "hybrid(x)"), ("datasets", "pydocs"), ("models", "all-MiniLM-L6-v2")]
)
def test_lists_as_json(what: str, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", what, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert name in {row["name"] for row in rows}


@pytest.mark.parametrize("what", ["strategies", "objectives", "representations", "datasets", "models"])
def test_lists_are_grouped_and_hold_a_line_for_each_name(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", what, "--json"]) == 0
    names = [row["name"] for row in json.loads(capsys.readouterr().out)]
    assert main(["list", what]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[1] for line in lines if line.startswith("  ")] == names
    assert main(["list", what, "--options"]) == 0
    assert [line for line in capsys.readouterr().out.splitlines() if not line.startswith("      ")] == lines


@pytest.mark.parametrize(
    ("what", "details"),
    [
        ("strategies", "      k1=1.5, b=0.75, engine=bm25s"),
        ("strategies", "      short for lora(representation=query-side)"),
        ("datasets", "      5,183 documents; queries: train 809, test 300;"),
        ("models", "      licence: apache-2.0"),
    ],
)
def test_a_list_shows_details_on_request(what: str, details: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", what]) == 0
    assert details not in capsys.readouterr().out
    assert main(["list", what, "--options"]) == 0
    assert details in capsys.readouterr().out


def test_a_list_fits_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert main(["list", "datasets"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert any(line.startswith("  nanobeir-quoraretrieval  ") and line.endswith("...") for line in lines)


def test_the_kind_of_a_strategy_comes_from_its_class(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.py").write_text(OWN_STRATEGIES, encoding="utf-8")
    assert main(["list", "--strategy-file", str(tmp_path / "mine.py")]) == 0
    groups = capsys.readouterr().out.split("\n\n")
    assert [("  my-head " in group, "  around(x, y) " in group) for group in groups if group.strip()] == [
        (False, False), (True, False), (False, False), (False, True), (False, False),
    ]  # fmt: skip


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
