"""Fits and cells before they are made: what each is, and what makes two of them the same.

In the identity of a fit (its name ends in the hash): strategy, parts, hyperparameters, `Strategy.version`, training
settings as requested, fingerprints of dataset and model, budget, seed (neither of the two for what does not train), and
under a budget of seconds or usd the machine class; the tuning request, where there is one. A strategy file's content
too, as its author edits it between runs. Not in it: machine, threads, paths, executor, commit, library versions.
Probes and measures belong to the cell.
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
    """One fit to be made. Plain values only, so that it can be pickled, and written as JSON for a cluster."""

    name: str
    """Readable, ending in the hash of its identity; the fit's folder."""
    strategy: str
    """The canonical expression: `hybrid(lora)`."""
    root: str
    """The strategy at the head of the expression, as the registry knows it."""
    dataset: str
    """The dataset as asked for: a name or a folder."""
    dataset_name: str
    model: str
    """The base model as asked for; empty is the default."""
    model_name: str
    seed: int | None
    """None for what does not train."""
    budget: Budget
    training: TrainingSettings
    config: dict[str, Any]
    """Hyperparameters that differ from their defaults."""
    components: tuple[str, ...] = ()
    """Names of the fits it is composed of."""
    needs: tuple[str, ...] = ()
    version: int = 1
    test_split: str = "test"
    fingerprints: dict[str, str] | None = None
    tuning: TuningRequest | None = None
    """The study that chooses the hyperparameters which `config` leaves open; None for the shipped defaults."""

    @property
    def timed(self) -> bool:
        """Whether its result, or that of its study, depends on how fast the machine is, so that it must run alone."""
        studied = self.tuning is not None and self.tuning.study.budget.machine_bound
        return self.budget.machine_bound or studied

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> FitSpec:
        """Rebuild from `to_dict`, also after JSON."""
        values = dict(raw)
        values["budget"] = Budget(**values["budget"])
        values["training"] = TrainingSettings(**values["training"])
        values["components"], values["needs"] = tuple(values["components"]), tuple(values["needs"])
        if values.get("tuning"):
            values["tuning"] = TuningRequest.from_dict(values["tuning"])
        return cls(**values)


@dataclass(frozen=True)
class CellSpec:
    """One fit to be measured on one dataset."""

    name: str
    fit: str
    strategy: str
    dataset: str
    """The dataset as asked for."""
    dataset_name: str
    trained_on: str
    model_name: str
    seed: int | None
    role: str = "target"
    """`target`, or `probe`: a dataset outside the domain, on which forgetting is measured."""
    split: str = "test"
    measures: tuple[str, ...] = ()
    top_k: int = 100
    max_length: int = 0
    fingerprint: str = ""
    """Of the dataset's content."""
    target: str = ""
    """The dataset of the fit, as asked for: its documents join a probe that is near its ceiling."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> CellSpec:
        """Rebuild from `to_dict`, also after JSON."""
        return cls(**{**raw, "measures": tuple(raw["measures"])})


def named(readable: str, identity: Mapping[str, Any]) -> str:
    """Return a name that can be read and is a folder's name everywhere: `lora--scifact--60-steps--s0--1f0c9a2b7e`."""
    text = json.dumps(identity, sort_keys=True, ensure_ascii=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:_HASH_DIGITS]
    plain = re.sub(r"[^A-Za-z0-9.+-]+", "-", readable).strip("-.")[:_READABLE].rstrip("-.")
    return f"{plain}--{digest}"


def relevant_training(settings: TrainingSettings, trains: bool) -> dict[str, Any]:
    """Return the training settings that can change a fit's result: all of them, or only how texts are encoded."""
    values = asdict(settings)
    return values if trains else {name: values[name] for name in ("precision", "max_length")}
