"""A second process that loads what a strategy saved. Nothing that this process holds in memory can help it there.

    python -m bench.contract.subprocess_reload

reads one request a line from its input (JSON) and answers each with one line. It serves many requests, because
importing torch takes seconds. Each request has a fork of its own.
"""

from __future__ import annotations

import gc
import importlib
import inspect
import io
import json
import math
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, fields
from pathlib import Path
from time import perf_counter as _now
from types import TracebackType
from typing import Any, Self

import numpy as np
import psutil

from bench.contract.blueprint import Blueprint
from bench.contract.fitting import FitRequest, all_components, fit_strategy
from bench.contract.observing import CheckSettings, answers_of, counted_tokens
from bench.errors import BenchError
from bench.scratch import scratch_folder
from bench.strategy.base import Strategy
from bench.strategy.resources import Resources
from bench.training.audit import AUDIT, announce_native_files
from bench.training.observer import observed
from bench.training.process_state import ProcessState

_SAVED = "saved"
_RESULT = "answers.npy"
_SETTINGS = "settings.pickle"
_PRELOADED = (
    "sentence_transformers.sentence_transformer.trainer", "bench.training.encoder_task", "bench.running.fit",
)  # fmt: skip
"""What requests would import anew in each fork. Not peft, which few strategies use and takes a second."""
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
        (self.folder / _SETTINGS).write_bytes(pickle.dumps(self.settings))
        return json.dumps({"blueprint": self.blueprint.to_dict(), "folder": str(self.folder)})

    @classmethod
    def from_json(cls, line: str) -> Self:
        """Read a line that `to_json` made."""
        raw = json.loads(line)
        folder = Path(raw["folder"])
        settings = pickle.loads((folder / _SETTINGS).read_bytes())
        return cls(Blueprint.from_dict(raw["blueprint"]), settings, folder)


@dataclass(frozen=True)
class Reloaded:
    """What a loaded strategy did in the second process."""

    answers: np.ndarray
    outside: tuple[str, ...]
    """Files that it opened outside of its own folder, the base model and the code."""
    backward_passes: int


@dataclass(frozen=True)
class FittedElsewhere:
    """What a strategy did in the second process, from the import of its file to its answers."""

    answers: np.ndarray
    changes: list[str]
    """Functions, settings and hooks of the process that are others than before."""
    threads: list[str]
    """Threads that still ran after `fit`."""
    files: list[str]
    """Files that were opened outside of its folders, the base model and the code."""
    processes: list[str]
    """Programs that were started."""
    connections: list[str]
    work_at_import: int
    """Backward passes, optimiser steps and texts that a transformer read while its file was imported."""
    charged_seconds: float
    """By the meter of that process."""
    excluded_seconds: float
    wall_seconds: float
    """Of `fit`, by the clock of another process that runs no code of the strategy."""
    cpu_seconds: float
    """Of the processor for the whole request and what it started, by the kernel's account; NaN without forks."""


