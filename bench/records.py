"""The records that a run leaves: what a fit cost and learned, and what a cell measured.

Standard library only, so that every layer (strategies, executors, the report) can read them without loading a model.
Every key of `fit.json` and `result.json` is documented here and nowhere else. Records carry `schema_version`; older
ones are migrated by the pure functions in `_MIGRATIONS`, newer ones are refused.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self, get_args

from bench.errors import StoreError

SCHEMA_VERSION = 2

Status = Literal["ok", "over_budget", "failed", "diverged", "no_effect", "oom", "timeout", "not_applicable"]
STATUSES: tuple[str, ...] = get_args(Status)
USABLE: frozenset[str] = frozenset({"ok", "over_budget"})
"""Statuses whose scores mean something. `over_budget` scores are shown and marked, never ranked as equals."""

PRIMARY_MEASURE = "ndcg@10"
MEASURES: tuple[str, ...] = (
    "ndcg@10", "ndcg@100", "mrr@10", "map@100", "recall@1", "recall@5", "recall@10", "recall@100", "precision@10",
)  # fmt: skip


def _name_components(record: dict[str, Any]) -> dict[str, Any]:
    """Schema 1 called the components of a composite its parts."""
    if "parts" in record:
        record["components"] = record.pop("parts")
    return record


_MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {1: _name_components}


@dataclass
class CurvePoint:
    """One point of a learning curve. A point holds a training loss, a development score, or both."""

    step: int
    seconds: float
    """Charged seconds since the fit began."""
    loss: float | None = None
    """Mean contrastive loss in nats since the point before."""
    learning_rate: float | None = None
    dev: float | None = None
    """nDCG@10 on the fixed development pool."""


@dataclass
class FitReport:
    """What `Strategy.fit` returns: what was spent, what was chosen, how it went.

    A strategy that trains nothing returns `FitReport()`. Seconds are added by the harness's meter, not by the strategy.
    """

    steps: int = 0
    planned_steps: int = 0
    """Optimiser steps that the schedule was laid out for; the fit may be stopped earlier by another limit."""
    examples: int = 0
    """Labelled (query, document) pairs that were used, development pairs included."""
    trainable_params: int = 0
    """Scalars that an optimiser step may change and that receive a gradient."""
    train_seconds: float = 0.0
    """Seconds inside optimiser steps: a part of what the meter charges."""
    train_flops: float = 0.0
    """Floating-point operations of training, by formula (`bench.evaluation.flops`)."""
    stopped_by: str = ""
    """The limit that ended the fit: `steps`, `seconds`, ...; empty where nothing is trained."""
    best_step: int | None = None
    best_dev: float | None = None
    """nDCG@10 on the development pool at `best_step`; None where there was no selection."""
    last_dev: float | None = None
    base_dev: float | None = None
    """The same before the first step; of a fusion, the base model's alone.

    Step 0 is not eligible, but `dev_prefers_base` is reported.
    """
    dev_noise: float | None = None
    """Standard error of `best_dev - base_dev` over development queries."""
    train_measure: float | None = None
    """nDCG@10 of the result on a sample of training queries, over a pool built like the development pool."""
    chosen: dict[str, Any] = field(default_factory=dict)
    """What was chosen on development data: fusion weights, k1 and b, a prompt."""
    curve: list[CurvePoint] = field(default_factory=list)
    diverged: str = ""
    """Why the training is called diverged (a loss that is not finite), else empty."""
    notes: list[str] = field(default_factory=list)
    """Sentences for the report: a fallback that was taken, data that was left out."""

    @property
    def dev_prefers_base(self) -> bool | None:
        """Whether the development pool scored the untrained model at least as high as the best checkpoint."""
        if self.best_dev is None or self.base_dev is None:
            return None
        return self.base_dev >= self.best_dev


@dataclass
class _Record:
    """Reading and writing that both records share."""

    schema_version: int = field(default=SCHEMA_VERSION, kw_only=True)

    def to_dict(self) -> dict[str, Any]:
        """Return plain dictionaries, lists and scalars, ready for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Self:
        """Rebuild a record, migrating an older one.

        Raises:
            StoreError: the record was written by a newer version, or lacks a key.
        """
        data = migrate(dict(raw))
        known = {f.name for f in dataclasses.fields(cls)}
        try:
            return cls(**{key: value for key, value in data.items() if key in known})
        except TypeError as error:
            raise StoreError(f"not a {cls.__name__}: {error}") from error


