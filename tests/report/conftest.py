"""A run folder made of records: a domain with seen and unseen queries, strategies with planted behaviour, probes."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bench.data.catalogue import load_dataset
from bench.records import MEASURES, CellResult, CurvePoint, FitRecord
from bench.report import write_report
from bench.retrieval.ranking import Ranking
from bench.running.store import Store

QUERIES = 160
PROBE_QUERIES = 200
ENVIRONMENT = {"machine_class": "Processor X, 2 threads", "python": "3.11.9", "libraries": {"torch": "2.13.0"}}


def noise(*key: object, size: int, spread: float) -> np.ndarray:
    """Normal noise that depends on the key alone."""
    return np.random.default_rng(zlib.crc32(repr(key).encode())).normal(0, spread, size)


@dataclass
class Plant:
    """How a strategy behaves. `gains` is by seed; a single entry is used for every seed."""

    gains: tuple[float, ...] = (0.0,)
    seen_gain: float = 0.0
    """Added on seen queries only."""
    seeds: tuple[int | None, ...] = (0, 1, 2)
    status: str = "ok"
    reason: str = ""
    probes: Mapping[str, float] = field(default_factory=dict)
    """Change on each probe."""
    dev_gain: float | None = None
    seconds: float = 60.0
    params: int = 1000
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    parts: tuple[str, ...] = ()
    reindex: str = "encode"
    query_ms: float = 12.0
    artifact_bytes: int = 4_000_000


UNTRAINED = {"seeds": (None,), "seconds": 0.0, "params": 0, "reindex": "none", "artifact_bytes": 0}


class Planter:
    """Writes records, values per query and curves into a store."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(folder)

    def run(
        self,
        plants: Mapping[str, Plant],
        dataset: str = "domain",
        limits: Mapping[str, float] | None = None,
        seen: float = 0.0,
        groups: int = 0,
        environment: Mapping[str, Any] = ENVIRONMENT,
        model: str = "base",
        tag: str = "",
        fingerprint: str = "",
    ) -> Store:
        """Write one fit and one cell a strategy and seed, one probe cell a probe."""
        budget = {"limits": dict(limits if limits is not None else {"steps": 150}), "spent": {}, "stopped_by": "steps"}
        for name, plant in plants.items():
            for position, seed in enumerate(plant.seeds):
                where = f"{name}-{dataset}-{model}-{'-'.join(map(str, budget['limits'].values()))}-{seed}{tag}"
                fit = "".join(char if char.isalnum() else "_" for char in where) + f"-{zlib.crc32(where.encode()):08x}"
                gain = plant.gains[position % len(plant.gains)]
                trained = seed is not None
                shared = {
                    "environment": dict(environment),
                    "fingerprints": {"dataset": fingerprint or f"f-{dataset}", "model": "m"},
                }
                dev = (
                    {
                        "base_dev": 0.6,
                        "best_dev": 0.6 + plant.dev_gain,
                        "last_dev": 0.6 + plant.dev_gain - 0.02,
                        "dev_noise": 0.01,
                        "best_step": 120,
                    }
                    if plant.dev_gain is not None and trained
                    else {}
                )
                record = FitRecord(
                    fit=fit,
                    strategy=name,
                    dataset=dataset,
                    model=model,
                    seed=seed,
                    status=plant.status,
                    reason=plant.reason,
                    parts=list(plant.parts),
                    trains="encoder" if trained else "none",
                    reindex=plant.reindex,
                    hyperparameters=dict(plant.hyperparameters),
                    training={"batch_size": 32},
                    budget=budget if trained else {},
                    report={
                        "steps": 150 * trained,
                        "planned_steps": 150 * trained,
                        "examples": 900 * trained,
                        "train_measure": 0.9,
                        "trainable_params": plant.params,
                        **dev,
                    },
                    cost={"fit_seconds": plant.seconds},
                    **shared,
                )
                self.store.begin_fit(fit)
                curve = [
                    CurvePoint(step, step * 0.4, 2.0 / step, 1e-4, 0.6 + (plant.dev_gain or 0) * step / 150)
                    for step in range(15, 151, 15)
                ]
                self.store.put_fit(record, curve if trained else ())
                cell = CellResult(
                    cell=f"{fit}-test",
                    fit=fit,
                    strategy=name,
                    dataset=dataset,
                    split="test",
                    model=model,
                    seed=seed,
                    status=plant.status,
                    reason=plant.reason,
                    trained_on=dataset,
                    hyperparameters=dict(plant.hyperparameters),
                    budget=budget if trained else {},
                    n_queries=QUERIES,
                    n_docs=5000,
                    cost={
                        "fit_seconds": plant.seconds,
                        "train_seconds": plant.seconds * 0.8,
                        "steps": 150 * trained,
                        "peak_memory_bytes": 900_000_000,
                        "trainable_params": plant.params,
                        "total_params": 22_713_216,
                        "train_flops": 4e12 * trained,
                        "artifact_bytes": plant.artifact_bytes,
                        "index_seconds": 31.0,
                        "index_bytes": 7_700_000,
                        "encode_docs_per_second": 160.0,
                        "query_ms_p50": plant.query_ms,
                        "query_ms_p95": plant.query_ms * 1.5,
                        "reindex": plant.reindex,
                        "query_flops": 1e9,
                    },
                    **shared,
                )
                frame = None
                if plant.status in ("ok", "over_budget", "no_effect"):
                    frame = self.frame(name, seed, gain, plant.seen_gain, seen, groups, dataset)
                    cell.metrics = {measure: float(frame[measure].mean()) for measure in MEASURES}
                self.store.begin_cell(cell.cell)
                ranking = Ranking({f"q{number:03}": [("d1", 2.0), ("d0", 1.0)] for number in range(QUERIES)})
                self.store.put_cell(cell, frame, ranking if frame is not None else None)
                if plant.status in ("ok", "over_budget"):
                    for probe, change in plant.probes.items():
                        self.probe(record, probe, change)
        return self.store

    def frame(
        self, name: str, seed: int | None, gain: float, seen_gain: float, seen: float, groups: int, dataset: str
    ) -> pd.DataFrame:
        """Values per query: a difficulty that all share, the planted gain, and noise of its own."""
        mask = np.arange(QUERIES) < seen * QUERIES
        level = 0.55 + noise(dataset, "difficulty", size=QUERIES, spread=0.15)
        level = level + gain + seen_gain * mask
        if seed is not None:
            level = level + noise(dataset, name, "query", size=QUERIES, spread=0.05)
            level = level + noise(dataset, name, seed, size=QUERIES, spread=0.03)
        frame = pd.DataFrame({"query": [f"q{number:03}" for number in range(QUERIES)]})
        frame["group"] = [f"template {number % groups}" for number in range(QUERIES)] if groups else None
        frame["seen"] = mask & (seed is not None)
        for measure in MEASURES:
            cut = {"recall@1": -0.2, "recall@5": 0.05, "recall@10": 0.12, "recall@100": 0.3}.get(measure, 0.0)
            frame[measure] = np.clip(level + cut, 0, 1)
        return frame

    def probe(self, fit: FitRecord, probe: str, change: float) -> None:
        """Write the cell of a probe."""
        base = np.clip(0.8 + noise(probe, size=PROBE_QUERIES, spread=0.1), 0, 1)
        after = base + change
        if fit.seed is not None:
            after = after + noise(probe, fit.strategy, fit.seed, size=PROBE_QUERIES, spread=0.05)
        delta = after - base
        half = 1.96 * float(delta.std(ddof=1)) / PROBE_QUERIES**0.5
        row = {
            "measure": "ndcg@10",
            "before": float(base.mean()),
            "after": float(after.mean()),
            "delta": float(delta.mean()),
            "ci_low": float(delta.mean()) - half,
            "ci_high": float(delta.mean()) + half,
            "p": 1.0 if half == 0 else 0.0001 if abs(delta.mean()) > half else 0.4,
            "n": PROBE_QUERIES,
        }
        cell = CellResult(
            cell=f"{fit.fit}-{probe}",
            fit=fit.fit,
            strategy=fit.strategy,
            dataset=probe,
            split="test",
            model=fit.model,
            seed=fit.seed,
            status="ok",
            role="probe",
            trained_on=fit.dataset,
            forgetting={probe: row},
            n_queries=PROBE_QUERIES,
        )
        frame = pd.DataFrame({"query": [f"p{number:03}" for number in range(PROBE_QUERIES)], "ndcg@10": after})
        self.store.begin_cell(cell.cell)
        self.store.put_cell(cell, frame)

    def invoke(self, **extra: Any) -> None:
        """Write an invocation."""
        self.store.put_invocation(
            {
                "command": ["run", "--strategies", "base,big"],
                "started": "2026-01-02T03:04:05Z",
                "config": {"baseline": "base"},
                "git": {"commit": "abcdef0123456789", "dirty": True},
                **extra,
            }
        )


