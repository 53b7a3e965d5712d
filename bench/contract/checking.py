"""Runs the clauses on a strategy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from bench.contract import clauses
from bench.contract.finding import Finding
from bench.contract.sample import sample_dataset
from bench.contract.subject import Subject
from bench.contract.subprocess_reload import OtherProcess
from bench.contract.trial import Settings, Trial, scratch_folder
from bench.errors import NotApplicableError, unknown

if TYPE_CHECKING:
    from bench.data.dataset import Dataset
    from bench.models.base import BaseModel
    from bench.strategy.base import Strategy
    from bench.strategy.hyperparameters import StrategyConfig

CLAUSES: tuple[str, ...] = ("trains", "frozen", "batch", "reload", "detach", "budget", "repeat")
"""In the order in which they are run."""
STEPS = 4
"""Training steps of a check: enough that answers move, few enough for seconds."""


def check(
    strategy: type[Strategy] | str | Subject,
    model: BaseModel | None = None,
    *,
    dataset: Dataset | None = None,
    config: StrategyConfig | None = None,
    files: Sequence[Path] = (),
    steps: int = STEPS,
    seed: int = 0,
    names: Sequence[str] = CLAUSES,
    elsewhere: OtherProcess | None = None,
) -> list[Finding]:
    """Run the contract on a strategy, in fp32 on the CPU.

    Args:
        strategy: a class, or an expression such as `lora(r=4)` or `hybrid(lora)`.
        model: the base model; None is the default one.
        dataset: with splits `train` and `dev`; None is the contract's own sample.
        config: hyperparameters of a class; None for its defaults.
        files: strategy files that define names in the expression.
        steps: the budget of each fit.
        seed: of each fit.
        names: the clauses to run.
        elsewhere: the helper process to load in; None starts one for this check (seconds).

    Returns:
        One finding a clause. A clause in which the strategy raises is broken, and its finding says what was raised.

    Raises:
        NotApplicableError: the strategy refuses this model, as it should where it cannot work.
        BenchError: the strategy or a clause is unknown.
    """
    from bench.models.base import base_model
    from bench.strategy.settings import TrainingSettings

    for name in names:
        if name not in CLAUSES:
            raise unknown("clause", name, CLAUSES)
    subject = strategy if isinstance(strategy, Subject) else Subject.of(strategy, config, files)
    training = TrainingSettings(batch_size=8, precision="fp32")
    settings = Settings(model or base_model(), dataset or sample_dataset(), training, steps, seed)
    with ExitStack() as stack:
        scratch = stack.enter_context(scratch_folder(None))
        process = elsewhere or stack.enter_context(OtherProcess())
        trial = Trial(subject, settings, scratch)
        return [_run(name, trial, process) for name in names]


def _run(name: str, trial: Trial, process: OtherProcess) -> Finding:
    clause: Callable[..., Finding] = getattr(clauses, name)
    try:
        return clause(trial, process) if name == "reload" else clause(trial)
    except NotApplicableError:
        raise
    except Exception as error:  # the author's own code: whatever it raises belongs into the finding
        return Finding(name, False, f"raised {type(error).__name__}: {error}")
