"""A second process that loads what a strategy saved: what lives on in this process's memory cannot help it there.

    python -m bench.contract.subprocess_reload

reads one job a line from its input (JSON) and answers each with one line. It serves several jobs, as importing torch
takes seconds.
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import tempfile
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from bench.contract.subject import Subject
from bench.contract.trial import Settings, outcome
from bench.errors import BenchError
from bench.strategy.base import Strategy

_SAVED = "saved"
_ANSWER = "@answer "
"""Marks the lines that are answers: a library may write to the output as well."""


@dataclass(frozen=True)
class Job:
    """One saved strategy to load."""

    subject: Subject
    settings: Settings
    folder: Path
    """As `save_tree` left it."""

    def to_json(self) -> str:
        """Return one line. Dataset and model travel as pickles beside the artefact."""
        (self.folder / "settings.pickle").write_bytes(pickle.dumps(self.settings))
        return json.dumps({"subject": self.subject.to_dict(), "folder": str(self.folder)})

    @classmethod
    def from_json(cls, line: str) -> Self:
        """Read such a line."""
        raw = json.loads(line)
        folder = Path(raw["folder"])
        settings = pickle.loads((folder / "settings.pickle").read_bytes())
        return cls(Subject.from_dict(raw["subject"]), settings, folder)


def save_tree(strategy: Strategy, folder: Path) -> None:
    """Save a strategy and its parts, each into a folder of its own."""
    (folder / _SAVED).mkdir(parents=True)
    strategy.save(folder / _SAVED)
    for number, part in enumerate(strategy.components):
        save_tree(part, folder / str(number))


def load_tree(job: Job, subject: Subject | None = None, folder: Path | None = None) -> Strategy:
    """Load what `save_tree` saved, around a context of its own."""
    from bench.strategy.resources import Resources

    subject, folder = subject or job.subject, folder or job.folder
    components = [load_tree(job, part, folder / str(number)) for number, part in enumerate(subject.components)]
    strategy = subject.build(Resources(model=job.settings.model, training=job.settings.training), components)
    strategy.load(folder / _SAVED)
    return strategy


class OtherProcess:
    """A helper process, started with the first job and ended with the `with` block."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._log = tempfile.TemporaryFile(mode="w+", encoding="utf-8")  # noqa: SIM115 - closed in __exit__

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            assert self._process.stdin is not None and self._process.stdout is not None
            self._process.stdin.close()
            self._process.wait()
            self._process.stdout.close()
        self._log.close()

    def outcome(self, job: Job) -> np.ndarray:
        """Load a saved strategy there and return what it answers.

        Raises:
            BenchError: loading or searching failed there, with its message.
        """
        process = self._start()
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(job.to_json() + "\n")
        process.stdin.flush()
        for line in process.stdout:
            if line.startswith(_ANSWER):
                answer = json.loads(line.removeprefix(_ANSWER))
                if "error" in answer:
                    raise BenchError(answer["error"])
                return np.asarray(np.load(job.folder / "outcome.npy"))
        self._log.seek(0)
        raise BenchError(f"the other process died: {self._log.read()[-500:]}")

    def _start(self) -> subprocess.Popen[str]:
        if self._process is None:
            import torch

            path = os.pathsep.join(filter(None, sys.path))
            environment = {**os.environ, "PYTHONPATH": path, "ADAPTBENCH_THREADS": str(torch.get_num_threads())}
            self._process = subprocess.Popen(
                [sys.executable, "-m", "bench.contract.subprocess_reload"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                text=True,
                env=environment,
            )
        return self._process


def serve() -> None:
    """Answer jobs until the input ends."""
    import torch

    torch.set_num_threads(int(os.environ.get("ADAPTBENCH_THREADS", torch.get_num_threads())))
    for line in sys.stdin:
        answer: dict[str, Any] = {"ok": True}
        try:
            job = Job.from_json(line)
            np.save(job.folder / "outcome.npy", outcome(load_tree(job), job.settings.dataset))
        except Exception as error:  # whatever the strategy raises is the answer
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}"}
        sys.stdout.write(_ANSWER + json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve()
