"""A job with everything that another machine needs to run it. Both machines share a filesystem."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench.config.execution import ExecutionSettings
from bench.planning.jobs import Job
from bench.running.sent import SentFile, strategy_files
from bench.scratch import scratch_folder


@dataclass(frozen=True)
class RemoteJob:
    """A job with the settings, folder and variables of the command, as plain values that travel to a node."""

    job: Job
    folder: Path
    execution: ExecutionSettings
    strategy_files: tuple[SentFile, ...] = ()
    working_folder: str = "."
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def sees_run(self) -> bool:
        """Whether this machine sees the folder of the run. It is false also once the job was given up."""
        return self.job.lease is None or self.job.lease.path.exists()

    @contextmanager
    def entered(self) -> Iterator[ExecutionSettings]:
        """Enter the working folder with the variables of the command, and yield the settings with strategy files."""
        if Path(self.working_folder).is_dir():
            os.chdir(self.working_folder)
        os.environ.update(self.variables)
        with scratch_folder() as scratch, strategy_files(self.strategy_files, scratch) as files:
            yield replace(self.execution, strategy_files=files)


def accept_interrupts() -> None:
    """Let interrupts, by which Ray cancels tasks, reach this process.

    A shell has what it starts in the background ignore them. A cluster that began so, and all its workers, do too.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def hidden_main_module() -> Iterator[None]:
    """Keep multiprocessing from running the script of this process once more in each process that it starts."""
    main = sys.modules["__main__"]
    path = getattr(main, "__file__", None)
    if path is not None:
        del main.__file__
    try:
        yield
    finally:
        if path is not None:
            main.__file__ = path
