"""The study of a fit: read where it stands, else made in a process of its own.

What a study leaves behind in memory would otherwise be taken for what the fit itself needs.
"""

from __future__ import annotations

import logging
import multiprocessing
import pickle
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError
from bench.planning.study_spec import StudySpec
from bench.progress import Progress
from bench.running.tuning.sampling import TuningError
from bench.running.tuning.study import load_completed, run_study
from bench.store.studies import Study

if TYPE_CHECKING:
    from bench.config.execution import ExecutionSettings
    from bench.planning.specs import FitSpec
    from bench.running.environment import JobEnvironment
    from bench.store.store import Store

_LOG = logging.getLogger("adaptbench")


def tuned(spec: FitSpec, environment: JobEnvironment) -> tuple[FitSpec, Study | None]:
    """Return a fit with the hyperparameters that its study chose, and the study; as it is where none is asked for.

    Raises:
        Exception: what ended the study.
    """
    request = spec.tuning
    if request is None:
        return spec, None
    study = load_completed(request.study, request.study.trials, environment.store, environment.registry)
    if study is None:
        study = _elsewhere(
            request.study, request.study.trials, environment.store, environment.execution, environment.progress
        )
    best = study.best
    chosen = request.node.chosen(best.params) if best is not None else {}
    return replace(spec, config={**spec.config, **chosen}), study


def _elsewhere(spec: StudySpec, trials: int, store: Store, execution: ExecutionSettings, progress: Progress) -> Study:
    """Conduct a study in another process, passing on what it says."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(
        target=_main, args=(theirs, spec, trials, store, execution), name=f"tuning {spec.strategy}"
    )
    process.start()
    theirs.close()
    ended: dict[str, Any] | None = None
    try:
        while ended is None:
            event, values = ours.recv()
            if event == "ended":
                ended = values
            else:
                progress(event, values)
    except EOFError:
        pass  # its exit code says how it ended
    finally:
        if ended is None and process.is_alive():
            process.join(1.0)
            process.terminate()
        process.join()
        ours.close()
    if ended is None:
        raise TuningError(f"the process of the study {spec.name} ended with code {process.exitcode} and left no result")
    if ended["error"] is not None:
        raise ended["error"]
    study: Study = ended["study"]
    return study


def _main(connection: Connection, spec: StudySpec, trials: int, store: Store, execution: ExecutionSettings) -> None:
    """Conduct a study; the last message is `ended` with the study or with what was raised."""
    from bench.running.environment import JobEnvironment
    from bench.running.worker import end_with_parent, set_threads

    end_with_parent()
    set_threads(execution.threads)

    def send(event: str, values: dict[str, Any]) -> None:
        connection.send((event, values))

    try:
        with JobEnvironment(store, execution, send) as environment:
            study = run_study(spec, trials, environment)
    except Exception as error:
        if not isinstance(error, BenchError):
            _LOG.error("the study %s failed", spec.name, exc_info=error)
        send("ended", {"study": None, "error": portable(error)})
    else:
        send("ended", {"study": study, "error": None})
    finally:
        connection.close()


def portable(error: Exception) -> Exception:
    """Return an exception that survives the way to another process."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
