"""The walls of the house: who may import what, who may name what, and what no tracked file may hold."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
HEAVY = {"torch", "transformers", "sentence_transformers", "peft", "pandas", "numpy", "scipy", "sklearn", "matplotlib"}
MODEL_LIBRARIES = {"torch", "transformers", "sentence_transformers", "peft", "accelerate"}
MAX_LINES = 350

NAMING_ALLOWED = {"bench/planning/registry.py", "bench/config/schema.py"}
"""Where a strategy's name may stand as a value: finding strategies, and the defaults of a run."""


def modules(package: str) -> list[Path]:
    return sorted(path for path in (ROOT / package).rglob("*.py") if "_datasets" not in path.parts)


def dotted(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports(path: Path) -> Iterator[str]:
    """Yield every module that a file imports, at the top or inside a function, but for those under TYPE_CHECKING."""
    typing_only = {
        inner
        for node in ast.walk(tree(path))
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for statement in node.body
        for inner in ast.walk(statement)
    }
    for node in ast.walk(tree(path)):
        if node in typing_only:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute"
            base = node.module or ""
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def loaded_after(program: str) -> set[str]:
    """Return the top-level packages that are loaded once a fresh interpreter has run `program`."""
    program += "\nimport sys; sys.stdout.write('\\n' + ' '.join({m.partition('.')[0] for m in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


# --- who may import what --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", modules("strategies"), ids=dotted)
def test_a_strategy_knows_nothing_of_running_or_reporting(path: Path) -> None:
    forbidden = ("bench.running", "bench.report", "bench.commands", "bench.cli")
    assert [name for name in imports(path) if name.startswith(forbidden)] == []


@pytest.mark.parametrize("path", modules("strategies"), ids=dotted)
def test_a_strategy_brings_no_scorer_of_its_own(path: Path) -> None:
    """What it chooses on development data it scores with the harness's measures."""
    assert {name.partition(".")[0] for name in imports(path)}.isdisjoint({"pytrec_eval", "ir_measures", "beir", "ranx"})


def test_the_harness_reaches_strategies_through_the_registry_alone() -> None:
    reached = {
        path.relative_to(ROOT).as_posix()
        for path in modules("bench")
        for name in imports(path)
        if name.partition(".")[0] == "strategies"
    }
    assert reached <= {"bench/planning/registry.py"}


def test_only_the_command_line_knows_its_commands() -> None:
    importers = {
        path.relative_to(ROOT).as_posix()
        for path in modules("bench")
        for name in imports(path)
        if name.startswith(("bench.commands", "bench.cli")) and not dotted(path).startswith("bench.commands")
    }
    assert importers <= {"bench/cli.py", "bench/__main__.py"}


def test_the_report_loads_no_model_library() -> None:
    """Importing every module of the report, and every module of ours that one of them imports later, loads no torch."""
    ours = {dotted(path) for path in modules("bench")}
    wanted = {dotted(path) for path in modules("bench/report")}
    wanted |= {name for path in modules("bench/report") for name in imports(path) if name in ours}
    assert loaded_after("".join(f"import {name}\n" for name in sorted(wanted))).isdisjoint(MODEL_LIBRARIES)


@pytest.mark.parametrize("path", modules("bench/report"), ids=dotted)
def test_the_report_imports_no_model_library_inside_a_function_either(path: Path) -> None:
    assert {name.partition(".")[0] for name in imports(path)}.isdisjoint(MODEL_LIBRARIES)


def test_importing_strategies_loads_no_model_library() -> None:
    """Shared code (`_x.py`) may, as a torch module derives from torch's: strategies import it inside their methods."""
    names = [dotted(path) for path in modules("strategies") if not path.stem.startswith("_") or path.stem == "__init__"]
    assert loaded_after("".join(f"import {name}\n" for name in names)).isdisjoint(MODEL_LIBRARIES)


def test_help_loads_nothing_heavy() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "bench", "--help"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert "run" in done.stdout
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "argparse" in loaded, "the list of imports was not understood"
    assert loaded.isdisjoint(HEAVY | {"datasets", "faiss", "pyarrow", "jinja2", "rich.progress"})


# --- who may name what ----------------------------------------------------------------------------------------------


def strategy_names() -> set[str]:
    return {p.stem.replace("_", "-") for p in modules("strategies") if not p.stem.startswith("_")}


def named_strategies(path: Path) -> Iterator[str]:
    """Yield `file:line 'name'` where a strategy's name decides something.

    Names of strategies are ordinary words, so that the same word as the key of another library's dictionary, or of a
    keyword argument, is not meant: only a name that is compared, matched, tested for membership, or stands in a
    collection beside another strategy's name.
    """
    names = strategy_names()

    def constants(node: ast.AST) -> list[ast.Constant]:
        return [child for child in ast.walk(node) if isinstance(child, ast.Constant) and child.value in names]

    for node in ast.walk(tree(path)):
        found: list[ast.Constant] = []
        if isinstance(node, ast.Compare):
            compared = [node.left, *node.comparators]
            about = ast.unparse(node).lower()
            if any(word in about for word in ("strateg", "name", "baseline", "expression")):
                found = [constant for side in compared for constant in constants(side)]
        elif isinstance(node, ast.MatchValue):
            found = constants(node.value)
        elif isinstance(node, ast.List | ast.Tuple | ast.Set):
            inside = [c for c in node.elts if isinstance(c, ast.Constant) and c.value in names]
            found = inside if len(inside) > 1 else []
        elif isinstance(node, ast.Dict):
            inside = [c for c in node.keys if isinstance(c, ast.Constant) and c.value in names]
            found = inside if len(inside) > 1 else []
        elif isinstance(node, ast.arg | ast.keyword) and "strateg" in (node.arg or ""):
            found = constants(node)
        yield from (f"{path.relative_to(ROOT).as_posix()}:{c.lineno} {c.value!r}" for c in found)


@pytest.mark.parametrize("path", modules("bench"), ids=dotted)
def test_the_harness_names_no_strategy(path: Path) -> None:
    if path.relative_to(ROOT).as_posix() in NAMING_ALLOWED:
        assert strategy_names()
        return
    assert list(named_strategies(path)) == []


def test_a_harness_that_names_a_strategy_would_be_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    monkeypatch.setattr(sys.modules[__name__], "strategy_names", lambda: {"lora", "full", "bm25"})
    path = tmp_path / "cell.py"
    path.write_text(
        "if strategy.name == 'bm25': pass\n"
        "match expression:\n    case 'lora': pass\n"
        "lexical = {'bm25': 1, 'full': 2}\n"
        "run(strategy='full')\n"
        "precision = 'full'\n"
        "if precision == 'full': pass\n",
        encoding="utf-8",
    )
    assert list(named_strategies(path)) == [
        "cell.py:1 'bm25'", "cell.py:4 'bm25'", "cell.py:4 'full'", "cell.py:3 'lora'", "cell.py:5 'full'",
    ]  # fmt: skip


# --- what must not be there -----------------------------------------------------------------------------------------


def tracked() -> list[Path]:
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    paths = [ROOT / name for name in done.stdout.split("\0") if name]
    return [path for path in paths if path.is_file()]


def test_datasets_is_no_package() -> None:
    """With an `__init__.py` the folder would hide the Hugging Face `datasets` package."""
    assert not (ROOT / "datasets" / "__init__.py").exists()
    program = "import datasets; assert hasattr(datasets, 'Dataset'), datasets"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0


def test_tests_are_no_packages_and_their_files_have_names_of_their_own() -> None:
    files = list((ROOT / "tests").rglob("*.py"))
    assert [path for path in files if path.name == "__init__.py"] == []
    names = [path.name for path in files if path.name.startswith("test_")]
    assert sorted(names) == sorted(set(names))


def test_no_tracked_file_holds_a_path_of_one_machine_or_the_address_of_a_registry() -> None:
    folders = "|".join(("work", "root", "home", "Users"))
    hosts = "|".join(("pypi", "pythonhosted", "npmjs", "download.pytorch"))
    pattern = re.compile(rf"(?<![\w.~}}\])/])/(?:{folders})/\w|\b(?:{hosts})\.(?:org|com)\b")
    found = []
    for path in tracked():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.splitlines(), start=1):
            if match := pattern.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {match.group()}")
    assert found == []


def test_files_stay_small_enough_to_be_read() -> None:
    long = {
        f"{path.relative_to(ROOT)}: {lines}"
        for path in tracked()
        if path.suffix == ".py" and (lines := len(path.read_text(encoding="utf-8").splitlines())) > MAX_LINES
    }
    assert long == set()
