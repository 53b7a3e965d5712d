"""From a configuration to fits and cells: every strategy on every dataset, model, budget and seed, each made once."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.budget import Budget
from bench.config.execution import ExecutionSettings
from bench.config.schema import TRAINING, ConfigError, RunConfig
from bench.errors import BenchError, unknown
from bench.expression import Expression, ExpressionError, parse
from bench.planning.specs import CellSpec, FitSpec, named, relevant_training
from bench.planning.studies import study_of
from bench.planning.study_spec import TuningRequest
from bench.planning.summary import DatasetSummary, summarize_dataset
from bench.running.tuning.sampling import check_installed
from bench.store.provenance import machine_class
from bench.training.shape import SIZING, turned

if TYPE_CHECKING:
    from bench.data.dataset import Dataset, SimilarityDataset
    from bench.models.base import BaseModel
    from bench.planning.registry import Registry
    from bench.strategy.base import Strategy

_FORMAT = 1
"""Of identities: raised when what is hashed changes, so that old names cannot be mistaken for new ones."""
_PROBING = 2
"""Of probes alone: 2 searches one that is near its ceiling in a larger corpus."""


@dataclass(frozen=True)
class Plan:
    """Fits, parts before what is composed of them, then cells, each of a fit in the plan."""

    fits: tuple[FitSpec, ...]
    cells: tuple[CellSpec, ...]
    datasets: dict[str, DatasetSummary] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    """Sentences for the user: a baseline that was added."""


def plan(
    config: RunConfig,
    registry: Registry | None = None,
    load_dataset: Callable[[str, Path | None], Dataset | SimilarityDataset] | None = None,
    base_model: Callable[..., BaseModel] | None = None,
    role: str = "target",
) -> Plan:
    """Lay out a run. Reads every dataset once and hashes every model, but loads no model.

    Args:
        config: the run.
        registry: the strategies; None finds them.
        load_dataset: reads a dataset by name, given the data folder; None is the catalogue's.
        base_model: finds a base model; None is the harness's own.
        role: of the cells on target datasets; `probe` leaves out what serving costs.

    Raises:
        BenchError: a strategy, option, dataset, split or model is not known; a strategy has too few or too many parts.
    """
    if registry is None:
        from bench.planning.registry import Registry

        registry = Registry(config.strategy_files)
    from bench.data.locate import load_dataset as find_dataset
    from bench.models.locate import base_model as find_model

    planner = Planner(config, registry, load_dataset or find_dataset, base_model or find_model)
    return planner.plan(role)


class Planner:
    """Plans one configuration. Reads each dataset and model once."""

    def __init__(
        self,
        config: RunConfig,
        registry: Registry,
        load_dataset: Callable[[str, Path | None], Dataset | SimilarityDataset],
        base_model: Callable[..., BaseModel],
    ) -> None:
        self.config, self.registry = config, registry
        self._load_dataset, self._base_model = load_dataset, base_model
        self.datasets: dict[str, DatasetSummary] = {}
        self.models: dict[str, BaseModel] = {}
        self.fits: dict[str, FitSpec] = {}
        self.cells: dict[str, CellSpec] = {}
        self.roots: set[str] = set()
        self.digests: dict[Path, str] = {}
        self.owners: set[str] = set()
        self.training = config.training()

    def plan(self, role: str) -> Plan:
        """Return all fits and cells; target cells get this role."""
        config = self.config
        if config.tune_trials:
            check_installed()
        asked = [parse(text) for text in config.strategies]
        notes = []
        if parse(config.baseline) not in asked:
            asked.insert(0, parse(config.baseline))
            notes.append(f"{config.baseline} is added: it is what the others are tested against (--baseline)")
        for expression in asked:
            self.check(expression)
        self.check_overrides()
        targets = [self.dataset(name) for name in config.datasets]
        probes = [self.dataset(name) for name in config.probes]
        adapting = [name for name in self.roots if self.registry.get(name).needs]
        for facts in targets:
            if facts.similarity and adapting:
                raise ConfigError(
                    f"{facts.requested} holds sentence pairs, not a corpus to search: give it as --probes"
                )
        for facts in targets:
            for model in config.model:
                for budget in config.budgets():
                    for seed in config.seeds:
                        for expression in self.ordered(asked, budget, seed):
                            fit = self.fit(expression, facts, model, model, budget, seed)
                            self.cell(fit, facts, role)
                            for probe in probes:
                                if probe.fingerprint != facts.fingerprint:
                                    self.cell(fit, probe, "probe")
        return Plan(tuple(self.fits.values()), tuple(self.cells.values()), self.datasets, tuple(notes))

    def ordered(self, asked: list[Expression], budget: Budget, seed: int) -> Iterable[Expression]:
        """Shuffle under a time budget, so that a machine that slows down over the day favours no strategy."""
        return random.Random(seed).sample(asked, len(asked)) if budget.machine_bound else asked

    # --- strategies -----------------------------------------------------------------------------------------------

    def check(self, expression: Expression) -> None:
        """Refuse what cannot be built, before anything is read."""
        strategy = self.registry.get(expression.name)
        self.roots.add(expression.name)
        self.owners.add(strategy.name)
        components, _ = self.arguments(expression, strategy)
        for part in components:
            self.check(part)
        self.options(expression, strategy)

    def check_overrides(self) -> None:
        """Refuse settings of strategies that are not in this run."""
        for key in self.config.set:
            owner = key.partition(".")[0]
            if owner not in self.owners and owner != TRAINING:
                raise unknown(f"strategy of this run in 'set {key}':", owner, [*self.owners, TRAINING])

    def arguments(self, expression: Expression, strategy: type[Strategy]) -> tuple[list[Expression], str | None]:
        """Return the parts of an expression, and the base model that it names instead of the run's.

        A positional argument is a part where the strategy takes parts, else a base model: `frozen(NAME)`.
        """
        given, wanted = list(expression.arguments), strategy.n_components
        model = None
        if wanted == 0 and len(given) == 1 and given[0].is_name:
            model = given.pop().name
        if len(given) != wanted:
            shape = f"{expression.name}({', '.join(['STRATEGY'] * wanted)})" if wanted else expression.name
            raise ExpressionError(f"{expression}: {expression.name} takes {wanted} part(s): {shape}")
        known = self.registry.names()
        options = dict(expression.options)
        given += [options[key] for key in strategy.component_options if key in options and options[key].name in known]
        return given, model

    def options(self, expression: Expression, strategy: type[Strategy], budget: Budget | None = None) -> dict[str, Any]:
        """Return the hyperparameters that differ from their defaults: what `set` and the expression say.

        A size that is set beside a budget of trainable parameters stays in, default or not: it is not turned then.
        """
        values: dict[str, Any] = dict(self.config.overrides(strategy.name))
        for key, value in expression.options:
            values[key] = value.name if value.is_name else str(value)
        try:
            config = strategy.Config.parse(values)
            sizes = turned(strategy, config, budget or Budget())
            return {**config.changed(), **{name: getattr(config, name) for name in sizes if name in values}}
        except BenchError as error:
            raise ConfigError(f"{expression}: {error}") from error

    def digest(self, path: Path) -> str:
        """Return the SHA-256 of a file that decides a strategy's result, read once a plan."""
        if path not in self.digests:
            with path.open("rb") as stream:
                self.digests[path] = hashlib.file_digest(stream, "sha256").hexdigest()
        return self.digests[path]

    # --- datasets and models --------------------------------------------------------------------------------------

    def dataset(self, asked: str) -> DatasetSummary:
        """Read a dataset and keep what planning needs of it."""
        if asked not in self.datasets:
            found = self._load_dataset(asked, Path(self.config.data_dir) if self.config.data_dir else None)
            self.datasets[asked] = summarize_dataset(asked, found, self.config.split, self.config.max_length)
        return self.datasets[asked]

    def model(self, asked: str) -> BaseModel:
        """Find a base model."""
        if asked not in self.models:
            self.models[asked] = self._base_model(asked or None, trust_remote_code=self.config.trust_remote_code)
        return self.models[asked]

    # --- fits and cells -------------------------------------------------------------------------------------------

    def fit(
        self,
        expression: Expression,
        facts: DatasetSummary,
        model: str,
        axis: str,
        budget: Budget,
        seed: int,
        tuning: TuningRequest | None = None,
    ) -> FitSpec:
        """Return the fit of an expression, its parts planned first.

        Args:
            expression: what to fit.
            facts: the target dataset.
            model: the base model in force here.
            axis: the run's base model, in whose table the fit stands: another one where the expression names a model.
            budget: what it may use.
            seed: of this repetition.
            tuning: the study of what this is a part of; None asks for its own, where the run tunes.
        """
        strategy = self.registry.get(expression.name)
        arguments, own_model = self.arguments(expression, strategy)
        model = own_model or model
        if tuning is None and self.config.tune_trials:
            tuning = TuningRequest(study_of(self, expression, facts, model, axis, budget), self.config.tune_trials)
        requests: list[TuningRequest | None] = tuning.of_components if tuning else [None] * len(arguments)
        components = [
            self.fit(part, facts, model, axis, budget, seed, request)
            for part, request in zip(arguments, requests, strict=True)
        ]
        trains = bool(strategy.needs) or any(part.seed is not None for part in components)
        if tuning is not None and not tuning.node.dimensions:
            tuning = None
        if not trains:  # nothing but the labels that tune it can then make two budgets differ
            budget = budget if tuning and budget.examples is not None else Budget(usd_per_hour=budget.usd_per_hour)
        repetition = seed if trains else None
        training = replace(self.training, max_length=facts.max_length)
        config = self.options(expression, strategy, budget)
        fingerprints = {"dataset": facts.fingerprint, "model": self.model(model).fingerprint}
        identity = {
            "format": _FORMAT,
            "strategy": strategy.name,
            "version": strategy.version,
            "parts": [part.name for part in components],
            "config": config,
            "training": relevant_training(training, trains),
            "dataset": [facts.name, facts.fingerprint],
            "model": [self.model(axis).name, fingerprints["model"]],
            "budget": budget.limits | ({"usd_per_hour": budget.usd_per_hour} if budget.usd is not None else {}),
            "seed": repetition,
            "split": self.config.split,
        }
        if budget.machine_bound:
            identity["machine"] = machine_class(ExecutionSettings.of(self.config).threads, self.config.device)
        if budget.trainable_params is not None and strategy.trains != "none":
            identity["sizing"] = SIZING
        if inputs := strategy.inputs(strategy.Config.parse(config)):
            identity["inputs"] = [self.digest(path) for path in inputs]
        if code := self.registry.entry(expression.name).code:
            identity["code"] = fingerprints["code"] = code[:16]
        if tuning is not None:
            identity["tuning"] = [tuning.study.name, tuning.path, tuning.trials]
        details = [str(expression), facts.name, *([budget.describe()] if trains else [])]
        spec = FitSpec(
            name=named("--".join([*details, *([f"s{seed}"] if trains else [])]), identity),
            strategy=str(expression),
            root=expression.name,
            dataset=facts.requested,
            dataset_name=facts.name,
            model=model,
            model_name=self.model(axis).name,
            seed=repetition,
            budget=budget,
            training=training,
            config=config,
            components=tuple(part.name for part in components),
            needs=tuple(sorted(strategy.needs)),
            version=strategy.version,
            test_split=self.config.split,
            fingerprints=fingerprints,
            tuning=tuning,
        )
        return self.fits.setdefault(spec.name, spec)

    def cell(self, fit: FitSpec, facts: DatasetSummary, role: str) -> CellSpec:
        """Return the cell of a fit on a dataset."""
        config = self.config
        measures = () if facts.similarity else config.measures
        identity = {
            "format": _FORMAT,
            "fit": fit.name,
            "dataset": [facts.name, facts.fingerprint],
            "role": role,
            "split": config.split,
            "measures": sorted(measures),
            "top_k": config.top_k,
            "max_length": facts.max_length,
        }
        if role == "probe":
            identity["searched"] = _PROBING
        where = "" if fit.seed is None else f"--{fit.budget.describe()}--s{fit.seed}"
        probe = f"--on-{facts.name}" if role == "probe" else ""
        spec = CellSpec(
            name=named(f"{fit.strategy}--{fit.dataset_name}{probe}{where}", identity),
            fit=fit.name,
            strategy=fit.strategy,
            dataset=facts.requested,
            dataset_name=facts.name,
            trained_on=fit.dataset_name,
            model_name=fit.model_name,
            seed=fit.seed,
            role=role,
            split=config.split,
            measures=measures,
            top_k=config.top_k,
            max_length=facts.max_length,
            fingerprint=facts.fingerprint,
            target=fit.dataset,
        )
        return self.cells.setdefault(spec.name, spec)
