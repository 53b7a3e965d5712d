"""A finished run on a dataset with answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.config.schema import RunConfig
from bench.report.load import LoadedRun, load_run
from bench.store.store import Store
from tests.toy_answers import add_answers

STRATEGIES = "words,toy(bonus=1.0),toy(bonus=2.0)"


@pytest.fixture
def finished(
    tmp_path: Path, beir_folder: Path, toy_config: Callable[..., RunConfig], run_inline: Callable[[RunConfig], Any]
) -> LoadedRun:
    """A run of three strategies on a dataset with answers."""
    add_answers(beir_folder)
    run_inline(toy_config(strategies=STRATEGIES, baseline="words"))
    return load_run(Store(tmp_path / "run"))
