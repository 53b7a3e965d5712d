"""The records that a run leaves: what a fit cost and learned, and what a cell measured.

They are pydantic models, and their fields document every key of `fit.json` and `result.json`. Importing this module
loads pydantic and nothing larger, so that every layer can read records without loading a model.

A record on disk also carries a `digest`: the SHA-256 of everything else in it. Reading checks it. Records of schema 1
have none. Older records are migrated by the pure functions in `_MIGRATIONS`; newer ones are refused.
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
from collections.abc import Callable, Mapping
from numbers import Real
from pathlib import Path
from typing import Any, Literal, Self, TypeGuard, get_args

import pydantic
from pydantic import Field

from bench.errors import StoreError, describe_validation

SCHEMA_VERSION = 2
DIGEST = "digest"
"""The key that holds the digest of a record."""

Status = Literal["ok", "over_budget", "failed", "diverged", "no_effect", "oom", "timeout", "not_applicable"]
STATUSES: tuple[str, ...] = get_args(Status)
USABLE: frozenset[str] = frozenset({"ok", "over_budget"})
"""Statuses whose scores mean something. The report marks `over_budget` scores and never ranks them as equals."""
SETTLED: frozenset[str] = USABLE | {"not_applicable"}
"""Statuses of jobs that did not fail."""

PRIMARY_MEASURE = "ndcg@10"
MEASURES: tuple[str, ...] = (
    "ndcg@10", "ndcg@100", "mrr@10", "map@100", "recall@1", "recall@5", "recall@10", "recall@100", "precision@10",
)  # fmt: skip


def _name_components(record: dict[str, Any]) -> dict[str, Any]:
    """Return a record of schema 2.

    Schema 1 called the components of a composite its parts, and the noise of virtual tokens their `start`.
    """
    renamed = dict(record)
    if "parts" in renamed:
        renamed["components"] = renamed.pop("parts")
    hyperparameters = renamed.get("hyperparameters")
    if isinstance(hyperparameters, dict) and isinstance(hyperparameters.get("start"), float):
        renamed["hyperparameters"] = {
            ("noise" if key == "start" else key): each for key, each in hyperparameters.items()
        }
    return renamed


_MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {1: _name_components}
"""Schema -> the function that returns the same record in the next schema."""


class StoredModel(pydantic.BaseModel):
    """Base of everything that a run writes as JSON. A key that the model does not declare is an error."""

    model_config = pydantic.ConfigDict(extra="forbid", defer_build=True)

    @classmethod
    def from_json_values(cls, values: Mapping[str, Any]) -> Self:
        """Return the model that parsed JSON describes. Types are checked strictly: "1" is not a number.

        Raises:
            StoreError: a key is missing, unknown or of the wrong type; the message names the key.
        """
        try:
            return cls.model_validate(dict(values), strict=True)
        except pydantic.ValidationError as error:
            raise StoreError(f"not a {cls.__name__}: {describe_validation(error, cls.model_fields)}") from error


class CurvePoint(StoredModel):
    """One point of a learning curve. A point holds a training loss, a development score, or both."""

    step: int
    seconds: float
    """Charged seconds since the fit began."""
    loss: float | None = None
    """Mean training loss since the previous point (contrastive: in nats)."""
    learning_rate: float | None = None
    dev: float | None = None
    """nDCG@10 on the fixed development pool."""


class FitReport(StoredModel):
    """What `Strategy.fit` returns: what it spent, what it chose and how it went.

    A strategy that trains nothing returns `FitReport()`. Fields may be assigned while training goes on. The harness's
    meter adds the charged seconds, not the strategy.
    """

    steps: int = 0
    planned_steps: int = 0
    """Optimiser steps that the schedule was laid out for. Another limit may stop the fit earlier."""
    examples: int = 0
    """Labelled (query, document) pairs that were used, development pairs included."""
    pairs_per_step: float = 0.0
    """Labelled pairs that an optimiser step uses: a batch, or the part of it that is no sampled negative."""
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
    """nDCG@10 on the development pool at `best_step`; None where no checkpoint was selected."""
    last_dev: float | None = None
    """nDCG@10 on the development pool after the last step that was evaluated."""
    base_dev: float | None = None
    """nDCG@10 on the development pool before the first step; of a fusion, the score of the base model alone.

    Selection never takes step 0, but `dev_prefers_base` says where step 0 was best.
    """
    dev_noise: float | None = None
    """Standard error of `best_dev - base_dev` over development queries."""
    train_measure: float | None = None
    """nDCG@10 of the result on a sample of training queries, over a pool built like the development pool."""
    reader_tokens: int = 0
    """Tokens that a reader read to teach the strategy."""
    reader_seconds: float = 0.0
    """Seconds that the reader took: a part of what the meter charges."""
    chosen: dict[str, Any] = Field(default_factory=dict)
    """What was chosen on development data: fusion weights, k1 and b, a prompt."""
    curve: list[CurvePoint] = Field(default_factory=list)
    diverged: str = ""
    """Why the training counts as diverged (a loss that is not finite), else empty."""
    notes: list[str] = Field(default_factory=list)
    """Sentences for the report: a fallback that was taken, data that was left out."""

    @property
    def dev_prefers_base(self) -> bool | None:
        """Whether the development pool scored the untrained model at least as high as the best checkpoint."""
        if self.best_dev is None or self.base_dev is None:
            return None
        return self.base_dev >= self.best_dev


class StoredFile(StoredModel):
    """A file beside a record, as it was when the record was written."""

    bytes: int
    sha256: str


class Record(StoredModel):
    """What `FitRecord` and `CellResult` share: the schema version, writing and reading."""

    schema_version: int = SCHEMA_VERSION

    @pydantic.field_validator("cost", check_fields=False)
    @classmethod
    def _costs_are_numbers(cls, cost: dict[str, Any]) -> dict[str, Any]:
        for key in COST_UNITS.keys() - _NO_NUMBERS:
            if cost.get(key) is not None and not _is_number(cost[key]):
                raise ValueError(f"{key} is no number")
        return cost

    @pydantic.field_validator("budget", check_fields=False)
    @classmethod
    def _limits_are_numbers(cls, budget: dict[str, Any]) -> dict[str, Any]:
        limits = budget.get("limits") or {}
        values: list[Any] = [*limits.values()] if isinstance(limits, Mapping) else [None]
        if not all(_is_number(each) and math.isfinite(each) for each in values):
            raise ValueError("limits are no numbers")
        return budget

    def to_dict(self) -> dict[str, Any]:
        """Return what is written: JSON values only, with the digest."""
        return with_digest(self.model_dump())

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the record that parsed JSON describes, after migrating it if it is older.

        Raises:
            StoreError: a newer version wrote the record, its digest differs, or a key is missing, unknown or of the
                wrong type.
        """
        current = dict(values)
        if schema_of(current) == SCHEMA_VERSION:
            current = without_digest(current)
        return cls.from_json_values(migrate(current))


