"""A killed run that runs again gives what an undisturbed one gives: `python -m tests.running.kills`, in short."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.running.kills import MODES, FitKills, WriteKills, differences

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it kills children of a fork server")


@pytest.fixture(scope="module")
def kills(tmp_path_factory: pytest.TempPathFactory) -> WriteKills:
    """An undisturbed run, and the way to kill others."""
    return WriteKills(tmp_path_factory.mktemp("kills"))


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 1.0])
def test_a_run_that_is_killed_at_a_write_leaves_nothing_wrong_and_nothing_behind(
    kills: WriteKills, share: float
) -> None:
    number = 1 + round(share * (kills.writes - 1))
    assert kills.kill(number, MODES[number % 2]) == []


def test_differences_are_seen(kills: WriteKills, tmp_path: Path) -> None:
    whole = kills.expected
    cell = next(iter(whole.cells))
    (tmp_path / "x.partial").write_text("")
    other = replace(
        whole, files=whole.files | {"fits/half/model"}, weights={}, cells=whole.cells | {cell: ("ok", {}, None)}
    )
    assert [sentence.partition(":")[0] for sentence in differences(whole, other, {"cache": tmp_path})] == [
        "a file too many", *["other weights"] * len(whole.weights), "another result", "cache",
    ]  # fmt: skip
    assert differences(whole, whole, {"cache": tmp_path / "none"}) == []


def test_a_fit_that_is_killed_again_and_again_resumes_and_ends_as_an_undisturbed_one(tmp_path: Path) -> None:
    assert FitKills(tmp_path / "fits", "lora", {"steps": 10}, checkpoint_every=1e-6).kill(damages=True) == []
    assert not list((tmp_path / "fits").rglob("checkpoints")), "a complete fit has no checkpoint"
