"""Many studies at once and nothing else: no fit is kept, no test query is read. Where shipped defaults come from.

Each worker process keeps what it has read, models and data, from one study to the next.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from multiprocessing.util import Finalize
from typing import TYPE_CHECKING

from bench.planning.study_spec import StudySpec
from bench.progress import silent
from bench.store.studies import Study

if TYPE_CHECKING:
    from bench.config.execution import ExecutionSettings
    from bench.planning.plan import Plan
    from bench.running.environment import JobEnvironment
    from bench.store.store import Store

Ended = Callable[[StudySpec, Study | Exception], None]
"""Called with a study and what came of it."""


def studies_of(plan: Plan) -> list[StudySpec]:
    """Return the studies that a plan asks for, each once, those of parts that are tuned with a composite left out."""
    found = {fit.tuning.study.name: fit.tuning.study for fit in plan.fits if fit.tuning is not None}
    return list(found.values())


def at_a_time(studies: Sequence[StudySpec], jobs: int) -> int:
    """Return how many studies may be made side by side: one where a budget of time makes them depend on the machine."""
    return 1 if any(spec.budget.machine_bound for spec in studies) else min(jobs, max(len(studies), 1))


def run_studies(
    studies: Sequence[StudySpec], trials: int, store: Store, execution: ExecutionSettings, jobs: int, ended: Ended
) -> list[Study]:
    """Make every study, `jobs` at a time, and return those that came to something, in the order of `studies`.

    Under a budget of time they are made one at a time, each with the threads that `setup` gives it.

    Args:
        studies: what to make; what stands is read.
        trials: of each, the default included.
        store: where they go.
        execution: how the work is done.
        jobs: worker processes, where the budget is not one of time.
        ended: told of each study as it ends.
    """
    context = multiprocessing.get_context("spawn")
    made: dict[str, Study] = {}
    with ProcessPoolExecutor(at_a_time(studies, jobs), context, _begin, (store, execution)) as pool:
        waiting: dict[Future[Study], StudySpec] = {pool.submit(_conduct, spec, trials): spec for spec in studies}
        try:
            for future in as_completed(waiting):
                spec = waiting[future]
                try:
                    made[spec.name] = future.result()
                except Exception as error:  # the other studies go on; the caller says what happened
                    ended(spec, error)
                else:
                    ended(spec, made[spec.name])
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [made[spec.name] for spec in studies if spec.name in made]


_environment: JobEnvironment | None = None
"""Of this worker process; its scratch folder goes when the process ends."""


def _begin(store: Store, execution: ExecutionSettings) -> None:
    global _environment
    from bench.running.environment import JobEnvironment
    from bench.running.worker import end_with_parent, set_threads

    end_with_parent()
    set_threads(execution.threads)
    _environment = JobEnvironment(store, execution, silent)
    _environment.__enter__()
    Finalize(None, _environment.__exit__, exitpriority=10)  # nothing else of a child's is called when it ends


def _conduct(spec: StudySpec, trials: int) -> Study:
    from bench.running.tuning.process import portable
    from bench.running.tuning.study import run_study

    assert _environment is not None
    try:
        return run_study(spec, trials, _environment)
    except Exception as error:
        raise portable(error) from error