def save_tree(strategy: Strategy, folder: Path) -> None:
    """Save a strategy and its components, each into a folder of its own."""
    (folder / _SAVED).mkdir(parents=True)
    strategy.save(folder / _SAVED)
    for number, component in enumerate(all_components(strategy)):
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
    """The second process. It starts with the first request and ends with the `with` block.

    It shares nothing with this process but the code, the base model and the folder of a request: home, temporary
    folder, working folder and the order of sets and dictionaries' hashes are others. Each request is answered by a fork
    of its own, so that nothing is left over from the request before.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._stack = ExitStack()
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
        self._stack.close()

    def load(self, request: ReloadRequest) -> Reloaded:
        """Load a saved strategy in the second process and return what it answers and does there.

        Raises:
            BenchError: loading or searching failed there, with its message.
        """
        answer = self._ask(request.to_json())
        answers = np.asarray(np.load(request.folder / _RESULT))
        return Reloaded(answers, tuple(answer["outside"]), answer["backward_passes"])

    def fit(self, request: FitRequest) -> FittedElsewhere:
        """Fit a strategy in the second process and return what it answers and does there.

        Raises:
            BenchError: fitting or searching failed there, with its message.
        """
        plain = request.settings, request.data, request.scratch, request.seed, request.selects
        (request.scratch / _SETTINGS).write_bytes(pickle.dumps(plain))
        files = [str(file) for file in declared(request.blueprint)]
        raw = {"fit": request.blueprint.to_dict(), "folder": str(request.scratch), "declared": files}
        answer = self._ask(json.dumps(raw))
        answer["answers"] = np.asarray(np.load(request.scratch / _RESULT))
        return FittedElsewhere(**{each.name: answer[each.name] for each in fields(FittedElsewhere)})

    def start(self) -> None:
        """Start the process, which takes seconds, without waiting for it."""
        self._start()

    def _ask(self, line: str) -> dict[str, Any]:
        process = self._start()
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(line + "\n")
        process.stdin.flush()
        for text in process.stdout:
            if text.startswith(_ANSWER):
                answer: dict[str, Any] = json.loads(text.removeprefix(_ANSWER))
                if "error" in answer:
                    raise BenchError(answer["error"])
                return answer
        self._log.seek(0)
        raise BenchError(f"the process that loads it died: {self._log.read()[-500:]}")

    def _start(self) -> subprocess.Popen[str]:
        if self._process is None:
            import torch

            home = self._stack.enter_context(scratch_folder())
            for name in ("home", "tmp", "work", "cache"):
                (home / name).mkdir()
            path = os.pathsep.join(str(Path(entry).resolve()) for entry in (*filter(None, sys.path), "."))
            environment = {
                **os.environ,
                "PYTHONPATH": path,
                "PYTHONHASHSEED": "4242" if os.environ.get("PYTHONHASHSEED") != "4242" else "4243",
                "HOME": str(home / "home"),
                "USERPROFILE": str(home / "home"),
                "TMPDIR": str(home / "tmp"),
                "TMP": str(home / "tmp"),
                "TEMP": str(home / "tmp"),
                "XDG_CACHE_HOME": str(home / "cache"),
                "BENCH_CACHE": str(home / "cache"),
                "ADAPTBENCH_THREADS": str(torch.get_num_threads()),
                "ADAPTBENCH_HOME": str(home),
            }
            self._process = subprocess.Popen(
                [sys.executable, "-m", "bench.contract.subprocess_reload"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                text=True,
                env=environment,
                cwd=home / "work",
            )
        return self._process


def serve() -> None:
    """Answer requests until the input ends, each in a fork of this process on Linux.

    This process imports no strategy's code. It measures a fork by its own clock and by the kernel's account.
    """
    announce_native_files()
    for module in _PRELOADED:
        importlib.import_module(module)
    import torch

    torch.set_num_threads(int(os.environ.get("ADAPTBENCH_THREADS", torch.get_num_threads())))
    gc.freeze()  # what was imported is no garbage, and each fork would look through it
    for line in sys.stdin:
        answer = _in_fork(line) if sys.platform == "linux" else _in_this_process(line)
        sys.stdout.write(_ANSWER + json.dumps(answer) + "\n")
        sys.stdout.flush()


class _Marks:
    """The moments at which a fit begins and ends, by the clock of the process that is told."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def __call__(self) -> None:
        self.times.append(_now())

    @property
    def seconds(self) -> float:
        """From the first mark to the last one."""
        return self.times[-1] - self.times[0] if self.times else 0.0


def _in_this_process(line: str) -> dict[str, Any]:
    """Answer a request where forks are not safe. The strategy's code can then reach the clock that measures it."""
    marks = _Marks()
    answer = _answer(line, marks)
    return answer | {"wall_seconds": marks.seconds, "cpu_seconds": math.nan}


