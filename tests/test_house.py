"""The house: the lock, the declared dependencies, the set-up, and that the first pages say what is so."""

from __future__ import annotations

import ast
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()


@pytest.fixture(scope="module")
def lock_tool(load_script: Callable[[str], ModuleType]) -> ModuleType:
    return load_script("tools/lock.py")


def locked() -> dict[str, str]:
    return dict(line.split("==") for line in LOCK)


def all_declared() -> list[Requirement]:
    lines = [*PROJECT["dependencies"], *(line for extra in PROJECT["optional-dependencies"].values() for line in extra)]
    return [Requirement(line) for line in lines]


# --- dependencies ---------------------------------------------------------------------------------------------------


def test_the_lock_holds_names_and_versions_in_order_and_nothing_else() -> None:
    assert [line for line in LOCK if not re.fullmatch(r"[a-z0-9.-]+==[0-9][0-9a-z.]*", line)] == []
    assert sorted(locked()) == [line.partition("==")[0] for line in LOCK]


def test_the_lock_satisfies_what_the_project_declares(lock_tool: ModuleType) -> None:
    versions = locked()
    for requirement in lock_tool.declared():
        assert requirement.specifier.contains(versions[canonicalize_name(requirement.name)]), requirement


def test_this_environment_is_the_locked_one(lock_tool: ModuleType) -> None:
    """What differs was installed by hand: `make setup` puts it back, `make lock` keeps it."""
    here, versions = lock_tool.closure(lock_tool.declared()), locked()
    assert {name: version for name, version in here.items() if name in versions and version != versions[name]} == {}
    # Another Python, and torch's build for another processor, need packages of their own beside the locked ones.
    if sys.version_info[:2] == (3, 11) and "+cpu" in importlib.metadata.version("torch"):
        assert here.keys() == versions.keys()


def test_the_lock_leaves_out_what_nothing_asks_for(lock_tool: ModuleType) -> None:
    assert lock_tool.closure([Requirement("pytest-timeout")]).keys() >= {"pytest-timeout", "pytest", "pluggy"}
    assert "torch" not in lock_tool.closure([Requirement("pytest-timeout")])
    assert "+" not in lock_tool.closure([Requirement("torch")])["torch"]


def third_party_imports(folder: str) -> Iterator[tuple[str, str]]:
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
            for name in names:
                top = name.partition(".")[0]
                if top not in sys.stdlib_module_names and top not in {"bench", "strategies"}:
                    yield top, path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("folder", ["bench", "strategies"])
def test_everything_imported_is_declared(folder: str) -> None:
    declared = {canonicalize_name(requirement.name) for requirement in all_declared()}
    owners = importlib.metadata.packages_distributions()
    missing = {
        f"{module} in {path}"
        for module, path in third_party_imports(folder)
        if declared.isdisjoint(canonicalize_name(name) for name in owners.get(module, [module]))
    }
    assert missing == set()


def test_every_dependency_has_its_row_on_the_page() -> None:
    page = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8").lower()
    rows = {name for row in re.findall(r"^\|.*\|$", page, re.MULTILINE) for name in re.findall(r"[\w-]+", row)}
    assert [each.name for each in all_declared() if each.name.lower() not in rows] == []


# --- set-up ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def bare_checkout(tmp_path: Path) -> Path:
    """The files that setting up reads, in a folder of their own, and a PATH on which the only Pythons are ours."""
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "path").mkdir()
    for tool in ("touch", "sed", "mkdir"):
        (tmp_path / "path" / tool).symlink_to(shutil.which(tool) or tool)
    return tmp_path


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run make in `folder`, away from the make that may be running these tests."""
    program = shutil.which("make")
    assert program is not None
    environment = {k: v for k, v in os.environ.items() if k not in {"MAKEFLAGS", "MAKELEVEL", "MFLAGS"}}
    environment["PATH"] = str(folder / "path")
    return subprocess.run(
        [program, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=60
    )


def put_python(folder: Path, name: str, body: str) -> None:
    path = folder / "path" / name
    path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    path.chmod(0o755)


def test_without_a_suitable_python_it_says_what_is_missing(bare_checkout: Path) -> None:
    put_python(bare_checkout, "python3", "exit 1")
    done = make(bare_checkout, "setup")
    assert done.returncode != 0
    assert "no Python of 3.11 or later" in done.stderr
    assert "make PYTHON=" in done.stderr
    assert not (bare_checkout / ".venv").exists()


def test_an_old_python3_is_passed_over_for_a_newer_one(bare_checkout: Path) -> None:
    put_python(bare_checkout, "python3", "exit 1")
    put_python(
        bare_checkout,
        "python3.11",
        '[ "$1" = -c ] && exit 0\nmkdir -p .venv/bin\nprintf \'#!/bin/sh\\necho "$@" >> log\\n\' > .venv/bin/python\n'
        "/bin/chmod +x .venv/bin/python",
    )
    done = make(bare_checkout, "setup")
    assert done.returncode == 0, done.stderr
    assert "making .venv with python3.11" in done.stdout
    steps = (bare_checkout / "log").read_text(encoding="utf-8")
    assert "--requirement requirements.lock" in steps
    assert "--editable ." in steps


def test_set_up_does_nothing_where_it_stands_and_starts_anew_when_the_lock_changes(bare_checkout: Path) -> None:
    stamp = bare_checkout / ".venv" / ".adaptbench"
    stamp.parent.mkdir()
    stamp.touch()
    os.utime(bare_checkout / "requirements.lock", (1, 1))
    os.utime(bare_checkout / "pyproject.toml", (1, 1))
    assert make(bare_checkout, "--question", "setup").returncode == 0
    os.utime(bare_checkout / "requirements.lock", (stamp.stat().st_mtime + 10,) * 2)
    assert make(bare_checkout, "--question", "setup").returncode == 1


@pytest.mark.parametrize("target", ["run", "test"])
def test_run_and_test_set_up_first(target: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"^{target}: setup$", makefile, re.MULTILINE)


def test_ci_runs_what_a_contributor_runs() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    text = script.read_text(encoding="utf-8")
    assert "set -euo pipefail" in text
    assert re.search(r"^make test\b", text, re.MULTILINE)


# --- first pages ----------------------------------------------------------------------------------------------------


def test_the_readme_opens_with_what_it_is_for_and_then_the_two_commands() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    opening = readme.partition("## ")[0]
    assert "embedding model" in opening
    assert opening.index("embedding model") < opening.index("make run") < opening.index("make test")


def test_commands_that_the_readme_shows_exist() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"(?:^ +|`)make ([a-z]+)", readme, re.MULTILINE)) <= targets
    shown = set(re.findall(r"^ *(?:python -m bench|adaptbench) ([a-z]+)", readme, re.MULTILINE))
    modules = {path.stem.strip("_") for path in (ROOT / "bench" / "commands").glob("*.py")}
    assert shown
    assert shown <= modules


def test_files_that_the_first_pages_lead_to_exist() -> None:
    for page in ("README.md", "CONTRIBUTING.md"):
        links = re.findall(r"\]\((?!https?:|#)([^)#]+)", (ROOT / page).read_text(encoding="utf-8"))
        assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_version_is_one_and_the_changelog_knows_it() -> None:
    import bench

    assert bench.__version__ == PROJECT["version"]
    assert Version(PROJECT["version"])
    assert f"## {PROJECT['version']}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_licence_is_the_one_declared() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert PROJECT["license"] == "Apache-2.0"
    assert "Apache License" in text[:200]
    assert "Version 2.0, January 2004" in text[:300]
    assert "END OF TERMS AND CONDITIONS" in text
