"""The lock, the declared dependencies, the imports and this environment agree."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import bench

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def lock_tool(load_script: Callable[[str], ModuleType]) -> ModuleType:
    return load_script("tools/lock.py")


def locked() -> dict[str, str]:
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines)


def all_declared() -> list[Requirement]:
    extras = PROJECT["optional-dependencies"].values()
    return [Requirement(line) for lines in (PROJECT["dependencies"], *extras) for line in lines]


def test_the_lock_satisfies_what_the_project_declares(lock_tool: ModuleType) -> None:
    versions = locked()
    for requirement in lock_tool.declared():
        assert requirement.specifier.contains(versions[canonicalize_name(requirement.name)]), requirement


def test_this_environment_is_the_locked_one(lock_tool: ModuleType) -> None:
    """`make setup` undoes an installation by hand, `make lock` keeps it."""
    here, versions = lock_tool.closure(lock_tool.declared()), locked()
    assert {name: version for name, version in here.items() if name in versions and version != versions[name]} == {}
    # Another Python, and torch's build for another processor, need packages of their own beside the locked ones.
    if sys.version_info[:2] == (3, 11) and "+cpu" in importlib.metadata.version("torch"):
        assert here.keys() == versions.keys()


def test_the_lock_leaves_out_what_nothing_depends_on(lock_tool: ModuleType) -> None:
    assert lock_tool.closure([Requirement("pytest-timeout")]).keys() >= {"pytest-timeout", "pytest", "pluggy"}
    assert "torch" not in lock_tool.closure([Requirement("pytest-timeout")])
    assert "+" not in lock_tool.closure([Requirement("torch")])["torch"]


def third_party_imports() -> Iterator[tuple[str, str]]:
    """Yield each top-level package of others that is imported, with the file that imports it."""
    ours = {"bench", "strategies"}
    for path in (path for folder in sorted(ours) for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
            for name in names:
                top = name.partition(".")[0]
                if top not in sys.stdlib_module_names and top not in ours:
                    yield top, path.relative_to(ROOT).as_posix()


def test_every_package_that_is_imported_is_declared() -> None:
    declared = {canonicalize_name(requirement.name) for requirement in all_declared()}
    owners = importlib.metadata.packages_distributions()
    missing = {
        f"{module} in {path}"
        for module, path in third_party_imports()
        if declared.isdisjoint(canonicalize_name(name) for name in owners.get(module, [module]))
    }
    assert missing == set()


def test_the_package_has_the_declared_version() -> None:
    assert bench.__version__ == PROJECT["version"]


def test_every_dependency_has_a_row_on_its_page() -> None:
    page = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8").lower()
    rows = {name for line in page.splitlines() if line.startswith("|") for name in re.findall(r"[\w-]+", line)}
    assert [requirement.name for requirement in all_declared() if requirement.name.lower() not in rows] == []