@dataclass
class FitRecord(_Record):
    """`fit.json`: one fit, what made it and what it cost. The artefact lies beside it in `model/`."""

    fit: str
    """Readable name ending in a hash; also the folder's name."""
    strategy: str
    """The expression as asked for: `lora`, `hybrid(lora)`."""
    dataset: str
    model: str
    seed: int | None
    """None for what does not train."""
    status: Status
    reason: str = ""
    components: list[str] = field(default_factory=list)
    """Fits that this one is composed of."""
    trains: str = "none"
    reindex: str = "none"
    strategy_version: int = 1
    hyperparameters: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    """Training settings that all strategies of a comparison share (batch, temperature, schedule, dropout)."""
    budget: dict[str, Any] = field(default_factory=dict)
    """`limits` as asked, `spent` per unit, `stopped_by`."""
    report: dict[str, Any] = field(default_factory=dict)
    """`FitReport` without its curve, which is `curve.parquet`."""
    cost: dict[str, Any] = field(default_factory=dict)
    """The part of `CellResult.cost` that the fit determines."""
    tuning: dict[str, Any] = field(default_factory=dict)
    """What the study that chose the hyperparameters found (`bench.store.studies.Study.summary`); empty without one."""
    train_relevant: list[str] = field(default_factory=list)
    """Documents that were a positive in training: they define the seen stratum."""
    fingerprints: dict[str, str] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    """Recorded, not hashed: machine, threads, library versions, contention."""
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Relative path -> `bytes`, `sha256` of every file beside this one."""


@dataclass
class CellResult(_Record):
    """`result.json`: one fit measured on one dataset. Flat keys, so that it is one row of a table.

    `metrics` are means over all judged queries of the split, 0 for a query without results; `strata` holds the same for
    `seen` and `unseen` queries with their `n`. A probe's cell has role `probe`, and its `forgetting` holds that probe;
    `bench.store.store.Store.results` joins the probes of a fit into the row of its target.
    """

    cell: str
    fit: str
    strategy: str
    dataset: str
    split: str
    model: str
    seed: int | None
    status: Status
    reason: str = ""
    role: str = "target"
    trained_on: str = ""
    """The dataset of the fit; equal to `dataset` for a target."""
    hyperparameters: dict[str, Any] = field(default_factory=dict)
    budget: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    strata: dict[str, dict[str, float]] = field(default_factory=dict)
    n_queries: int = 0
    n_docs: int = 0
    cost: dict[str, Any] = field(default_factory=dict)
    forgetting: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Probe -> `measure, before, after, delta, ci_low, ci_high, p, n`; `delta = after - before`."""
    drift: dict[str, Any] = field(default_factory=dict)
    """Of a trained encoder against the base model, on the target: `documents_cosine`, `documents_cka`,
    `queries_cosine`, `queries_cka`; `old_index`, new queries against the base model's vectors: the keys of a probe,
    `stratum` and `encoded_again`."""
    overfitting: dict[str, Any] = field(default_factory=dict)
    """`train_measure`, `dev_measure`, `best_step`, `dev_prefers_base`."""
    notes: list[str] = field(default_factory=list)
    fingerprints: dict[str, str] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    files: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def usable(self) -> bool:
        """Whether the scores mean something."""
        return self.status in USABLE


COST_UNITS: dict[str, str] = {
    "fit_seconds": "s charged to the fit: steps, mining, encoding of training texts, search for weights",
    "train_seconds": "s inside optimiser steps",
    "tuning_seconds": "s of wall clock of the study that chose the hyperparameters, which all seeds share",
    "steps": "optimiser steps",
    "wall_seconds": "s of wall clock of the fit's process, loading and development evaluations included",
    "cpu_seconds": "s of processor time of the fit's process",
    "peak_memory_bytes": "bytes at the peak of fitting, net of the process before it",
    "trainable_params": "parameters that training may change",
    "total_params": "parameters of the embedding model",
    "train_flops": "floating-point operations of training, by formula",
    "query_flops": "floating-point operations of a query of mean length, by formula: encoding it, re-ranking for it",
    "artifact_bytes": "bytes that the strategy adds to the base model on disk",
    "index_seconds": "s to encode and index the corpus (what it cost when it was done)",
    "index_bytes": "bytes of the index",
    "search_recall": "share of the exact best documents that search finds, on a sample; absent where search is exact",
    "encode_docs_per_second": "documents/s, uncached, on a fixed sample of 512 documents",
    "query_ms_p50": "ms from query text to ranking at batch 1, median",
    "query_ms_p95": "ms from query text to ranking at batch 1, 95th percentile",
    "query_times_base": "query_ms_p50 by the base model's ms to encode the same queries, in turn; null without a model",
    "reindex": "what a corpus indexed with the base model needs: none, transform or encode",
    "usd": "price of the charged seconds, where a price per hour was given",
}
"""Every key of `CellResult.cost` with its unit."""


def migrate(record: dict[str, Any]) -> dict[str, Any]:
    """Bring a record of an older schema up to `SCHEMA_VERSION`.

    Raises:
        StoreError: the record is newer than this version of AdaptBench, or has no version.
    """
    version = record.get("schema_version")
    if not isinstance(version, int):
        raise StoreError("a record without a schema_version: not written by AdaptBench")
    if version > SCHEMA_VERSION:
        raise StoreError(f"a record of schema {version}, this version reads up to {SCHEMA_VERSION}: update adaptbench")
    while version < SCHEMA_VERSION:
        record = _MIGRATIONS[version](record)
        version += 1
    return record
