"""A second process that loads what a strategy saved. Nothing that this process holds in memory can help it there.

    python -m bench.contract.subprocess_reload

reads one request a line from its input (JSON) and answers each with one line. It serves many requests, because
importing torch takes seconds.
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

from bench.contract.blueprint import Blueprint
from bench.contract.observing import CheckSettings, answers_of
from bench.errors import BenchError
from bench.strategy.base import Strategy
from bench.strategy.resources import Resources

_SAVED = "saved"
_RESULT = "answers.npy"
_ANSWER = "@answer "
"""Marks the lines that are answers. A library may write to the output as well."""


@dataclass(frozen=True)
class ReloadRequest:
    """One saved strategy to load."""

    blueprint: Blueprint
    settings: CheckSettings
    folder: Path
    """As `save_tree` left it."""

    def to_json(self) -> str:
        """Return the request as one line. Dataset and model travel in a pickle beside the artefact."""
        (self.folder / "settings.pickle").write_bytes(pickle.dumps(self.settings))
        return json.dumps({"blueprint": self.blueprint.to_dict(), "folder": str(self.folder)})

    @classmethod
    def from_json(cls, line: str) -> Self:
        """Read a line that `to_json` made."""
        raw = json.loads(line)
        folder = Path(raw["folder"])
        settings = pickle.loads((folder / "settings.pickle").read_bytes())
        return cls(Blueprint.from_dict(raw["blueprint"]), settings, folder)


def save_tree(strategy: Strategy, folder: Path) -> None:
    """Save a strategy and its components, each into a folder of its own."""
    (folder / _SAVED).mkdir(parents=True)
    strategy.save(folder / _SAVED)
    for number, component in enumerate(strategy.components):
        save_tree(component, folder / str(number))


def load_tree(blueprint: Blueprint, settings: CheckSettings, folder: Path) -> Strategy:
    """Load what `save_tree` saved, with new resources."""
    components = [
        load_tree(component, settings, folder / str(number)) for number, component in enumerate(blueprint.components)
    ]
    resources = Resources(model=settings.model, device=settings.device, training=settings.training)
    strategy = blueprint.build(resources, components)
    strategy.load(folder / _SAVED)
    return strategy


class ReloadProcess:
    """The second process. It starts with the first request and ends with the `with` block."""

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

    def answers(self, request: ReloadRequest) -> np.ndarray:
        """Load a saved strategy in the second process and return what it answers.

        Raises:
            BenchError: loading or searching failed there, with its message.
        """
        process = self._start()
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(request.to_json() + "\n")
        process.stdin.flush()
        for line in process.stdout:
            if line.startswith(_ANSWER):
                answer = json.loads(line.removeprefix(_ANSWER))
                if "error" in answer:
                    raise BenchError(answer["error"])
                return np.asarray(np.load(request.folder / _RESULT))
        self._log.seek(0)
        raise BenchError(f"the process that loads it died: {self._log.read()[-500:]}")

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
    """Answer requests until the input ends."""
    import torch

    torch.set_num_threads(int(os.environ.get("ADAPTBENCH_THREADS", torch.get_num_threads())))
    for line in sys.stdin:
        answer: dict[str, Any] = {"ok": True}
        try:
            request = ReloadRequest.from_json(line)
            strategy = load_tree(request.blueprint, request.settings, request.folder)
            np.save(request.folder / _RESULT, answers_of(strategy, request.settings.dataset))
        except Exception as error:  # whatever the strategy raises becomes the answer
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}"}
        sys.stdout.write(_ANSWER + json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve()
