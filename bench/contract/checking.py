"""Runs the contract on a strategy."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from bench.budget import SELECTION_FLOOR
from bench.contract.blueprint import Blueprint
from bench.contract.clause import ClauseResult
from bench.contract.clauses import CLAUSES
from bench.contract.evidence import Evidence
from bench.contract.observing import CheckSettings
from bench.contract.subprocess_reload import ReloadProcess
from bench.data.sample import sample_dataset, sample_training
from bench.errors import unknown
from bench.models.locate import base_model
from bench.scratch import scratch_folder
from bench.strategy.settings import TrainingSettings
from bench.training.process_state import unspoiled

if TYPE_CHECKING:
    from bench.data.dataset import Dataset
    from bench.models.base import BaseModel
    from bench.strategy.base import Strategy
    from bench.strategy.hyperparameters import StrategyConfig

STEPS = 4
"""Training steps of a check: enough that answers change, few enough for seconds."""


def check(
    strategy: type[Strategy] | str | Blueprint,
    model: BaseModel | None = None,
    *,
    dataset: Dataset | None = None,
    config: StrategyConfig | None = None,
    files: Sequence[Path] = (),
    steps: int = STEPS,
    seed: int = 0,
    names: Sequence[str] = tuple(CLAUSES),
    reload_process: ReloadProcess | None = None,
    device: str = "cpu",
) -> list[ClauseResult]:
    """Run the contract on a strategy, in fp32.

    Args:
        strategy: a class, or an expression such as `lora(r=4)` or `hybrid(lora)`.
        model: the base model; None is the default one.
        dataset: with splits `train` and `dev`; None is the contract's own sample.
        config: hyperparameters of a class; None for its defaults.
        files: strategy files that define names in the expression.
        steps: the budget of each fit.
        seed: of each fit.
        names: the clauses to run.
        reload_process: the process to load in; None starts one for this check (seconds).
        device: where the strategy computes: `cpu`, `cuda`, `cuda:1`, `mps`.

    Returns:
        One finding a clause. A clause in which the strategy raises is broken, and its finding gives the exception.

    Raises:
        NotApplicableError: the strategy refuses this model, as it should where it cannot work.
        BenchError: the strategy or a clause is unknown.
    """
    for name in names:
        if name not in CLAUSES:
            raise unknown("clause", name, CLAUSES)
    dataset = dataset or sample_dataset()
    floor = max(SELECTION_FLOOR, sample_training(dataset).labels + 1)  # too few labels to choose a checkpoint
    training = TrainingSettings(batch_size=8, precision="fp32", selection_floor=floor)
    settings = CheckSettings(model or base_model(), dataset, training, steps, seed, device)
    with ExitStack() as stack:
        stack.enter_context(unspoiled())
        blueprint = strategy if isinstance(strategy, Blueprint) else Blueprint.of(strategy, config, files)
        scratch = stack.enter_context(scratch_folder())
        process = reload_process or stack.enter_context(ReloadProcess())
        process.start()  # it gets ready while this process works
        evidence = Evidence(blueprint, settings, scratch, process)
        return [CLAUSES[name].examine(evidence) for name in names]
