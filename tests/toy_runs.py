"""A strategy that needs no model, a model that is only a file, and runs of both: nothing here encodes a text."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from bench.config.execution import ExecutionSettings
from bench.config.schema import RunConfig, from_mapping
from bench.planning.jobs import Job
from bench.running.executors import Event, Handle
from bench.running.job import run_job
from bench.running.run import Run, RunResult
from bench.running.scorer import Scorer
from bench.store.store import Store

TOY = '''
from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from bench.errors import NotApplicableError
from bench.records import CurvePoint, FitReport
from bench.retrieval.ranking import Ranking, trec_order
from bench.strategy.base import Strategy
from bench.strategy.hyperparameters import StrategyConfig


class WordIndex:
    nbytes, seconds = 8, 0.25

    def __init__(self, corpus):
        self.words = {doc: set(text.split()) for doc, text in zip(corpus.ids, corpus.texts)}


class Words(Strategy):
    """Counts shared words. Untrained."""

    name = "words"

    def fit(self, data, budget, seed):
        return FitReport()

    def index(self, corpus):
        return WordIndex(corpus)

    def bonus(self, doc):
        return 0.0

    def search(self, queries, index, top_k):
        hits = {}
        for query, text in queries.items():
            own = set(text.split())
            scored = [(doc, len(own & words) + self.bonus(doc)) for doc, words in index.words.items()]
            hits[query] = trec_order(scored)[:top_k]
        return Ranking(hits)

    def save(self, folder):
        pass

    def load(self, folder):
        pass

    def untrained_counterpart(self):
        return Words(None, self.resources)


class Toy(Words):
    """Adds a bonus to documents that it has seen; misbehaves on request."""

    name = "toy"
    needs = frozenset({"pairs"})

    @dataclass(frozen=True)
    class Config(StrategyConfig):
        bonus: float = 0.0
        does: str = ""
        marker: str = ""

    seen = frozenset()

    def fit(self, data, budget, seed):
        does = self.config.does
        if self.config.marker:
            with Path(self.config.marker).open("a") as stream:
                stream.write(f"{os.getpid()}\\n")
        if does == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if does == "exit":
            os._exit(3)
        if does == "wait" or (does == "wait once" and len(Path(self.config.marker).read_text().split()) == 1):
            time.sleep(120)
        if does in ("spawn", "spawn and wait", "spawn and die"):
            marker = Path(self.config.marker)
            grandchild = (
                "import subprocess, time; child = subprocess.Popen(['sleep', '600']);"
                "print(child.pid, flush=True); time.sleep(600)"
            )
            for apart in (False, True):
                child = subprocess.Popen(
                    [sys.executable, "-c", grandchild], start_new_session=apart, stdout=subprocess.PIPE, text=True
                )
                with marker.open("a") as stream:
                    stream.write(f"{child.pid}\\n{child.stdout.readline()}")
            marker.with_suffix(".ready").touch()
            if does == "spawn and wait":
                time.sleep(120)
            if does == "spawn and die":
                os.kill(os.getpid(), signal.SIGKILL)
        if does == "cling":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            Path(self.config.marker + ".ready").touch()
            time.sleep(120)
        if does == "raise":
            raise ValueError("the first line\\nthe second")
        if does == "memory":
            raise MemoryError
        if does == "refuse":
            raise NotApplicableError("toys cannot do this")
        if does == "diverge":
            return FitReport(diverged="the loss was nan at step 3")
        self.seen = frozenset(data.train_relevant)
        steps = (budget.steps or 1) * (2 if does == "overrun" else 1)
        self.resources.progress("step", {"step": steps, "total": steps, "loss": 0.5})
        return FitReport(
            steps=steps, planned_steps=steps, examples=data.labels, stopped_by="steps",
            curve=[CurvePoint(step=steps, seconds=0.1, loss=0.5)],
        )

    def bonus(self, doc):
        return self.config.bonus if doc in self.seen else 0.0

    def save(self, folder):
        (folder / "seen.json").write_text(json.dumps(sorted(self.seen)))
        if self.config.does == "linger":
            threading.Thread(target=time.sleep, args=(600,)).start()

    def load(self, folder):
        self.seen = frozenset(json.loads((folder / "seen.json").read_text()))


class Head(Toy):
    """Claims to train."""

    name = "head"
    trains = "head"


class Both(Words):
    """Composed of another strategy, and of a second one where `teacher` names it."""

    name = "both"
    n_components = 1
    component_options = ("teacher",)

    @dataclass(frozen=True)
    class Config(StrategyConfig):
        teacher: str = ""
        weight: float = 0.5

    def search(self, queries, index, top_k):
        return self.components[0].search(queries, index, top_k)
'''


class Silent:
    """A listener that keeps what it is told."""

    def __init__(self) -> None:
        self.started_jobs: list[str] = []
        self.ended_jobs: list[tuple[str, str, str]] = []
        self.events: list[tuple[str, str, dict[str, Any]]] = []

    def started(self, job: Job) -> None:
        self.started_jobs.append(job.name)

    def event(self, job: Job, name: str, values: dict[str, Any]) -> None:
        self.events.append((job.name, name, values))

    def ended(self, job: Job, status: str, reason: str, seconds: float) -> None:
        self.ended_jobs.append((job.name, status, reason))


class InProcess:
    """An executor without processes: it runs each job as it is submitted, beside its scorer."""

    slots = 1
    isolates = False

    def __init__(self, store: Store, execution: ExecutionSettings) -> None:
        self.store, self.execution = store, execution
        self.events: list[Event] = []

    def submit(self, job: Job) -> Handle:
        self.events.append(Event(job.name, "started"))
        scorer = Scorer.of(job.spec, self.store, self.execution.data_dir)
        status, reason = run_job(
            job, self.store, self.execution, lambda name, values: self.add(job, name, values), scorer
        )
        self.add(job, "ended", {"status": status, "reason": reason})
        return job.name

    def add(self, job: Job, name: str, values: dict[str, Any]) -> None:
        self.events.append(Event(job.name, name, values))

    def poll(self, timeout: float) -> Sequence[Event]:
        events, self.events = self.events, []
        return events

    def kill(self, handle: Handle) -> None:
        """Nothing runs between two calls."""


@pytest.fixture
def toy_file(tmp_path: Path) -> Path:
    """The file with the strategies above."""
    path = tmp_path / "toys.py"
    path.write_text(TOY, encoding="utf-8")
    return path


@pytest.fixture
def fake_model(tmp_path: Path) -> Path:
    """A folder that passes for a base model as long as nobody loads it."""
    folder = tmp_path / "fake-model"
    folder.mkdir()
    header = json.dumps({"layer.weight": {"dtype": "F32", "shape": [100, 10], "data_offsets": [0, 4000]}}).encode()
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    return folder


@pytest.fixture
def probe_folder(tmp_path: Path, beir_folder: Path) -> Path:
    """Another dataset: the same queries over documents with a word more."""
    folder = tmp_path / "elsewhere"
    shutil.copytree(beir_folder, folder)
    rows = [json.loads(line) for line in (folder / "corpus.jsonl").read_text().splitlines()]
    text = "\n".join(json.dumps(row | {"text": row["text"] + " elsewhere"}) for row in rows)
    (folder / "corpus.jsonl").write_text(text + "\n", encoding="utf-8")
    return folder


@pytest.fixture
def toy_config(tmp_path: Path, toy_file: Path, fake_model: Path, beir_folder: Path) -> Callable[..., RunConfig]:
    """Return a function that makes a configuration: `toy` on the tiny dataset, five steps, unless told otherwise."""

    def config(**changes: Any) -> RunConfig:
        values = {
            "strategies": "toy",
            "baseline": "toy",
            "datasets": str(beir_folder),
            "model": str(fake_model),
            "strategy_files": [str(toy_file)],
            "budget": {"steps": 5},
            "device": "cpu",
            "out": str(tmp_path / "run"),
            "measures": "ndcg@10,recall@100",
        }
        return from_mapping(values | changes)

    return config


@pytest.fixture
def run_inline() -> Callable[[RunConfig], RunResult]:
    """Return a function that runs a configuration in this process."""
    return lambda config: Run.prepare(config).execute(Silent(), InProcess)