@pytest.fixture
def planter(tmp_path: Path) -> Planter:
    """An empty run folder to plant records into; its baseline is named `base`."""
    made = Planter(tmp_path / "run")
    made.invoke()
    return made


@pytest.fixture
def plant() -> Callable[..., Plant]:
    """Make a `Plant`."""
    return Plant


@pytest.fixture
def untrained() -> Callable[..., Plant]:
    """Make a `Plant` that trains nothing."""
    return lambda **values: Plant(**{**UNTRAINED, **values})


HOSTILE = "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"


def write_hostile(folder: Path) -> Path:
    """Write a BEIR folder named `domain` whose texts hold markup and scripts."""
    folder = folder / "data" / "domain"
    (folder / "qrels").mkdir(parents=True)
    with (folder / "corpus.jsonl").open("w", encoding="utf-8") as stream:
        for number in range(5):
            stream.write(json.dumps({"_id": f"d{number}", "title": "", "text": f"document {number} {HOSTILE}"}) + "\n")
    with (folder / "queries.jsonl").open("w", encoding="utf-8") as stream:
        for number in range(QUERIES):
            text = f"question {number} {HOSTILE} \u2028"
            stream.write(json.dumps({"_id": f"q{number:03}", "text": text}) + "\n")
    rows = [f"q{number:03}\td{number % 2}\t1" for number in range(QUERIES)]
    lines = ["query-id\tcorpus-id\tscore", *rows]
    (folder / "qrels" / "test.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture
def hostile_folder(tmp_path: Path) -> Path:
    """A dataset whose texts hold markup and scripts."""
    return write_hostile(tmp_path)


@pytest.fixture(scope="session")
def hostile_report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The HTML report of a run over two budgets whose data and strategy names hold markup and scripts."""
    root = tmp_path_factory.mktemp("hostile")
    folder = write_hostile(root)
    fingerprint = load_dataset(str(folder)).fingerprint
    made = Planter(root / "run")
    made.invoke(config={"baseline": "base", "datasets": ["domain"], "data_dir": str(folder.parent)})
    untouched = Plant(**{**UNTRAINED, "probes": {"web": 0.0}})
    plants = {
        "base": untouched,
        "big": Plant(gains=(0.1,), dev_gain=0.1, probes={"web": -0.05}),
        "evil<img src=x onerror=\"document.title='owned'\">": Plant(),
    }
    made.run(plants, seen=0.3, groups=4, fingerprint=fingerprint)
    fewer = {"big": Plant(gains=(0.05,), dev_gain=0.1)}
    made.run(fewer, limits={"steps": 50}, seen=0.3, fingerprint=fingerprint)
    write_report(made.store, root / "out")
    return root / "out" / "report.html"


class Page:
    """One page in a headless browser, driven over Chromium's debugging pipe."""

    def __init__(self, process: subprocess.Popen[bytes], write: int, read: int) -> None:
        self._process, self._write, self._read = process, write, read
        self._next, self._buffer = 0, b""
        self._session: str | None = None
        self.requests: list[str] = []
        self.errors: list[str] = []

    def call(self, method: str, timeout: float = 60, **parameters: Any) -> dict[str, Any]:
        """Send a command and wait for its answer; events on the way are noted."""
        self._next += 1
        message = {"id": self._next, "method": method, "params": parameters}
        if self._session and not method.startswith("Target."):
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        limit = time.monotonic() + timeout
        while True:
            answer = self._receive(limit)
            if answer.get("id") == self._next:
                assert "error" not in answer, answer
                return answer["result"]

    def _receive(self, limit: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], max(0.0, limit - time.monotonic()))
            assert ready, "the browser does not answer"
            self._buffer += os.read(self._read, 1 << 20)
        raw, _, self._buffer = self._buffer.partition(b"\0")
        event = json.loads(raw)
        match event.get("method"):
            case "Network.requestWillBeSent":
                self.requests.append(event["params"]["request"]["url"])
            case "Runtime.exceptionThrown":
                self.errors.append(str(event["params"]["exceptionDetails"]))
            case "Log.entryAdded":
                self.errors.append(str(event["params"]["entry"].get("text")))
            case "Runtime.consoleAPICalled" if event["params"]["type"] in ("error", "warning", "assert"):
                self.errors.append(str(event["params"]["args"]))
        return event

    def open(self, path: Path) -> Page:
        """Show a file and wait until its scripts have run."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable")
        self.requests, self.errors = [], []
        self.call("Page.navigate", url=path.as_uri())
        for _ in range(200):
            if self.eval("document.readyState === 'complete' && location.protocol === 'file:'"):
                return self
            time.sleep(0.05)
        raise AssertionError("the page does not load")

    def eval(self, script: str) -> Any:
        """Evaluate JavaScript and return its value."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def texts(self, selector: str) -> list[str]:
        """Return the text of every element that matches."""
        return self.eval(f"[...document.querySelectorAll({json.dumps(selector)})].map((e) => e.textContent.trim())")


@pytest.fixture(scope="session")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A headless Chromium; the test is skipped where none is installed."""
    program = next(
        (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
    )
    if program is None or os.name != "posix":
        pytest.skip("no Chromium here")
    profile = tmp_path_factory.mktemp("profile")
    command = [
        program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
        f"--user-data-dir={profile}", "--remote-debugging-pipe",
    ]  # fmt: skip
    to_read, to_write = os.pipe()
    from_read, from_write = os.pipe()
    # Chromium reads commands from descriptor 3 and answers on 4.
    launcher = (
        "import fcntl, os, sys; r, w = (fcntl.fcntl(int(fd), fcntl.F_DUPFD, 64) for fd in sys.argv[1:3]); os.dup2(r, "
        "3); os.dup2(w, 4); os.execvp(sys.argv[3], sys.argv[3:])"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", launcher, str(to_read), str(from_write), *command],
        pass_fds=(to_read, from_write),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(to_read)
    os.close(from_write)
    try:
        yield Page(process, to_write, from_read)
    finally:
        process.terminate()
        process.wait(30)
        os.close(to_write)
        os.close(from_read)