class FitRecord(Record):
    """`fit.json`: one fit, what made it and what it cost. The artefact lies beside it in `model/`."""

    fit: str
    """Readable name ending in a hash; also the name of the folder."""
    strategy: str
    """The expression as requested: `lora`, `hybrid(lora)`."""
    dataset: str
    model: str
    seed: int | None
    """None for a strategy that does not train."""
    status: Status
    reason: str = ""
    """Why the status is not `ok`; else empty."""
    components: list[str] = Field(default_factory=list)
    """Names of the fits that a composite is made of."""
    trains: str = "none"
    """What training changes, as the strategy declares it: `none`, `encoder`, ..."""
    reindex: str = "none"
    """What an index built with the base model needs: `none`, `transform` or `encode`."""
    strategy_version: int = 1
    hyperparameters: dict[str, Any] = Field(default_factory=dict)
    training: dict[str, Any] = Field(default_factory=dict)
    """Training settings that all strategies of a comparison share (batch, temperature, schedule, dropout)."""
    budget: dict[str, Any] = Field(default_factory=dict)
    """`limits` as requested, `spent` per unit, `stopped_by`, `total_seconds` with the components."""
    report: dict[str, Any] = Field(default_factory=dict)
    """The keys of `FitReport` except `curve` (which is `curve.parquet`), `dev_prefers_base`, and `data`: counts of
    labels, training pairs and development queries."""
    cost: dict[str, Any] = Field(default_factory=dict)
    """The keys of `COST_UNITS` that the fit determines, and `total_fit_seconds` with the components."""
    tuning: dict[str, Any] = Field(default_factory=dict)
    """The summary of the study that chose the hyperparameters (`bench.store.studies.Study.summary`), if any."""
    train_relevant: list[str] = Field(default_factory=list)
    """Only in records of schema 1: the documents that were a positive in training. Later fits keep this list in
    `train_relevant.parquet`; `Store.train_relevant` reads either."""
    fingerprints: dict[str, str] = Field(default_factory=dict)
    """Hashes of the content of dataset and model."""
    environment: dict[str, Any] = Field(default_factory=dict)
    """Recorded, not hashed: machine, threads, library versions, contention."""
    files: dict[str, StoredFile] = Field(default_factory=dict)
    """Relative path -> size and content of every file beside the record."""


