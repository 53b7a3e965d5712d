"""What a fit and a cell are made with: datasets, base models, contexts, and strategies put back from the store."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.budget import Meter
from bench.errors import StoreError
from bench.expression import parse
from bench.planning.registry import Registry
from bench.planning.specs import named
from bench.store.provenance import cores, machine_class
from bench.store.store import Store
from bench.strategy.resources import Context, Progress, TrainingSettings, silent

if TYPE_CHECKING:
    from bench.config.schema import RunConfig
    from bench.data.dataset import Dataset, SimilarityDataset
    from bench.models.base import BaseModel
    from bench.retrieval.cache import VectorCache
    from bench.strategy.base import Strategy
    from bench.training.tracking import Tracking


@dataclass(frozen=True)
class ExecutionSettings:
    """How a run does its work: recorded where it matters, never part of an identity. Plain values, can be pickled."""

    data_dir: str | None = None
    strategy_files: tuple[str, ...] = ()
    device: str = "auto"
    threads: int = 0
    """Of a fit or cell; 0 leaves the libraries' own choice."""
    trust_remote_code: bool = False
    pooling: str | None = None
    """Overrides the base model's pooling, so that `bench check` can be seen to fail."""
    jobs: int = 1
    report_to: tuple[str, ...] = ()
    """Trackers that follow each training."""

    @classmethod
    def of(cls, config: RunConfig) -> ExecutionSettings:
        """Return the setup that a configuration asks for; cores are shared among its jobs."""
        return cls(
            data_dir=config.data_dir,
            strategy_files=config.strategy_files,
            device=config.device,
            threads=config.threads or max(1, cores() // config.jobs),
            trust_remote_code=config.trust_remote_code,
            jobs=config.jobs,
            report_to=config.report_to,
        )


@dataclass
class JobEnvironment:
    """The means of one process. Use as a context manager: its scratch folder goes when it closes.

    All contexts made here share one meter, so that what a part spends is charged to the fit that asked for it.
    """

    store: Store
    execution: ExecutionSettings = field(default_factory=ExecutionSettings)
    progress: Progress = silent
    meter: Meter = field(default_factory=Meter)
    notes: list[str] = field(default_factory=list)
    _contexts: dict[tuple[str, TrainingSettings], Context] = field(default_factory=dict, init=False, repr=False)
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
            from bench.data.catalogue import load_dataset

            self._datasets[asked] = load_dataset(
                asked, Path(self.execution.data_dir) if self.execution.data_dir else None
            )
        return self._datasets[asked]

    def model(self, asked: str) -> BaseModel:
        """Find a base model; empty is the default."""
        from bench.models.base import base_model

        return base_model(
            asked or None, pooling=self.execution.pooling, trust_remote_code=self.execution.trust_remote_code
        )

    def context(self, model: str, training: TrainingSettings) -> Context:
        """Return the context of a base model under these settings, made once."""
        key = (model, training)
        if key not in self._contexts:
            self._contexts[key] = Context(
                model=self.model(model),
                device=self.device,
                training=training,
                meter=self.meter,
                cache=self.cache,
                scratch=Path(self._scratch.name),
                calibrations=self.calibrations,
                progress=self.progress,
                notes=self.notes,
            )
        return self._contexts[key]

    def tracking(self, fit: str) -> Tracking | None:
        """Return where the training of a fit is reported to; None where nobody follows."""
        from bench.training.tracking import Tracking

        return (
            Tracking(self.execution.report_to, self.store.folder / "tracking" / fit, fit)
            if self.execution.report_to
            else None
        )

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
            context = self.context(record.environment.get("model_source", ""), training)
            if context.model.fingerprint != record.fingerprints.get("model"):
                raise StoreError(
                    f"{fit}: the base model {record.model!r} is not the one it was fitted on (its content differs)"
                )
            strategy = self.registry.get(parse(record.strategy).name)
            components = [self.strategy(part, max_length) for part in record.components]
            fitted = strategy(strategy.Config.parse(record.hyperparameters), context, components)
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


def encoder_of(strategy: Strategy) -> Any:
    """Return the encoder that embeds documents for a strategy: its own, the base model's or a part's; None for none."""
    from bench.encoders.base import BaseEncoder

    own = getattr(strategy, "encoder", None)
    if own is not None or isinstance(strategy, BaseEncoder):
        return own or strategy.context.encoder
    return next((found for part in strategy.components if (found := encoder_of(part)) is not None), None)


@contextmanager
def merged(strategy: Strategy) -> Iterator[None]:
    """Fold attachments into the weights, those of parts that serve too, as one would before serving.

    `index` and `search` fold and unfold at each call; inside this block they find it done.
    """
    with ExitStack() as stack:
        for each in {id(each): each for each in _with_components(strategy)}.values():  # a part may serve twice
            if hasattr(each, "merged"):
                stack.enter_context(each.merged())
                each.merged = nullcontext
                stack.callback(delattr, each, "merged")
        yield


@contextmanager
def serving(strategy: Strategy) -> Iterator[None]:
    """Keep every encoder of a strategy ready between calls, as a server does; without the vector cache, and merged."""
    with ExitStack() as stack:
        stack.enter_context(merged(strategy))
        stack.enter_context(uncached(strategy))
        stages = list(_with_components(strategy))
        models = [*stages, *map(encoder_of, stages)]  # a re-ranker has a model beside its part's encoder
        for each in {id(each): each for each in models if hasattr(each, "ready")}.values():
            stack.enter_context(each.ready())
        yield


@contextmanager
def uncached(strategy: Strategy) -> Iterator[None]:
    """Take the vector cache from a strategy and the parts that serve for the length of a block."""
    contexts = {id(each.context): each.context for each in _with_components(strategy)}
    caches = {key: context.cache for key, context in contexts.items()}
    for context in contexts.values():
        context.cache = None
    try:
        yield
    finally:
        for key, context in contexts.items():
            context.cache = caches[key]


def _with_components(strategy: Strategy) -> Iterator[Strategy]:
    yield strategy
    for part in strategy.serving_components:
        yield from _with_components(part)
