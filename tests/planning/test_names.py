"""Names of fits, cells and studies stay as they are, so that earlier runs resume and nothing is fitted twice.

`names.json` was written by the code before its packages were rebuilt. A name changes only where a result would change:
a raised `Strategy.version`, a new default, another format of identities.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.config.schema import RunConfig
from bench.planning.plan import Plan, plan

NAMES = json.loads(Path(__file__).with_name("names.json").read_text(encoding="utf-8"))
TRAINED = "frozen,bm25,prior,full,lora(r=8),linear,whitening,query-lora,top-layers"
COMPOSED = "hybrid(lora),hybrid(frozen, weight=0.3),rerank(lora),distill(lora, teacher=rerank(frozen))"
CONFIGS: dict[str, dict[str, Any]] = {
    "strategies": {"strategies": TRAINED, "seeds": "0,1"},
    "composites": {"strategies": COMPOSED, "budget": {"steps": [5, 10], "examples": 20}},
    "settings": {
        "strategies": "full,lora", "set": ["lora.r=4", "train.batch_size=4"], "precision": "fp32", "max_length": 32,
    },
    "sizes": {"strategies": "lora,linear(rank=4),whitening", "budget": {"steps": 5, "trainable_params": ["1%"]}},
    "time": {"strategies": "full,hybrid(lora)", "budget": {"seconds": 5}, "seeds": "0,1"},
    "money": {"strategies": "full", "budget": {"usd": 1}, "usd_per_hour": 2.0},
    "tuned": {"strategies": "full,hybrid(lora),linear(rank=4),prior", "tune_trials": 4, "seeds": "0,1"},
    "tuned in time": {"strategies": "lora,hybrid(prior)", "tune_trials": 4, "budget": {"seconds": 5}},
    "tuned labels": {"strategies": "prior,whitening", "tune_trials": 4, "budget": {"steps": 5, "examples": [10, 20]}},
    "a file": {"strategies": "toy,both(toy, teacher=words),words", "baseline": "words", "set": "toy.bonus=1"},
}  # fmt: skip


def names_of(planned: Plan) -> dict[str, list[str]]:
    """Return the names of a plan's studies, fits and cells in its order."""
    return {
        "studies": [study.name for study in planned.studies],
        "fits": [fit.name for fit in planned.fits],
        "cells": [cell.name for cell in planned.cells],
    }


@pytest.mark.parametrize("case", CONFIGS)
def test_names_are_those_of_earlier_runs(
    case: str,
    toy_config: Callable[..., RunConfig],
    toy_file: Path,
    probe_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bench.planning.plan.machine_class", lambda threads, device, processes: "some machine")
    toy_file.write_text(EARLIER_TOYS, encoding="utf-8")
    settings = {"baseline": "frozen", "probes": str(probe_folder), **CONFIGS[case]}
    if case != "a file":
        settings["strategy_files"] = []
    assert names_of(plan(toy_config(**settings))) == NAMES[case]


EARLIER_TOYS = """
from dataclasses import dataclass

from bench.strategy.base import Strategy
from bench.strategy.hyperparameters import StrategyConfig


class Words(Strategy):
    name = "words"

    def fit(self, data, budget, seed): ...
    def index(self, corpus): ...
    def search(self, queries, index, top_k): ...
    def save(self, folder): ...
    def load(self, folder): ...


class Toy(Words):
    name = "toy"
    needs = frozenset({"pairs"})

    @dataclass(frozen=True)
    class Config(StrategyConfig):
        bonus: float = 0.0


class Both(Words):
    name = "both"
    n_components = 1
    component_options = ("teacher",)

    @dataclass(frozen=True)
    class Config(StrategyConfig):
        teacher: str = ""
"""
