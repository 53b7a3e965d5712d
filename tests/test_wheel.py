"""The wheel works outside the checkout: packages, catalogue and type marker travel with it, nothing else does."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BUILT_FROM = ("bench", "strategies", "datasets", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build from a copy in which somebody keeps a data set of their own under ./datasets."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in BUILT_FROM:
        origin = ROOT / name
        if origin.is_dir():
            shutil.copytree(origin, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(origin, source / name)
    (source / "datasets" / "mine").mkdir()
    (source / "datasets" / "mine" / "corpus.jsonl").write_text('{"_id": "1", "text": "secret"}\n', encoding="utf-8")
    pip("wheel", "--no-build-isolation", "--wheel-dir", str(folder), str(source))
    return next(folder.glob("adaptbench-*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("site")
    pip("install", "--target", str(target), str(wheel))
    return target


def pip(command: str, *arguments: str) -> None:
    whole = [sys.executable, "-m", "pip", command, "--quiet", "--no-deps", "--no-index", *arguments]
    done = subprocess.run(whole, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def run_outside(installed: Path, folder: Path, *command: str) -> str:
    """Run Python in `folder` with the installed wheel first on the path; return what it printed."""
    environment = {**os.environ, "PYTHONPATH": str(installed), "COLUMNS": "200"}
    environment.pop("BENCH_DATA", None)
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_module_and_the_whole_catalogue_are_in_the_wheel(wheel: Path) -> None:
    expected = {
        path.relative_to(ROOT).as_posix()
        for package in ("bench", "strategies")
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    catalogue = [
        *(ROOT / "datasets").glob("*.toml"),
        *(p for p in (ROOT / "datasets/general").rglob("*") if p.is_file()),
    ]
    assert any(path.suffix == ".toml" for path in catalogue)
    expected |= {f"bench/_datasets/{path.relative_to(ROOT / 'datasets').as_posix()}" for path in catalogue}
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert inside == expected
    assert "bench/py.typed" in inside


def test_the_wheel_says_what_it_is(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    info = next(name for name in archive.namelist() if name.endswith("METADATA")).rpartition("/")[0]
    metadata = archive.read(f"{info}/METADATA").decode()
    assert "License-Expression: Apache-2.0" in metadata
    assert "Requires-Python: >=3.11" in metadata
    assert "adaptbench = bench.cli:main" in archive.read(f"{info}/entry_points.txt").decode()
    assert f"{info}/licenses/LICENSE" in archive.namelist()


def test_what_runs_is_the_wheel(installed: Path, tmp_path: Path) -> None:
    program = "import bench.cli, strategies, sys; sys.stdout.write(bench.cli.__file__ + '\\n' + strategies.__file__)"
    for line in run_outside(installed, tmp_path, "-c", program).splitlines():
        assert Path(line).is_relative_to(installed)


def test_it_answers_outside_the_checkout(installed: Path, tmp_path: Path) -> None:
    assert "run" in run_outside(installed, tmp_path, "-m", "bench", "--help")


def test_it_lists_the_catalogue_outside_the_checkout(installed: Path, tmp_path: Path) -> None:
    listed = run_outside(installed, tmp_path, "-m", "bench", "list", "datasets")
    for entry in (ROOT / "datasets").glob("*.toml"):
        assert entry.stem in listed


def test_it_finds_its_strategies_beside_a_folder_of_the_same_name(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "strategies").mkdir()
    (tmp_path / "strategies" / "marketing.md").write_text("ours", encoding="utf-8")
    listed = run_outside(installed, tmp_path, "-m", "bench", "list", "strategies")
    for path in (ROOT / "strategies").glob("[!_]*.py"):
        assert path.stem.replace("_", "-") in listed
