"""A study: its trials one after the other in one process, resumed after the last completed one."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from filelock import FileLock

from bench.config.execution import ExecutionSettings
from bench.errors import StoreError
from bench.planning.specs import FitSpec
from bench.planning.study_spec import StudySpec
from bench.progress import Progress, silent
from bench.running.environment import JobEnvironment
from bench.running.scorer import JobScorer
from bench.running.status import status_from_exception
from bench.running.tuning import sampling, space
from bench.running.tuning.objective import Objective
from bench.store import studies as records
from bench.store.store import Store
from bench.store.studies import Study

_LOCK = ".lock"


def run_study(
    spec: StudySpec, store: Store, scorer: JobScorer, execution: ExecutionSettings, progress: Progress = silent
) -> tuple[str, str]:
    """Run a study until it has its trials; return its status and the reason of a failure.

    Args:
        spec: the study.
        store: the store of the run.
        scorer: hands over the training data, and ends.
        execution: how the work is done.
        progress: is called at each trial.
    """
    try:
        with JobEnvironment(store, execution, progress) as environment:
            run_trials(spec, environment, scorer)
    except Exception as error:  # whatever the default raises: the fits of this study carry the reason
        return status_from_exception(error, spec.name)
    return "ok", ""


def run_trials(spec: StudySpec, environment: JobEnvironment, scorer: JobScorer) -> Study:
    """Run the trials that a study lacks, and return the study. One process at a time; a second one waits.

    Raises:
        TuningError: Optuna is not installed.
        Exception: whatever the default raises when it is fitted.
    """
    sampling.check_installed()
    registry = environment.registry
    folder = folder_of(environment.store, spec.name)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / _LOCK):
        completed = load_completed(spec, environment.store)
        if completed is not None:
            return completed
        dimensions, defaults = space.dimensions(spec.root, registry), space.defaults(spec.root, registry)
        objective = Objective(spec, environment, scorer)
        if not objective.objection:
            environment.progress("stage", {"name": "data"})
            objective.prepare()
        environment.store.require_writable()
        if not (folder / records.STUDY_FILE).is_file():
            records.begin(folder, _described(spec, objective, environment))
        study = records.read(folder)
        while not study.note and len(study.trials) < spec.trials:
            number = len(study.trials)
            params = sampling.propose(dimensions, defaults, study.trials, number)
            if params is None:
                break
            environment.progress("stage", {"name": f"trial {number + 1}/{spec.trials}{_best(study)}"})
            trial = objective(number, params)
            environment.store.require_writable()
            records.append(folder, trial)
            study = records.read(folder)
    return study.first(spec.trials)


def load_completed(spec: StudySpec, store: Store) -> Study | None:
    """Return the study with the trials that the specification asks for; None where trials are missing.

    A finite search space may have room for fewer trials.

    Raises:
        StoreError: a newer version wrote the study, or it is damaged.
    """
    folder = folder_of(store, spec.name)
    if not (folder / records.STUDY_FILE).is_file():
        return None
    study = records.read(folder)
    room = math.prod(len(each["values"]) if each["kind"] == "Choice" else math.inf for each in study.space.values())
    return study.first(spec.trials) if study.note or len(study.trials) >= min(spec.trials, room) else None


def with_chosen_options(spec: FitSpec, store: Store) -> tuple[FitSpec, Study | None]:
    """Return a fit with the hyperparameters that its study chose, and the study; the same fit where it has none.

    Raises:
        StoreError: the study is not complete, or it is damaged.
    """
    if spec.tuning is None:
        return spec, None
    study = load_completed(spec.tuning.study, store)
    if study is None:
        raise StoreError(f"the study {spec.tuning.study.name} of {spec.name} is not complete: run it first")
    chosen = spec.tuning.node.chosen(study.best.params) if study.best is not None else {}
    return replace(spec, config={**spec.config, **chosen}), study


def discard(studies: Iterable[StudySpec], store: Store) -> None:
    """Remove the trials of studies, so that they run again."""
    for spec in studies:
        folder = folder_of(store, spec.name)
        (folder / records.STUDY_FILE).unlink(missing_ok=True)  # first: without it the trials do not count
        (folder / records.TRIALS_FILE).unlink(missing_ok=True)


def folder_of(store: Store, name: str) -> Path:
    """Return the folder of a study, whether it exists or not."""
    return store.folder / "tuning" / name


def _described(spec: StudySpec, objective: Objective, environment: JobEnvironment) -> Study:
    """Return the record of a study before its first trial."""
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


def _best(study: Study) -> str:
    best = study.best
    return f", best dev {best.value:.3f}" if best is not None and best.value is not None else ""
