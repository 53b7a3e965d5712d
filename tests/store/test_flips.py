"""A flipped bit in any kind of file that a run or the cache holds is noticed: `benchmarks/flips.py`, in short."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

REGIONS = 13


@pytest.fixture
def flips(load_script: Callable[[str], ModuleType]) -> ModuleType:
    """The script."""
    return load_script("benchmarks/flips.py")


def test_no_flip_is_accepted(flips: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger("adaptbench"), "disabled", True)
    kinds = flips.make_kinds(tmp_path)
    assert {kind.name for kind in kinds} >= {"fit.json", "result.json", "model/", "cache segment", "records.tar.xz"}
    for kind in kinds:
        outcomes = dict(flips.examine(kind, flips.spread(kind, REGIONS)))
        assert len(outcomes) == REGIONS and set(outcomes.values()) <= {"refused", "remade", "harmless"}, kind.name


def test_the_script_sees_a_flip_that_is_accepted(flips: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "unchecked"
    path.write_bytes(b"abcd")
    unchecked = flips.Kind("unchecked", path, path.read_bytes)
    assert set(dict(flips.examine(unchecked, range(32))).values()) == {"accepted"}
    broken = flips.Kind("broken", path, lambda: path.read_text(encoding="ascii").index("abcd"))
    assert dict(flips.examine(broken, [7])) == {7: "crashed"} and path.read_bytes() == b"abcd"
