"""The process of a scorer (`bench.running.scorer`), and the job's end of the connection to it.

Requests are names of the scorer's methods with plain values. The scorer reads them with an unpickler that knows a few
classes of this project and arrays, so that no code of a strategy runs in its process. Answers are data, or an error.
"""

from __future__ import annotations

import io
import logging
import multiprocessing
import pickle
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from bench.data.dataset import TrainingData, UnjudgedDataset, UnjudgedPairs
from bench.errors import BenchError
from bench.planning.specs import CellSpec
from bench.retrieval.ranking import Ranking
from bench.running.process import Surroundings, set_threads, write_to
from bench.running.process_group import end_with_parent, lead_group
from bench.running.scorer import Scorer, TrainingRequest
from bench.store.store import Store
from bench.tasks.evaluators import Unjudged

_LOG = logging.getLogger("adaptbench")
_METHODS = ("training_data", "unjudged", "target", "is_saturated", "put_cell")
_READABLE = {
    ("array", "array"),
    ("array", "_array_reconstructor"),
    ("bench.retrieval.ranking", "PackedHits"),
    ("bench.retrieval.ranking", "Ranking"),
    ("bench.tasks.retrieval", "RetrievalObservations"),
    ("bench.tasks.development", "DevelopmentObservations"),
    ("bench.tasks.similarity", "SimilarityObservations"),
    ("bench.tasks.drift", "DriftObservations"),
}
_ARRAYS = {"_reconstruct", "ndarray", "dtype", "scalar", "_frombuffer"}


def main(
    connection: Connection,
    request: TrainingRequest | CellSpec,
    store: Store,
    data_dir: str | None,
    threads: int,
    log: Path | None = None,
    surroundings: Surroundings | None = None,
) -> None:
    """Answer the requests of one job until its end of the connection closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    if surroundings is not None:
        surroundings.enter()
    lead_group()  # a signal to the group of the run is for the run to handle
    end_with_parent()
    if log is not None:
        write_to(log)
    set_threads(threads)
    scorer = Scorer(request, store, data_dir)
    try:
        while True:
            _answer(scorer, connection)
    except (EOFError, OSError):  # the job has ended, one way or another
        return


def _answer(scorer: Scorer, connection: Connection) -> None:
    """Answer one request."""
    received = connection.recv_bytes()
    try:
        method, arguments = _PlainUnpickler(io.BytesIO(received)).load()
        if method not in _METHODS:
            raise BenchError(f"a scorer has no {method!r}")
        answer: tuple[str, Any] = ("ok", getattr(scorer, method)(*arguments))
    except Exception as error:  # the job records the reason, as if it had happened there
        if not isinstance(error, BenchError):
            _LOG.error("the scorer failed", exc_info=error)
        answer = ("error", _portable(error))
    connection.send(answer)


class _PlainUnpickler(pickle.Unpickler):
    """Reads rankings, observations and arrays, and refuses every other class."""

    def find_class(self, module: str, name: str) -> Any:
        arrays = module.partition(".")[0] == "numpy" and name in _ARRAYS
        if arrays or (module, name) in _READABLE:
            return super().find_class(module, name)
        raise BenchError(f"what a strategy answered holds a {module}.{name}, which is no plain value")


def _portable(error: Exception) -> Exception:
    """Return an exception that another process can read."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # an exception may refuse to be pickled in any way
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


class RemoteScorer:
    """A scorer in another process (`bench.running.scorer.JobScorer`).

    Args:
        connection: to the process that runs `main`.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def training_data(self) -> TrainingData:
        """Return the data that the fit or study may see."""
        data: TrainingData = self._ask("training_data")
        return data

    def unjudged(self) -> Unjudged:
        """Return the dataset of the cell without its judgements."""
        dataset: Unjudged = self._ask("unjudged")
        return dataset

    def target(self) -> UnjudgedDataset | UnjudgedPairs:
        """Return the dataset of the cell's fit, without its judgements."""
        dataset: UnjudgedDataset | UnjudgedPairs = self._ask("target")
        return dataset

    def is_saturated(self, ranking: Ranking | None, limit: int | None) -> bool:
        """Return whether a loss could hardly show in this ranking of the cell's probe."""
        return bool(self._ask("is_saturated", ranking, limit))

    def put_cell(self, observed: Any, environment: Mapping[str, Any]) -> None:
        """Score what was observed, and put the record of the cell into the store."""
        self._ask("put_cell", observed, dict(environment))

    def close(self) -> None:
        """Close the connection, which ends the scorer's process."""
        self._connection.close()

    def _ask(self, method: str, *arguments: Any) -> Any:
        """Send a request and return the answer.

        Raises:
            BenchError: the scorer's process is gone.
            Exception: what the scorer raised.
        """
        try:
            self._connection.send_bytes(pickle.dumps((method, arguments)))
            status, answer = self._connection.recv()
        except (EOFError, BrokenPipeError, ConnectionResetError) as error:
            raise BenchError("the process that holds the judgements has ended; memory may have run out") from error
        if status == "error":
            raise answer
        return answer


@contextmanager
def scorer_process(
    request: TrainingRequest | CellSpec, store: Store, data_dir: str | None = None, threads: int = 0
) -> Iterator[RemoteScorer]:
    """Run a scorer in a process of its own for the length of a block: for code that has no executor."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    surroundings = Surroundings.here()
    arguments = (theirs, request, store, data_dir, threads, None, surroundings)
    process = context.Process(target=main, args=arguments, name="scorer", daemon=True)
    process.start()
    theirs.close()
    scorer = RemoteScorer(ours)
    try:
        yield scorer
    finally:
        scorer.close()
        process.join()
