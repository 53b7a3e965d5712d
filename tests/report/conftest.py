"""A run folder made of records: a domain with seen and unseen queries, strategies with planted behaviour, probes."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bench.records import MEASURES, CellResult, CurvePoint, FitRecord
from bench.retrieval.ranking import Ranking
from bench.store.store import Store

QUERIES = 160
PROBE_QUERIES = 200
DEV_QUERIES = 100
BASELINES = ("base", "frozen")
ENVIRONMENT = {"machine_class": "Processor X, 2 threads", "python": "3.11.9", "libraries": {"torch": "2.13.0"}}


def noise(*key: object, size: int, spread: float) -> np.ndarray:
    """Return normal noise that depends on the key alone."""
    return np.random.default_rng(zlib.crc32(repr(key).encode())).normal(0, spread, size)


@dataclass
class Plant:
    """How a strategy behaves. `gains` has a value per seed; a single value is used for every seed."""

    gains: tuple[float, ...] = (0.0,)
    seen_gain: float = 0.0
    """Gain on seen queries only."""
    seeds: tuple[int | None, ...] = (0, 1, 2)
    status: str = "ok"
    reason: str = ""
    probes: Mapping[str, float] = field(default_factory=dict)
    """Change on each probe."""
    dev_gain: float | None = None
    """Gain in the pool and in the development cell. None is neither, but the baseline always has a development cell."""
    pool_gain: float | None = None
    """Gain in the pool, where it differs."""
    dev_made: bool = False
    """Whether the development queries were made from documents."""
    seconds: float = 60.0
    params: int = 1000
    total_params: int = 22_713_216
    """Parameters of the embedding model."""
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    components: tuple[str, ...] = ()
    reindex: str = "encode"
    query_ms: float = 12.0
    artifact_bytes: int = 4_000_000
    index_bytes: int = 7_700_000
    is_ranked: bool = True
    """Whether the records contain rankings."""
    drift: Mapping[str, Any] = field(default_factory=dict)


UNTRAINED = {"seeds": (None,), "seconds": 0.0, "params": 0, "reindex": "none", "artifact_bytes": 0}


class Planter:
    """Writes records, values per query and curves into a store."""

    def __init__(self, folder: Path, queries: int = QUERIES) -> None:
        self.store = Store(folder)
        self.queries = queries
        self.labels = 5000
        """Labelled pairs in the dataset."""
        self.probe_groups = 0
        """Subjects of a probe's queries; each strategy then changes whole subjects."""

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
        """Write one fit and one cell per strategy and seed, and one cell per probe."""
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
                pool = plant.dev_gain if plant.pool_gain is None else plant.pool_gain
                dev = (
                    {
                        "base_dev": 0.6,
                        "best_dev": 0.6 + pool,
                        "last_dev": 0.6 + pool - 0.02,
                        "dev_noise": 0.01,
                        "best_step": 120,
                    }
                    if pool is not None and trained
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
                    components=list(plant.components),
                    trains="encoder" if trained and not plant.components else "none",
                    reindex=plant.reindex,
                    hyperparameters=dict(plant.hyperparameters),
                    training={"batch_size": 32},
                    budget=budget if trained else {},
                    report={
                        "steps": 150 * trained,
                        "planned_steps": 150 * trained,
                        "examples": int(min(self.labels, (limits or {}).get("examples", 900))) * trained,
                        "train_measure": 0.9,
                        "trainable_params": plant.params,
                        **dev,
                    },
                    cost={"fit_seconds": plant.seconds, "trainable_params": plant.params},
                    **shared,
                )
                self.store.begin_fit(fit)
                curve = [
                    CurvePoint(
                        step=step,
                        seconds=step * 0.4,
                        loss=2.0 / step,
                        learning_rate=1e-4,
                        dev=0.6 + (plant.dev_gain or 0) * step / 150,
                    )
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
                    n_queries=self.queries,
                    n_docs=5000,
                    drift=dict(plant.drift),
                    cost={
                        "fit_seconds": plant.seconds,
                        "train_seconds": plant.seconds * 0.8,
                        "steps": 150 * trained,
                        "peak_memory_bytes": 900_000_000,
                        "trainable_params": plant.params,
                        "total_params": plant.total_params,
                        "train_flops": 4e12 * trained,
                        "artifact_bytes": plant.artifact_bytes,
                        "index_seconds": 31.0,
                        "index_bytes": plant.index_bytes,
                        "encode_docs_per_second": 160.0,
                        "query_ms_p50": plant.query_ms,
                        "query_ms_p95": plant.query_ms * 1.5,
                        "query_times_base": plant.query_ms / 4,
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
                ranking = Ranking({f"q{number:03}": [("d1", 2.0), ("d0", 1.0)] for number in range(self.queries)})
                self.store.put_cell(cell, frame, ranking if plant.is_ranked and frame is not None else None)
                if (plant.dev_gain is not None or name in BASELINES) and frame is not None:
                    self.development(record, plant, (limits or {}).get("examples", -1))
                if plant.status in ("ok", "over_budget"):
                    for probe, change in plant.probes.items():
                        self.probe(record, probe, change)
        return self.store

    def frame(
        self, name: str, seed: int | None, gain: float, seen_gain: float, seen: float, groups: int, dataset: str
    ) -> pd.DataFrame:
        """Return values per query: a difficulty that all strategies share, the planted gain, and own noise."""
        mask = np.arange(self.queries) < seen * self.queries
        level = 0.55 + noise(dataset, "difficulty", size=self.queries, spread=0.15)
        level = level + gain + seen_gain * mask
        if seed is not None:
            level = level + noise(dataset, name, "query", size=self.queries, spread=0.05)
            level = level + noise(dataset, name, seed, size=self.queries, spread=0.03)
        frame = pd.DataFrame({"query": [f"q{number:03}" for number in range(self.queries)]})
        frame["group"] = [f"template {number % groups}" for number in range(self.queries)] if groups else None
        frame["seen"] = mask & (seed is not None)
        for measure in MEASURES:
            cut = {"recall@1": -0.2, "recall@5": 0.05, "recall@10": 0.12, "recall@100": 0.3}.get(measure, 0.0)
            frame[measure] = np.clip(level + cut, 0, 1)
        return frame

    def development(self, fit: FitRecord, plant: Plant, examples: float = -1, seeds: Sequence[int] = range(6)) -> None:
        """Write the development cell of a fit. Its gain over a strategy of gain 0 is the planted one to the digit."""
        frames = []
        for seed in seeds if fit.seed is None else (fit.seed,):
            own = 0.0 if fit.seed is None else noise("dev", fit.strategy, seed, size=DEV_QUERIES, spread=0.05)
            values = 0.5 + noise(fit.dataset, "dev", seed, size=DEV_QUERIES, spread=0.1) + own - np.mean(own)
            frame = pd.DataFrame({"query": [f"v{seed}-{number:03}" for number in range(DEV_QUERIES)]})
            frame["group"], frame["seen"], frame["seed"], frame["examples"] = None, False, seed, int(examples)
            frame["made"] = plant.dev_made
            for measure in MEASURES:
                frame[measure] = values + (plant.dev_gain or 0.0)
            frames.append(frame)
        cell = CellResult(
            cell=f"{fit.fit}-development",
            fit=fit.fit,
            strategy=fit.strategy,
            dataset=fit.dataset,
            split="test",
            model=fit.model,
            seed=fit.seed,
            status="ok",
            role="development",
            trained_on=fit.dataset,
        )
        self.store.begin_cell(cell.cell)
        self.store.put_cell(cell, pd.concat(frames, ignore_index=True))

    def probe(self, fit: FitRecord, probe: str, change: float) -> None:
        """Write the cell of a probe."""
        base = np.clip(0.8 + noise(probe, size=PROBE_QUERIES, spread=0.1), 0, 1)
        after = base + change
        if fit.seed is not None:
            after = after + noise(probe, fit.strategy, fit.seed, size=PROBE_QUERIES, spread=0.05)
        subjects = np.arange(PROBE_QUERIES) % (self.probe_groups or PROBE_QUERIES)
        if self.probe_groups and fit.seed is not None:
            after = after + noise(probe, fit.strategy, size=self.probe_groups, spread=0.05)[subjects]
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
            metrics={"ndcg@10": float(after.mean())},
            n_queries=PROBE_QUERIES,
        )
        frame = pd.DataFrame({"query": [f"p{number:03}" for number in range(PROBE_QUERIES)], "ndcg@10": after})
        frame.insert(1, "group", [f"subject {subject}" if self.probe_groups else None for subject in subjects])
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


@pytest.fixture(scope="session", autouse=True)
def without_waiting_for_the_disk() -> Iterator[None]:
    """Skip the store's wait for the disk, because planted records need not survive a power cut."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda descriptor: None)
        yield


@pytest.fixture
def planter(tmp_path: Path) -> Planter:
    """An empty run folder to plant records into, with the baseline `base`."""
    made = Planter(tmp_path / "run")
    made.invoke()
    return made


@pytest.fixture(scope="session")
def planter_type() -> type[Planter]:
    """The class that plants records, for a folder of one's own."""
    return Planter


@pytest.fixture(scope="session")
def plant() -> Callable[..., Plant]:
    """A function that makes a `Plant`."""
    return Plant


@pytest.fixture(scope="session")
def untrained() -> Callable[..., Plant]:
    """A function that makes a `Plant` without training."""
    return lambda **values: Plant(**{**UNTRAINED, **values})