class CellResult(Record):
    """`result.json`: one fit measured on one dataset. Its keys are flat, so that it is one row of a table."""

    cell: str
    """Readable name ending in a hash; also the name of the folder."""
    fit: str
    strategy: str
    dataset: str
    split: str
    model: str
    seed: int | None
    status: Status
    reason: str = ""
    role: str = "target"
    """`target` (the domain), `development` (its development queries, on which strategies are chosen) or `probe` (a
    dataset outside the domain, on which forgetting is measured)."""
    trained_on: str = ""
    """The dataset of the fit; equal to `dataset` for a target."""
    hyperparameters: dict[str, Any] = Field(default_factory=dict)
    budget: dict[str, Any] = Field(default_factory=dict)
    metrics: dict[str, float] = Field(default_factory=dict)
    """Measure -> mean over all judged queries of the split. A query without results counts as 0."""
    strata: dict[str, dict[str, float]] = Field(default_factory=dict)
    """`seen` and `unseen` -> the same means over the queries of that stratum, and their number `n`."""
    n_queries: int = 0
    n_docs: int = 0
    cost: dict[str, Any] = Field(default_factory=dict)
    """The keys of `COST_UNITS`."""
    forgetting: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Probe -> `measure, before, after, delta, ci_low, ci_high, p, n`; `delta = after - before`.

    The cell of a probe holds that probe. `bench.store.store.Store.results` joins the probes of a fit into the row of
    its target.
    """
    drift: dict[str, Any] = Field(default_factory=dict)
    """How far a trained encoder moved from the base model, on the target: `documents_cosine`, `documents_cka`,
    `queries_cosine`, `queries_cka`. `old_index` scores new queries against the base model's vectors: the keys of a
    probe, `stratum` and `encoded_again`."""
    overfitting: dict[str, Any] = Field(default_factory=dict)
    """`train_measure`, `dev_measure`, `best_step`, `dev_prefers_base`."""
    notes: list[str] = Field(default_factory=list)
    fingerprints: dict[str, str] = Field(default_factory=dict)
    environment: dict[str, Any] = Field(default_factory=dict)
    files: dict[str, StoredFile] = Field(default_factory=dict)

    @property
    def usable(self) -> bool:
        """Whether the scores mean something."""
        return self.status in USABLE


COST_UNITS: dict[str, str] = {
    "fit_seconds": "s charged to the fit: steps, mining, encoding of training texts, search for weights",
    "train_seconds": "s inside optimiser steps",
    "reader_tokens": "tokens that a reader read to teach the strategy; absent where none did",
    "reader_seconds": "s that this reader took, a part of fit_seconds; absent where none did",
    "tuning_seconds": "s of wall clock of the study that chose the hyperparameters; all seeds share it",
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
    "text_read": "part of the strategy -> share of the corpus's tokens that it reads, on a sample of 512 documents",
    "reindex": "what a corpus indexed with the base model needs: none, transform or encode",
    "usd": "price of the charged seconds, where a price per hour was given",
}
"""Every key of `CellResult.cost` with its unit."""
_NO_NUMBERS = {"reindex", "text_read"}
"""Keys of it whose values are no numbers."""


def _is_number(value: Any) -> TypeGuard[float]:
    """Whether a value is a number that a float can hold."""
    if isinstance(value, int):
        return abs(value) <= sys.float_info.max
    return isinstance(value, Real)


def schema_of(values: Mapping[str, Any]) -> int:
    """Return the schema version of a record.

    Raises:
        StoreError: it has none, or a newer version of AdaptBench wrote it.
    """
    version = values.get("schema_version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise StoreError("a record without a schema_version: not written by AdaptBench")
    if version > SCHEMA_VERSION:
        raise StoreError(f"a record of schema {version}, this version reads up to {SCHEMA_VERSION}: update adaptbench")
    return version


def migrate(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record in the current schema, after every migration that it has not yet been through.

    Raises:
        StoreError: it has no schema version, or a newer version of AdaptBench wrote it.
    """
    current = dict(values)
    for version in range(schema_of(current), SCHEMA_VERSION):
        current = _MIGRATIONS[version](current) | {"schema_version": version + 1}
    return current


def digest_of(values: Mapping[str, Any]) -> str:
    """Return the SHA-256 of JSON values in their canonical form: keys sorted, no spaces, ASCII."""
    canonical = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def with_digest(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a file shall hold: the values in the form in which JSON gives them back, and their digest."""
    written: dict[str, Any] = json.loads(json.dumps(dict(values), default=_json_value))
    return {**written, DIGEST: digest_of(written)}


def without_digest(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that a file holds, after checking them against their digest.

    Raises:
        StoreError: the digest is missing, or the content was changed after it was written.
    """
    content = {key: value for key, value in values.items() if key != DIGEST}
    if DIGEST not in values:
        raise StoreError("its digest is missing")
    if values[DIGEST] != digest_of(content):
        raise StoreError("its content does not match its digest")
    return content


def _json_value(value: Any) -> Any:
    """Return the JSON form of a NumPy scalar, a path or a set, which have none of their own."""
    if hasattr(value, "item"):
        return value.item()
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, set | frozenset):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} cannot be written to a record")
