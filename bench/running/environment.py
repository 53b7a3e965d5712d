"""What a fit and a cell are made with: datasets, base models, contexts, and strategies put back from the store."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.budget import Meter
from bench.config.execution import ExecutionSettings
from bench.errors import StoreError
from bench.evaluation.cost import PeakMemory
from bench.expression import parse
from bench.planning.build import build, config_of
from bench.planning.registry import Registry
from bench.planning.specs import named
from bench.progress import Progress, silent
from bench.store.provenance import machine_class
from bench.store.store import Store
from bench.strategy.resources import Resources
from bench.strategy.settings import TrainingSettings
from bench.training.selection import DevelopmentPools
from bench.training.tracking import Tracking

if TYPE_CHECKING:
    from bench.data.dataset import Dataset, SimilarityDataset
    from bench.models.base import BaseModel
    from bench.retrieval.cache import VectorCache
    from bench.strategy.base import Strategy


@dataclass
class JobEnvironment:
    """The means of one process. Use as a context manager: its scratch folder goes when it closes.

    All contexts made here share one meter, so that what a part spends is charged to the fit that asked for it.
    """

    store: Store
    execution: ExecutionSettings = field(default_factory=ExecutionSettings)
    progress: Progress = silent
    fit: str = ""
    """The fit at work, whose training is tracked and whose memory is measured; empty where nothing is fitted."""
    meter: Meter = field(default_factory=Meter)
    pools: DevelopmentPools = field(default_factory=DevelopmentPools, init=False, repr=False)
    _resources: dict[tuple[str, TrainingSettings], Resources] = field(default_factory=dict, init=False, repr=False)
    _datasets: dict[str, Dataset | SimilarityDataset] = field(default_factory=dict, init=False, repr=False)
    _fitted: dict[tuple[str, int], Strategy] = field(default_factory=dict, init=False, repr=False)

    def __enter__(self) -> JobEnvironment:
        self._scratch = tempfile.TemporaryDirectory(prefix="adaptbench-")
        return self

    def __exit__(self, *error: object) -> None:
        self._scratch.cleanup()

    @cached_property
    def registry(self) -> Registry:
        """The strategies that can be named here."""
        return Registry(self.execution.strategy_files)

    @cached_property
    def device(self) -> str:
        """Where tensors live: what was asked for, or the fastest there is."""
        if self.execution.device != "auto":
            return self.execution.device
        import torch

        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"

    @cached_property
    def cache(self) -> VectorCache:
        """The user's cache of vectors, shared by all runs."""
        from bench.retrieval.cache import VectorCache, default_folder

        return VectorCache(default_folder())

    @property
    def calibrations(self) -> Path:
        """Folder of the run for step times measured on this class of machine."""
        machine = machine_class(self.execution.threads, self.execution.device)
        return self.store.folder / "calibrations" / named(machine, {"machine": machine})

    def dataset(self, asked: str) -> Dataset | SimilarityDataset:
        """Read a dataset, once."""
        if asked not in self._datasets:
            from bench.data.locate import load_dataset

            self._datasets[asked] = load_dataset(
                asked, Path(self.execution.data_dir) if self.execution.data_dir else None
            )
        return self._datasets[asked]

    def model(self, asked: str) -> BaseModel:
        """Find a base model; empty is the default."""
        from bench.models.locate import base_model

        return base_model(
            asked or None, pooling=self.execution.pooling, trust_remote_code=self.execution.trust_remote_code
        )

    def resources(self, model: str, training: TrainingSettings) -> Resources:
        """Return the context of a base model under these settings, made once."""
        key = (model, training)
        if key not in self._resources:
            self._resources[key] = Resources(
                model=self.model(model),
                device=self.device,
                training=training,
                meter=self.meter,
                cache=self.cache,
                scratch=Path(self._scratch.name),
                calibrations=self.calibrations,
                progress=self.progress,
                pools=self.pools,
                tracking=self._tracking,
                memory=self.memory if self.fit else None,
            )
        return self._resources[key]

    @cached_property
    def memory(self) -> PeakMemory:
        """Measures the peak memory of the fit at work."""
        return PeakMemory(self.device)

    @property
    def _tracking(self) -> Tracking | None:
        """Where the training of the fit at work is reported to; None where nobody follows."""
        if not self.fit or not self.execution.report_to:
            return None
        return Tracking(self.execution.report_to, self.store.folder / "tracking" / self.fit, self.fit)

    def strategy(self, fit: str, max_length: int | None = None) -> Strategy:
        """Put a fitted strategy back together from the store, its parts first.

        Args:
            fit: name of the fit.
            max_length: tokens a text is cut to, where another dataset asks for another length.

        Raises:
            StoreError: the fit is not there or damaged, or its base model has changed since.
        """
        record = self.store.fit(fit)
        training = settings_of(record.training)
        if max_length is not None:
            training = replace(training, max_length=max_length)
        key = (fit, training.max_length)
        if key not in self._fitted:
            resources = self.resources(record.environment.get("model_source", ""), training)
            if resources.model.fingerprint != record.fingerprints.get("model"):
                raise StoreError(
                    f"{fit}: the base model {record.model!r} is not the one it was fitted on (its content differs)"
                )
            components = [self.strategy(part, max_length) for part in record.components]
            root = parse(record.strategy).name
            config = config_of(root, record.hyperparameters, self.registry)
            fitted = build(self.registry.get(root), config, self.registry, resources, components)
            fitted.load(self.store.artefact(fit))
            self._fitted[key] = fitted
        return self._fitted[key]

    def description(self) -> dict[str, Any]:
        """Return what is recorded of machine and libraries beside every result."""
        from bench.evaluation.cost import environment
        from bench.models import precision

        return environment(self.device) | {
            "machine_class": machine_class(self.execution.threads, self.execution.device),
            "device": self.device,
            "threads": self.execution.threads,
            "jobs": self.execution.jobs,
            "bf16_native": precision.native_bf16(self.device),
        }


def settings_of(values: Mapping[str, Any]) -> TrainingSettings:
    """Rebuild training settings from a record, leaving out what this version no longer has."""
    known = {each.name for each in fields(TrainingSettings)}
    return TrainingSettings(**{name: value for name, value in values.items() if name in known})
