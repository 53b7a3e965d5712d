"""`make setup` finds a Python, makes the environment once, and says what is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


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
