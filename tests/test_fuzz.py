"""The short form of the fuzzing in `tests/fuzz.py`: every reader, some hundred inputs each."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from bench.errors import BenchError
from tests import fuzz


@pytest.mark.parametrize("target", fuzz.targets(), ids=lambda target: target.name)
def test_odd_input_gives_a_result_or_an_error_that_a_user_can_act_on(target: fuzz.Target) -> None:
    assert fuzz.run_all(120, only=target.name) == []


@pytest.mark.parametrize("target", fuzz.targets(), ids=lambda target: target.name)
def test_the_valid_inputs_are_read(target: fuzz.Target, tmp_path: Path) -> None:
    """Else mutations of them would test nothing but the first check."""
    accepted = 0
    for number, seed in enumerate(target.seeds):
        folder = tmp_path / str(number)
        folder.mkdir()
        try:
            target.read(seed, folder)
            accepted += 1
        except BenchError:
            continue
    assert accepted


def test_exceptions_and_hangs_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(content: bytes, folder: Path) -> object:
        if len(content) % 2:
            raise KeyError("odd")
        raise BenchError("even")

    outcome = fuzz.fuzz(fuzz.Target("fails", (b"seed",), fails), 50, tmp_path)
    assert len(outcome.faults) == 1 and "KeyError" in next(iter(outcome.faults)) and 0 < outcome.refused < 50
    monkeypatch.setattr(fuzz, "SECONDS", 0.05)
    outcome = fuzz.fuzz(fuzz.Target("hangs", (b"seed",), lambda content, folder: time.sleep(5)), 2, tmp_path)
    assert "HangError" in next(iter(outcome.faults))


def test_the_same_seed_gives_the_same_inputs(tmp_path: Path) -> None:
    runs: list[list[bytes]] = [[], []]
    for run in runs:
        fuzz.fuzz(fuzz.Target("kept", (b"a seed",), lambda content, folder, run=run: run.append(content)), 30, tmp_path)
    assert runs[0] == runs[1] and len(set(runs[0])) > 20


def test_a_reader_that_is_not_known_is_an_error() -> None:
    """Else a slip in a name would report that nothing is at fault."""
    with pytest.raises(BenchError, match="unknown reader 'csvv'"):
        fuzz.run_all(1, only="csvv")
