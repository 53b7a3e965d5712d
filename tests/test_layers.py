"""The order of the packages, read from the syntax tree: imports point downwards, wherever they stand."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEAVY = {
    "torch", "transformers", "sentence_transformers", "peft", "pandas", "numpy", "scipy", "sklearn", "matplotlib",
    "datasets", "faiss", "pyarrow", "jinja2", "rich.progress",
}  # fmt: skip
MODEL_LIBRARIES = {"torch", "transformers", "sentence_transformers", "peft", "accelerate"}
SCORERS = {"pytrec_eval", "ir_measures", "beir", "ranx"}

ORDER = (
    ("__init__", "__main__"),
    ("cli", "commands"),
    ("answering", "exporting", "judging", "speed", "watching"),
    ("report",),
    ("contract",),
    ("running",),
    ("planning",),
    ("config",),
    ("tasks",),
    ("encoders",),
    ("representations",),
    ("objectives",),
    ("training",),
    ("readers",),
    ("evaluation",),
    ("statistics",),
    ("strategy",),
    ("store",),
    ("retrieval",),
    ("data",),
    ("models",),
    ("progress", "records", "budget", "expression", "errors", "scratch"),
)
"""The packages and files of `bench`, top first. A module imports from its own row and from the rows below it."""

STRATEGIES_SEE = "tasks"
"""`strategies/` imports from this row of `bench` and from the rows below it."""


def files(package: str) -> list[Path]:
    return sorted(path for path in (ROOT / package).rglob("*.py") if "_datasets" not in path.parts)


def dotted(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {dotted(path): path for package in ("bench", "strategies") for path in files(package)}


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def typing_only(path: Path) -> set[ast.AST]:
    """Return what stands under `if TYPE_CHECKING`."""
    blocks = [
        node for node in ast.walk(tree(path)) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
    ]
    return {inner for block in blocks for statement in block.body for inner in ast.walk(statement)}


def imports(path: Path, skip: Iterable[ast.AST] = ()) -> Iterator[str]:
    """Yield the full name of everything that a file imports, wherever it stands, but for the nodes in `skip`."""
    left_out = set(skip)
    for node in ast.walk(tree(path)):
        if node in left_out:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def owner(name: str) -> str:
    """Return the module of ours that a full name belongs to; empty for the name of another package."""
    while name and name not in MODULES:
        name = name.rpartition(".")[0]
    return name


@cache
def edges() -> dict[str, frozenset[str]]:
    """Return module -> modules of ours that it imports."""
    return {
        module: frozenset(owner(name) for name in imports(path)) - {module, "", "bench", "strategies"}
        for module, path in MODULES.items()
    }


def row(module: str) -> int:
    """Return the row of `ORDER` that a module belongs to."""
    package = module.split(".")[1] if "." in module else "__init__"
    return next(number for number, names in enumerate(ORDER) if package in names)


def cycles(graph: dict[str, frozenset[str]]) -> list[set[str]]:
    """Return the groups of modules that import each other, directly or through others (Tarjan 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[set[str]] = []

    def visit(module: str) -> None:
        index[module] = low[module] = len(index)
        stack.append(module)
        for imported in graph[module]:
            if imported not in index:
                visit(imported)
                low[module] = min(low[module], low[imported])
            elif imported in stack:
                low[module] = min(low[module], index[imported])
        if low[module] == index[module]:
            group = set(stack[stack.index(module) :])
            del stack[stack.index(module) :]
            if len(group) > 1:
                found.append(group)

    for module in graph:
        if module not in index:
            visit(module)
    return found


def top(name: str) -> str:
    """Return the top-level package of a full name."""
    return name.partition(".")[0]


def listed(found: Iterable[str]) -> str:
    """Return what was found, one a line, as the message of a failed test."""
    return "\n" + "\n".join(sorted(found))


def loaded_after(program: str) -> set[str]:
    """Return the top-level packages that are loaded once a fresh interpreter has run `program`."""
    program += "\nimport sys; sys.stdout.write('\\n' + ' '.join({m.partition('.')[0] for m in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


# --- the order of the packages --------------------------------------------------------------------------------------


def test_the_order_names_every_package_once() -> None:
    named = [name for names in ORDER for name in names]
    there = {path.stem if path.is_file() else path.name for path in (ROOT / "bench").iterdir()}
    ours = {name for name in there if name not in ("__pycache__", "py")}
    assert sorted(named) == sorted(ours)


def test_imports_in_the_harness_point_downwards() -> None:
    upwards = [
        f"{module} -> {imported}"
        for module, reached in edges().items()
        if module.startswith("bench")
        for imported in reached
        if imported.startswith("bench") and row(imported) < row(module)
    ]
    assert not upwards, listed(upwards)


def test_no_modules_import_each_other() -> None:
    found = [", ".join(sorted(group)) for group in cycles(edges())]
    assert not found, listed(found)


def test_a_cycle_would_be_found() -> None:
    graph = {"a": "b", "b": "cd", "c": "a", "d": "e", "e": ""}
    assert cycles({module: frozenset(imported) for module, imported in graph.items()}) == [{"a", "b", "c"}]


# --- strategies and the harness -------------------------------------------------------------------------------------


def test_strategies_import_from_the_tasks_downwards() -> None:
    highest = next(number for number, names in enumerate(ORDER) if STRATEGIES_SEE in names)
    found = [
        f"{module} -> {imported}"
        for module, reached in edges().items()
        if module.startswith("strategies")
        for imported in reached
        if imported.startswith("bench") and row(imported) < highest
    ]
    assert not found, listed(found)


def test_strategies_bring_no_scorer_of_their_own() -> None:
    """A strategy scores its choices on development data with the harness's measures."""
    found = [
        f"{dotted(path)} -> {name}" for path in files("strategies") for name in imports(path) if top(name) in SCORERS
    ]
    assert not found, listed(found)


def test_the_harness_imports_no_strategy() -> None:
    """The registry finds strategies by name."""
    importers = {
        module
        for module, path in MODULES.items()
        if module.startswith("bench") and any(top(name) == "strategies" for name in imports(path))
    }
    assert importers <= {"bench.planning.registry"}


def test_importing_strategies_loads_no_model_library() -> None:
    names = [dotted(path) for path in files("strategies")]
    assert loaded_after("".join(f"import {name}\n" for name in names)).isdisjoint(MODEL_LIBRARIES)


# --- what stays light -----------------------------------------------------------------------------------------------


def test_the_report_loads_no_model_library() -> None:
    """Neither the modules of the report do, nor the modules of ours that they import later."""
    reached = {dotted(path) for path in files("bench/report")}
    reached |= {owner(name) for path in files("bench/report") for name in imports(path)} - {""}
    assert loaded_after("".join(f"import {name}\n" for name in sorted(reached))).isdisjoint(MODEL_LIBRARIES)


def test_the_report_imports_no_model_library_inside_a_function_either() -> None:
    found = [
        f"{dotted(path)} -> {name}"
        for path in files("bench/report")
        for name in imports(path, skip=typing_only(path))
        if top(name) in MODEL_LIBRARIES
    ]
    assert not found, listed(found)


def test_help_loads_nothing_heavy() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "bench", "--help"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert "run" in done.stdout
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "bench.cli" in loaded, "the list of imports was not understood"
    assert loaded.isdisjoint(HEAVY)


# --- what stands in one place ---------------------------------------------------------------------------------------


def test_only_the_models_package_reaches_into_a_sentence_transformer() -> None:
    """`model[0].model` is one library's arrangement of one kind of model; `bench.models` knows it, nobody else does."""
    found = [
        f"{module}:{node.lineno}"
        for module, path in MODULES.items()
        if not module.startswith("bench.models")
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Attribute)
        and node.attr in ("model", "auto_model")
        and isinstance(node.value, ast.Subscript)
        and ast.unparse(node.value.slice) == "0"
    ]
    assert not found, listed(found)


def test_datasets_is_no_package() -> None:
    """With an `__init__.py` the folder would hide the Hugging Face `datasets` package."""
    assert not (ROOT / "datasets" / "__init__.py").exists()
    program = "import datasets; assert hasattr(datasets, 'Dataset'), datasets"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0


def test_no_tracked_file_holds_a_path_of_one_machine_or_the_address_of_a_registry() -> None:
    folders = "|".join(("work", "root", "home", "Users"))
    hosts = "|".join(("pypi", "pythonhosted", "npmjs", "download.pytorch"))
    pattern = re.compile(rf"(?<![\w.~}}\])/])/(?:{folders})/\w|\b(?:{hosts})\.(?:org|com)\b")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    found = []
    for path in (ROOT / name for name in listed.split("\0") if name):
        try:
            text = path.read_text(encoding="utf-8") if path.is_file() else ""
        except UnicodeDecodeError:
            continue
        lines = enumerate(text.splitlines(), start=1)
        found += [f"{path.relative_to(ROOT)}:{n}: {hit.group()}" for n, line in lines if (hit := pattern.search(line))]
    assert found == []
