"""What the process of one job has: base models, resources, and fitted strategies from the store. No dataset."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.budget import Meter
from bench.config.execution import ExecutionSettings
from bench.errors import BenchError, StoreError
from bench.evaluation.cost import PeakMemory
from bench.expression import parse
from bench.models.device import resolved
from bench.planning.build import build, config_of
from bench.planning.registry import Registry
from bench.planning.specs import named
from bench.progress import Progress, silent
from bench.scratch import scratch_folder
from bench.store.checkpoint_mark import CHECKPOINTS
from bench.store.checkpoints import CheckpointFolder
from bench.store.provenance import machine_class, versions
from bench.store.store import Store
from bench.strategy.code import shipped_digest
from bench.strategy.ranks import OneProcess, Ranks
from bench.strategy.resources import Resources
from bench.strategy.settings import TrainingSettings
from bench.training.selection import DevelopmentPools
from bench.training.tracking import Tracking

if TYPE_CHECKING:
    from bench.models.base import BaseModel
    from bench.retrieval.cache import VectorCache
    from bench.strategy.base import Strategy


@dataclass
class JobEnvironment:
    """What the process of one job has. A context manager: its scratch folder is removed when it closes.

    All resources from here share one meter, so that the work of a component is charged to the fit that uses it.
    """

    store: Store
    execution: ExecutionSettings = field(default_factory=ExecutionSettings)
    progress: Progress = silent
    fit: str = ""
    """The fit that runs here, whose training is tracked and whose memory is measured; empty for a cell or a study."""
    ranks: Ranks = field(default_factory=OneProcess)
    """The processes of the fit that runs here."""
    meter: Meter = field(init=False)
    pools: DevelopmentPools = field(default_factory=DevelopmentPools, init=False, repr=False)
    _resources: dict[tuple[str, TrainingSettings], Resources] = field(default_factory=dict, init=False, repr=False)
    _fitted: dict[tuple[str, int], Strategy] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        self.meter = Meter(self.ranks.size)

    def __enter__(self) -> JobEnvironment:
        self._stack = ExitStack()
        self._scratch = self._stack.enter_context(scratch_folder())
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    @cached_property
    def registry(self) -> Registry:
        """The strategies, objectives and representations that have a name here."""
        return Registry(self.execution.strategy_files, self.execution.from_record)

    @cached_property
    def device(self) -> str:
        """The device of tensors: the requested one, or the fastest of this machine."""
        return resolved(self.execution.device)

    @cached_property
    def cache(self) -> VectorCache:
        """The user's cache of vectors, shared by all runs."""
        from bench.retrieval.cache import VectorCache, default_folder

        return VectorCache(default_folder())

    @property
    def calibrations(self) -> Path:
        """The folder of the run for step times that were measured on this class of machine."""
        machine = self._machine_class
        return self.store.folder / "calibrations" / named(machine, {"machine": machine})

    @property
    def _machine_class(self) -> str:
        """What decides the speed of a fit here."""
        return machine_class(self.execution.threads, self.execution.device, self.execution.processes)

    def model(self, name: str) -> BaseModel:
        """Return a base model; an empty name is the default."""
        from bench.models.endpoint import PREFIX
        from bench.models.locate import base_model

        if self.execution.from_record and name.startswith(PREFIX):
            raise BenchError(f"a record names the endpoint {name}. Texts and your key would go there: it is not used")
        return base_model(
            name or None,
            pooling=self.execution.pooling,
            trust_remote_code=self.execution.trust_remote_code,
            weights=self.execution.base_weights,
        )

    def resources(self, model: str, training: TrainingSettings) -> Resources:
        """Return the resources around a base model under these settings, built once."""
        key = (model, training)
        if key not in self._resources:
            self._resources[key] = Resources(
                model=self.model(model),
                device=self.device,
                training=training,
                meter=self.meter,
                cache=self.cache,
                scratch=self._scratch,
                calibrations=self.calibrations,
                progress=self.progress,
                pools=self.pools,
                tracking=self._tracking,
                memory=self.memory if self.fit else None,
                ranks=self.ranks,
            )
        return self._resources[key]

    @cached_property
    def checkpoints(self) -> CheckpointFolder | None:
        """The checkpoints of the fit that runs here; None for a cell or a study, and if checkpoints are off."""
        execution = self.execution
        if not self.fit or not execution.checkpoint_every:
            return None
        identity = {
            "fit": self.fit,
            "code": shipped_digest(),
            "machine": self._machine_class,
            "processes": str(self.ranks.size),
            "versions": ", ".join(f"{name} {installed}" for name, installed in versions().items()),
        }
        folder = self.store.folder / CHECKPOINTS / self.fit
        return CheckpointFolder(
            folder,
            identity,
            execution.checkpoint_every,
            self.store.require_writable,
            lambda text: self.progress("note", {"text": text}),
        )

    @cached_property
    def memory(self) -> PeakMemory:
        """Measures the peak memory of the fit that runs here."""
        return PeakMemory(self.device)

    @property
    def _tracking(self) -> Tracking | None:
        """The trackers of the fit that runs here; None without any."""
        if not self.fit or not self.execution.report_to:
            return None
        return Tracking(self.execution.report_to, self.store.folder / "tracking" / self.fit, self.fit)

    def strategy(self, fit: str, max_length: int | None = None) -> Strategy:
        """Return a fitted strategy from the store, after its components.

        Args:
            fit: the name of the fit.
            max_length: tokens after which a text is cut, where another dataset needs another length.

        Raises:
            StoreError: the fit is missing or damaged, or its base model has changed since.
        """
        record = self.store.fit(fit)
        training = training_settings(record.training)
        if max_length is not None:
            training = replace(training, max_length=max_length)
        key = (fit, training.max_length)
        if key not in self._fitted:
            resources = self.resources(record.environment.get("model_source", ""), training)
            if resources.model.fingerprint != record.fingerprints.get("model"):
                raise StoreError(
                    f"{fit}: the base model {record.model!r} is not the one it was fitted on (its content differs)"
                )
            components = [self.strategy(component, max_length) for component in record.components]
            root = parse(record.strategy).name
            config = config_of(root, record.hyperparameters, self.registry)
            fitted = build(self.registry.get(root), config, self.registry, resources, components)
            fitted.load(self.store.artefact(fit))
            self._fitted[key] = fitted
        return self._fitted[key]

    def description(self) -> dict[str, Any]:
        """Return the facts about machine and libraries that every result records."""
        from bench.evaluation.cost import environment
        from bench.models import precision

        return environment(self.device) | {
            "machine_class": self._machine_class,
            "device": self.device,
            "threads": self.execution.threads,
            "jobs": self.execution.jobs,
            "processes": self.ranks.size,
            "bf16_native": precision.native_bf16(self.device),
        }


def training_settings(values: Mapping[str, Any]) -> TrainingSettings:
    """Return the training settings of a record, without those that this version no longer has."""
    known = {each.name for each in fields(TrainingSettings)}
    return TrainingSettings(**{name: value for name, value in values.items() if name in known})
