"""Temporary folders and files of dead processes are removed; those of living ones and of other machines stay."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from bench import scratch
from bench.data.files import write_atomically
from bench.retrieval.cache import VectorCache

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The system's folder for temporary files, empty."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="module")
def dead() -> str:
    """The owner's name of a process that was killed."""
    code = "import os, signal; from bench import scratch; print(scratch.owner(), flush=True); os.kill(os.getpid(), 9)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def test_a_folder_disappears_with_its_block_and_carries_its_process(temporary: Path) -> None:
    with scratch.scratch_folder() as folder:
        assert folder.parent == temporary and f"-{os.getpid()}-" in folder.name
        scratch.remove_abandoned()
        assert folder.is_dir()
    assert list(temporary.iterdir()) == []


def test_folders_of_dead_processes_of_this_machine_are_removed(temporary: Path, dead: str) -> None:
    place = scratch.owner().split("-")[0]
    kept = [
        f"adaptbench-{scratch.owner()}-a", f"adaptbench-{place}-1-b", "adaptbench-old", f"other-{dead}-c",
        f"adaptbench-p00000000-{dead.split('-')[1]}-d",
    ]  # fmt: skip
    for name in (*kept, f"adaptbench-{dead}-e"):
        (temporary / name).mkdir()
        (temporary / name / "file").write_text("")
    scratch.remove_abandoned()
    assert sorted(each.name for each in temporary.iterdir()) == sorted(kept)


def test_half_of_a_file_that_a_dead_process_wrote_goes_with_the_next_write(tmp_path: Path, dead: str) -> None:
    half, other = tmp_path / f".report.md.{dead}.x1y2", tmp_path / f".report.html.{dead}.x1y2"
    half.write_text("ha")
    other.write_text("ha")
    write_atomically(tmp_path / "report.md", b"whole")
    assert sorted(each.name for each in tmp_path.iterdir()) == sorted(["report.md", other.name])
    assert (tmp_path / "report.md").stat().st_mode & 0o777 == 0o666 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_partial_segments_of_dead_writers_are_removed_at_once(tmp_path: Path, dead: str) -> None:
    cache = VectorCache(tmp_path / "vectors")
    space = cache.space("a")
    space.put([b"0" * 16], np.ones((1, 4), dtype=np.float32), 1.0)
    for name in (f"x-{dead}.partial", f"y-{scratch.owner()}.partial"):
        (space.folder / name).write_text("")
    cache.remove_abandoned()
    assert sorted(each.suffix for each in space.folder.iterdir()) == [".partial", ".vectors"]
