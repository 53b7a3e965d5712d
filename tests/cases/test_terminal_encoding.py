"""Output in an encoding that lacks characters: replacements are printed, and no command ends half-way."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "koi8-r"])
def test_replacement_characters_are_printed(encoding: str, make_dataset: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_dataset(["水壶 τσάι чай", "лампа ランプ", "tea"], ["水壶", "лампа", "tea"], name="чай 水壶")
    calls = (["inspect", str(folder), "--no-model"], ["clean", str(folder)], ["inspect", str(tmp_path / "水壶")],
             ["run", "--strategies", "чай", "--datasets", str(folder)], ["list", "datasets"])  # fmt: skip
    some = slice(None) if encoding == "cp1252" else slice(1)
    for arguments, code in zip(calls[some], (0, 0, 2, 2, 0)[some], strict=True):
        done = subprocess.run(
            [sys.executable, "-m", "bench", *arguments], capture_output=True, cwd=ROOT,
            env={**os.environ, "PYTHONIOENCODING": encoding},
        )  # fmt: skip
        assert done.returncode == code, done.stderr
        assert b"Traceback" not in done.stderr and (done.stdout + done.stderr).decode(encoding)
