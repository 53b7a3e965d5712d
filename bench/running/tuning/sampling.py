"""What a study tries next: the default, points spread over the space, values beyond an edge that wins, then Optuna.

The four points are a Latin hypercube (McKay et al., 1979): each lies in the middle of another quarter of every range.
Four independent draws leave a half of a range untried in one study of eight, and many studies are no longer than that.
From trial 4 on, a study looks beyond the edge. Where the best trial has the highest value that was tried of a
logarithmic dimension, such as a learning rate, the next trial has three times that value; where it has the lowest, a
third. This goes on while the edge wins, up to 27 times the end of the declared range. Such a trial takes the place of
another one, so all strategies have the same number of trials.

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
from bench.store.studies import Trial, best_of, edges
from bench.strategy.space import Choice, LogUniform, Param

_SPREAD = 4
"""Trials after the default that are spread over the space. The estimator suggests the later ones."""
_ATTEMPTS = 20
_FACTOR, _EXTENSIONS = 3.0, 3
"""A dimension whose edge wins is extended by this factor, at most this many times beyond its declared range."""


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
    if number >= _SPREAD and (beyond := _beyond(space, trials)) is not None and beyond not in tried:
        return beyond
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


def _beyond(space: Mapping[str, Param], trials: Sequence[Trial]) -> dict[str, Any] | None:
    """Return the best trial's values, moved beyond each edge at which it lies; None where it lies at no edge."""
    best = best_of(trials)
    if best is None:
        return None
    moved = {}
    for name, edge in edges(trials, [name for name, param in space.items() if spaces.is_logarithmic(param)]).items():
        low, high = _farthest(space[name])
        value = best.params[name] * (_FACTOR if edge == "highest" else 1 / _FACTOR)
        if low <= (value := float(f"{value:.{spaces.DIGITS}g}")) <= high:
            moved[name] = value
    return {**best.params, **moved} if moved else None


def _farthest(param: Param) -> tuple[float, float]:
    """Return the lowest and the highest value to which a logarithmic dimension may be extended."""
    assert isinstance(param, LogUniform)
    most = _FACTOR**_EXTENSIONS
    return param.low / most, param.high * most


def _widened(param: Param, values: Sequence[Any]) -> Param:
    """Return a dimension that contains the values to which it was extended."""
    if not isinstance(param, LogUniform):
        return param
    low, high = _farthest(param)
    within = [value for value in values if low <= value <= high]
    return LogUniform(min([param.low, *within]), max([param.high, *within]))


def _suggest(space: Mapping[str, Param], trials: Sequence[Trial], number: int, attempt: int) -> dict[str, Any]:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    seed = (SEED * 1_000 + number) * _ATTEMPTS + attempt
    sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=0)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    space = {name: _widened(param, [trial.params[name] for trial in trials[1:]]) for name, param in space.items()}
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
