"""What every process of a run sets up: surroundings, threads and log."""

from __future__ import annotations

import faulthandler
import logging
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from threadpoolctl import threadpool_limits


@dataclass(frozen=True)
class Surroundings:
    """The working folder and variables of the parent. A forked process has those of the fork server when it started."""

    folder: str
    variables: dict[str, str]

    @classmethod
    def here(cls) -> Surroundings:
        """Return the surroundings of this process."""
        return cls(str(Path.cwd()), dict(os.environ))

    def enter(self) -> None:
        """Apply the surroundings to this process."""
        os.chdir(self.folder)
        os.environ.clear()
        os.environ.update(self.variables)


def set_threads(threads: int) -> None:
    """Limit the threads of every library that has its own pool; 0 leaves them as they are."""
    os.environ["TOKENIZERS_PARALLELISM"] = "true" if threads != 1 else "false"
    if not threads:
        return
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"):
        os.environ[name] = str(threads)
    threadpool_limits(threads)  # libraries that the fork server has loaded do not read the variables again
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)


def write_to(log: Path) -> None:
    """Append what libraries print to the job's log: the terminal belongs to the parent."""
    log.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    sys.stdout = open(1, "w", encoding="utf-8", buffering=1, closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", buffering=1, closefd=False)  # noqa: SIM115
    faulthandler.enable(sys.stderr)
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, force=True)
