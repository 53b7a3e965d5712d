"""A second process that loads what a strategy saved. Nothing that this process holds in memory can help it there.

    python -m bench.contract.subprocess_reload

reads one request a line from its input (JSON) and answers each with one line. It serves many requests, because
importing torch takes seconds.
"""

from __future__ import annotations

import inspect
import json
import os
import pickle
import site
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from bench.contract.blueprint import Blueprint
from bench.contract.fitting import FitRequest, all_components, fit_strategy
from bench.contract.observing import CheckSettings, answers_of
from bench.errors import BenchError
from bench.scratch import scratch_folder
from bench.strategy.base import Strategy
from bench.strategy.resources import Resources
from bench.training.observer import observed

_SAVED = "saved"
_RESULT = "answers.npy"
_SETTINGS = "settings.pickle"
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
    folder, working folder and the order of sets and dictionaries' hashes are others.
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

    def fit(self, request: FitRequest) -> np.ndarray:
        """Fit a strategy in the second process and return what it answers.

        Raises:
            BenchError: fitting or searching failed there, with its message.
        """
        plain = request.settings, request.data, request.scratch, request.seed, request.selects
        (request.scratch / _SETTINGS).write_bytes(pickle.dumps(plain))
        self._ask(json.dumps({"fit": request.blueprint.to_dict(), "folder": str(request.scratch)}))
        return np.asarray(np.load(request.scratch / _RESULT))

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


class FilesOpened:
    """Notes the files that Python code of this process opens outside of some folders.

    A library that opens files in native code is not seen. It does not find them either where they lay in a temporary
    folder or in the home folder: this process has others.
    """

    def __init__(self) -> None:
        self._allowed: tuple[str, ...] | None = None
        self.outside: list[str] = []
        sys.addaudithook(self._note)

    def _note(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._allowed is None or event not in ("open", "sqlite3.connect"):
            return
        path = arguments[0]
        if isinstance(path, bytes):
            path = os.fsdecode(path)
        if not isinstance(path, str | os.PathLike):
            return
        allowed, self._allowed = self._allowed, None  # what follows may open files itself
        try:
            real = os.path.realpath(path)
            is_code = real.endswith((".py", ".pyc"))
            if not is_code and not any(Path(real).is_relative_to(root) for root in allowed):
                self.outside.append(real)
        finally:
            self._allowed = allowed

    @contextmanager
    def noted(self, allowed: Iterable[Path]) -> Iterator[list[str]]:
        """Yield the list of files that are opened outside of the allowed folders in a block."""
        self.outside = []
        self._allowed = tuple(os.path.realpath(path) for path in (*_code_folders(), *allowed))
        try:
            yield self.outside
        finally:
            self._allowed = None


def _code_folders() -> Iterator[Path]:
    """Yield the folders of Python, of installed packages, of this project and of the system."""
    yield from map(Path, {sys.prefix, sys.base_prefix, sys.exec_prefix, *site.getsitepackages()})
    yield from (Path(entry) for entry in sys.path if entry and (Path(entry) / "bench").is_dir())
    yield from map(
        Path, ("/proc", "/sys", "/dev", "/usr", "/lib", "/lib64", "/etc", "/opt", os.environ["ADAPTBENCH_HOME"])
    )


def serve() -> None:
    """Answer requests until the input ends."""
    import torch

    torch.set_num_threads(int(os.environ.get("ADAPTBENCH_THREADS", torch.get_num_threads())))
    files = FilesOpened()
    for line in sys.stdin:
        answer: dict[str, Any] = {"ok": True}
        try:
            answer |= _fit(line) if "fit" in json.loads(line) else _load(line, files)
        except Exception as error:  # whatever the strategy raises becomes the answer
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}"}
        sys.stdout.write(_ANSWER + json.dumps(answer) + "\n")
        sys.stdout.flush()


def _fit(line: str) -> dict[str, Any]:
    raw = json.loads(line)
    folder = Path(raw["folder"])
    settings, data, scratch, seed, selects = pickle.loads((folder / _SETTINGS).read_bytes())
    request = FitRequest(Blueprint.from_dict(raw["fit"]), settings, data, scratch, seed, selects)
    np.save(folder / _RESULT, answers_of(fit_strategy(request).strategy, settings.dataset))
    return {}


def _load(line: str, files: FilesOpened) -> dict[str, Any]:
    request = ReloadRequest.from_json(line)
    settings = request.settings
    allowed = [request.folder, settings.model.path, *_declared(request.blueprint)]
    with files.noted(allowed) as outside, observed() as seen:
        strategy = load_tree(request.blueprint, settings, request.folder)
        answers = answers_of(strategy, settings.dataset)
    np.save(request.folder / _RESULT, answers)
    return {"outside": sorted(set(outside)), "backward_passes": seen.backward_passes}


def _declared(blueprint: Blueprint) -> Iterator[Path]:
    """Yield the files that strategies consist of, and those that they declare as inputs."""
    yield from blueprint.files
    yield from blueprint.strategy.inputs(blueprint.config)
    yield Path(inspect.getfile(blueprint.strategy))
    for component in blueprint.components:
        yield from _declared(component)


if __name__ == "__main__":
    serve()
