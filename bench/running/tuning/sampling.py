"""What a study tries next: the default, four points spread over the space, then Optuna's estimator.

The four points are a Latin hypercube (McKay et al., 1979): each lies in the middle of another quarter of every range.
Four independent draws leave a half of a range untried in one study of eight, and many studies are no longer than that.
The later points come from the tree-structured Parzen estimator (Bergstra et al., 2011).

A suggestion depends only on the trials before it and on its own number. So an interrupted study ends with the trials
that it would have had without the interruption.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from typing import Any

from bench.errors import BenchError
from bench.planning.study_spec import SEED
from bench.running.tuning import space as spaces
from bench.store.studies import Trial
from bench.strategy.space import Choice, Param

_SPREAD = 4
"""Trials after the default that are spread over the space. The estimator suggests the later ones."""
_ATTEMPTS = 20


class TuningError(BenchError):
    """Tuning was requested and is not possible."""


def check_installed() -> None:
    """Refuse to tune where Optuna is not installed.

    Raises:
        TuningError: Optuna is not installed; the text says how to install it.
    """
    if importlib.util.find_spec("optuna") is None:
        raise TuningError("tuning needs Optuna, which is not installed: pip install 'adaptbench[tune]'")


def propose(
    space: Mapping[str, Param], defaults: Mapping[str, Any], trials: Sequence[Trial], number: int
) -> dict[str, Any] | None:
    """Return what trial `number` tries; None where every combination of a finite space has been tried.

    Args:
        space: dimension -> its values or bounds.
        defaults: what trial 0 tries.
        trials: the trials before it.
        number: its own number.
    """
    if number == 0:
        return dict(defaults)
    tried = [trial.params for trial in trials]
    for attempt in range(_ATTEMPTS):
        params = _spread(space, number, attempt) if number <= _SPREAD else _suggest(space, trials, number, attempt)
        if params not in tried:
            return params
    if spaces.size(space) == float("inf"):
        return params
    return next((each for each in spaces.combinations(space) if each not in tried), None)


def _spread(space: Mapping[str, Param], number: int, attempt: int) -> dict[str, Any]:
    from scipy.stats import qmc

    points = qmc.LatinHypercube(len(space), scramble=False, rng=SEED * _ATTEMPTS + attempt).random(_SPREAD)
    return {name: spaces.at(param, share) for (name, param), share in zip(space.items(), points[-number], strict=True)}


def _suggest(space: Mapping[str, Param], trials: Sequence[Trial], number: int, attempt: int) -> dict[str, Any]:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    seed = (SEED * 1_000 + number) * _ATTEMPTS + attempt
    sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=0)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    distributions = {name: _distribution(param) for name, param in space.items()}
    for trial in trials:
        if all(spaces.contains(space[name], value) for name, value in trial.params.items()):
            scored = trial.value is not None
            study.add_trial(
                optuna.trial.create_trial(
                    # a trial without a value counts as worse than every trial with one
                    state=optuna.trial.TrialState.COMPLETE if scored else optuna.trial.TrialState.PRUNED,
                    value=trial.value,
                    params=trial.params,
                    distributions=distributions,
                )
            )
    suggested = study.ask(distributions)
    return {name: spaces.rounded(param, suggested.params[name]) for name, param in space.items()}


def _distribution(param: Param) -> Any:
    import optuna

    if isinstance(param, Choice):
        return optuna.distributions.CategoricalDistribution(param.values)
    return optuna.distributions.FloatDistribution(param.low, param.high, log=spaces.is_logarithmic(param))