def _in_fork(line: str) -> dict[str, Any]:
    """Answer a request in a fork, and measure it from here."""
    ours, theirs = os.pipe()
    child = os.fork()
    if not child:
        os.close(ours)
        os.setpgid(0, 0)
        sys.stdin = io.StringIO()  # requests are for the parent
        answer = _answer(line, lambda: os.write(theirs, b"\n"))
        os.write(theirs, json.dumps(answer).encode() + b"\n")
        sys.stdout.flush()
        os._exit(0)
    os.close(theirs)
    marks, answer = _Marks(), {}
    with os.fdopen(ours) as lines:
        for text in lines:
            if text.strip():
                answer = json.loads(text)
                break  # what the child started may keep the pipe open
            marks()
    _, status, usage = os.wait4(child, 0)
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)  # what it has started ends with it
    if not answer:
        return {"error": f"the process of the strategy ended with exit status {os.waitstatus_to_exitcode(status)}"}
    return answer | {"wall_seconds": marks.seconds, "cpu_seconds": usage.ru_utime + usage.ru_stime}


def _answer(line: str, mark: Callable[[], object]) -> dict[str, Any]:
    """Do what a request asks for, and return the answer."""
    raw = json.loads(line)
    try:
        return _fit(raw, mark) if "fit" in raw else _load(line)
    except Exception as error:  # whatever the strategy raises becomes the answer
        traceback.print_exc()
        return {"error": f"{type(error).__name__}: {error}"}


def _fit(raw: dict[str, Any], mark: Callable[[], object]) -> dict[str, Any]:
    folder = Path(raw["folder"])
    settings, data, scratch, seed, selects = pickle.loads((folder / _SETTINGS).read_bytes())
    process = psutil.Process()
    before = ProcessState.take()
    allowed = [folder, scratch, settings.model.path, *map(Path, raw["declared"]), _home()]
    with AUDIT.noted(allowed) as noted:
        with observed() as seen, counted_tokens() as read:
            blueprint = Blueprint.from_dict(raw["fit"])
        request = FitRequest(blueprint, settings, data, scratch, seed, selects)
        fitted = fit_strategy(request, mark=mark)
        threads, changes = before.threads(), before.changes()
        answers = answers_of(fitted.strategy, settings.dataset)
    changes += [change for change in before.changes() if change not in changes]
    np.save(folder / _RESULT, answers)
    return {
        "changes": changes,
        "threads": threads,
        "files": sorted(set(noted.files)),
        "processes": noted.processes + [f"process {child.pid}" for child in process.children(recursive=True)],
        "connections": noted.connections,
        "work_at_import": seen.backward_passes + seen.steps + len(read),
        "charged_seconds": fitted.charged_seconds,
        "excluded_seconds": fitted.excluded_seconds,
    }


def _load(line: str) -> dict[str, Any]:
    request = ReloadRequest.from_json(line)
    settings = request.settings
    allowed = [request.folder, settings.model.path, *declared(request.blueprint), _home()]
    with AUDIT.noted(allowed) as noted, observed() as seen:
        strategy = load_tree(request.blueprint, settings, request.folder)
        answers = answers_of(strategy, settings.dataset)
    np.save(request.folder / _RESULT, answers)
    return {"outside": sorted(set(noted.files)), "backward_passes": seen.backward_passes}


def _home() -> Path:
    """Return the folder with this process's own home, cache and temporary folder, which nobody else has."""
    return Path(os.environ["ADAPTBENCH_HOME"])


def declared(blueprint: Blueprint) -> Iterator[Path]:
    """Yield the files that strategies consist of, and those that they declare as inputs."""
    yield from blueprint.files
    yield from blueprint.strategy.inputs(blueprint.config)
    yield Path(inspect.getfile(blueprint.strategy))
    for component in blueprint.components:
        yield from declared(component)


if __name__ == "__main__":
    serve()
