"""The trials of a study, one after the other in one process, resumed where they stopped."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bench.planning.study_spec import StudySpec
from bench.running.tuning import sampling, space
from bench.running.tuning.objective import Objective
from bench.store import studies as records
from bench.store.studies import Study

if TYPE_CHECKING:
    from bench.planning.plan import Plan
    from bench.planning.registry import Registry
    from bench.running.environment import JobEnvironment
    from bench.store.store import Store

_LOCK = ".lock"


def folder_of(store: Store, name: str) -> Path:
    """Return the folder of a study, whether it stands or not."""
    return store.folder / "tuning" / name


def load_completed(spec: StudySpec, trials: int, store: Store, registry: Registry) -> Study | None:
    """Return the study after `trials` trials, or as many as its space has room for; None where it must go on.

    Raises:
        StoreError: it was written by a newer version, or is damaged.
    """
    folder = folder_of(store, spec.name)
    if not (folder / records.STUDY_FILE).is_file():
        return None
    study = records.read(folder)
    wanted = min(trials, space.size(space.dimensions(spec.root, registry)))
    return study.first(trials) if study.note or len(study.trials) >= wanted else None


def discard(plan: Plan, store: Store) -> None:
    """Remove the studies of a plan, so that they are made again."""
    for fit in plan.fits:
        if fit.tuning is not None:
            folder = folder_of(store, fit.tuning.study.name)
            (folder / records.STUDY_FILE).unlink(missing_ok=True)  # first: without it the trials do not count
            (folder / records.TRIALS_FILE).unlink(missing_ok=True)


def run_study(spec: StudySpec, trials: int, environment: JobEnvironment) -> Study:
    """Make a study, or go on with one, until it has `trials` trials. One process at a time; a second one waits.

    Args:
        spec: the study.
        trials: how many, the default included.
        environment: datasets, models, strategies; told of each trial.

    Raises:
        TuningError: Optuna is not installed.
        Exception: whatever the default raises when it is fitted.
    """
    from filelock import FileLock

    sampling.check_installed()
    store, registry = environment.store, environment.registry
    folder = folder_of(store, spec.name)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / _LOCK):
        found = load_completed(spec, trials, store, registry)
        if found is not None:
            return found
        dimensions, defaults = space.dimensions(spec.root, registry), space.defaults(spec.root, registry)
        objective = Objective(spec, environment)
        if not objective.objection:
            environment.progress("stage", {"name": "tuning: data"})
            objective.prepare()
        if not (folder / records.STUDY_FILE).is_file():
            records.begin(folder, _described(spec, objective, environment))
        study = records.read(folder)
        while not study.note and len(study.trials) < trials:
            number = len(study.trials)
            params = sampling.propose(dimensions, defaults, study.trials, number)
            if params is None:
                break
            _say(environment, study, trials)
            records.append(folder, objective(number, params))
            study = records.read(folder)
    return study.first(trials)


def _described(spec: StudySpec, objective: Objective, environment: JobEnvironment) -> Study:
    registry, note = environment.registry, objective.objection
    return Study(
        study=spec.name,
        strategy=spec.strategy,
        dataset=spec.dataset_name,
        model=spec.model_name,
        budget=spec.budget.limits,
        space=space.described(space.dimensions(spec.root, registry)),
        defaults=space.defaults(spec.root, registry),
        folds=0 if note else len(objective.folds),
        queries=0 if note else objective.queries,
        note=note,
        environment={**environment.description(), "fingerprints": dict(spec.fingerprints)},
    )


def _say(environment: JobEnvironment, study: Study, trials: int) -> None:
    best = study.best
    score = f", best dev {best.value:.3f}" if best is not None and best.value is not None else ""
    environment.progress("stage", {"name": f"tuning: trial {len(study.trials) + 1}/{trials}{score}"})
