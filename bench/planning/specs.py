"""The specifications of fits and cells, and what makes two of them the same.

The identity of a fit (its name ends in the hash) holds:

- the strategy, its components, hyperparameters and `Strategy.version`, and the content of a strategy file;
- the training settings as requested, and the study that chooses hyperparameters, where there is one;
- the fingerprints of dataset and model;
- budget and seed, which are left out for a strategy that does not train;
- under a budget in seconds or usd, the machine class.

Machine, threads, processes, paths, executor, commit and library versions are recorded, not hashed. Probes and measures
belong to the identity of a cell.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from bench.budget import Budget
from bench.planning.study_spec import TuningRequest
from bench.strategy.settings import TrainingSettings

_HASH_DIGITS = 10
_READABLE = 60


@dataclass(frozen=True)
class FitSpec:
    """One fit to run. It holds plain values only: it can be pickled, and written as JSON for a cluster."""

    name: str
    """Readable, ending in the hash of the identity; also the name of the fit's folder."""
    strategy: str
    """The canonical expression: `hybrid(lora)`."""
    root: str
    """The outermost strategy of the expression, by its name in the registry."""
    dataset: str
    """The dataset as requested: a name or a folder."""
    dataset_name: str
    model: str
    """The base model as requested; empty is the default."""
    model_name: str
    seed: int | None
    """None for a strategy that does not train."""
    budget: Budget
    training: TrainingSettings
    config: dict[str, Any]
    """Hyperparameters that differ from their defaults."""
    components: tuple[str, ...] = ()
    """Names of the fits of its components."""
    needs: tuple[str, ...] = ()
    version: int = 1
    test_split: str = "test"
    fingerprints: dict[str, str] | None = None
    tuning: TuningRequest | None = None
    """The study that chooses the hyperparameters which `config` leaves open; None for the shipped defaults."""
    sources: tuple[str, ...] = ()
    """Datasets whose labels it is fitted on instead of those of `dataset`, whose queries are kept out of them."""
    processes: int = 1
    """How many processes take its steps together; 1 where it takes none. No part of its identity."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> FitSpec:
        """Rebuild a specification from `to_dict`, also after JSON."""
        values = dict(raw)
        values["budget"] = Budget(**values["budget"])
        values["training"] = TrainingSettings(**values["training"])
        for name in ("components", "needs", "sources"):
            values[name] = tuple(values.get(name, ()))
        if values.get("tuning"):
            values["tuning"] = TuningRequest.from_dict(values["tuning"])
        return cls(**values)


@dataclass(frozen=True)
class CellSpec:
    """One fit to measure on one dataset."""

    name: str
    fit: str
    strategy: str
    dataset: str
    """The dataset as requested."""
    dataset_name: str
    trained_on: str
    model_name: str
    seed: int | None
    role: str = "target"
    """`target` (test queries), `development` (development queries), or `probe` (a dataset outside the domain)."""
    split: str = "test"
    measures: tuple[str, ...] = ()
    top_k: int = 100
    max_length: int = 0
    fingerprint: str = ""
    """The fingerprint of the dataset's content."""
    target: str = ""
    """The dataset of the fit, as requested. Its documents join a saturated probe as distractors."""
    samples: tuple[tuple[int, int | None], ...] = ()
    """Of a development cell: seed and label budget (None is all labels) of each sample of development queries."""
    selection_floor: int = 100
    """The number of labels from which development queries are held out."""
    documents: int = 0
    """The number of documents of the dataset; 0 for one without a corpus."""

    @property
    def vectors(self) -> tuple[str, str]:
        """What the vectors of its documents depend on: the fit and the dataset. Cells that agree in it share them."""
        return self.fit, self.dataset

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> CellSpec:
        """Rebuild a specification from `to_dict`, also after JSON."""
        samples = tuple((seed, examples) for seed, examples in raw.get("samples", ()))
        return cls(**{**raw, "measures": tuple(raw["measures"]), "samples": samples})


def named(readable: str, identity: Mapping[str, Any]) -> str:
    """Return a readable name that is valid as a folder's name everywhere: `lora--scifact--60-steps--s0--1f0c9a2b7e`."""
    text = json.dumps(identity, sort_keys=True, ensure_ascii=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:_HASH_DIGITS]
    plain = re.sub(r"[^A-Za-z0-9.+-]+", "-", readable).strip("-.")[:_READABLE].rstrip("-.")
    return f"{plain}--{digest}"


def relevant_training(settings: TrainingSettings, trains: bool) -> dict[str, Any]:
    """Return the training settings that can change a fit's result.

    These are all settings where the strategy trains, and otherwise the two that decide how texts are encoded.
    """
    values = settings.identity()
    return values if trains else {name: values[name] for name in ("precision", "max_length")}
