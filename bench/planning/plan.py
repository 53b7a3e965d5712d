"""From a configuration to a plan: studies, fits and cells of every strategy, dataset, model, budget and seed.

A fit that several strategies share, such as a component, is planned once.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bench.budget import Budget
from bench.config.execution import ExecutionSettings
from bench.config.schema import TRAINING, ConfigError, RunConfig
from bench.data.locate import load_dataset
from bench.data.sources import combined_fingerprint
from bench.encoders.strategy import EncoderStrategy
from bench.errors import BenchError, NotApplicableError, unknown
from bench.expression import Expression, ExpressionError, parse
from bench.models.base import BaseModel
from bench.models.checks import architecture_of, gives_token_vectors, has_language_model_head, model_notes
from bench.models.locate import base_model
from bench.models.quantisation import require_quantised
from bench.planning.build import (
    SOURCE_SIGN,
    SOURCES,
    START,
    axis_versions,
    canonical,
    code_of,
    components_of,
    config_of,
    files_of,
    is_single_vector,
    needs_of,
    objectives_of,
    representation_of,
    shown_to,
    sources_in,
)
from bench.planning.counterpart import around_frozen
from bench.planning.naming import distinct_names
from bench.planning.registry import Registry
from bench.planning.specs import CellSpec, FitSpec, named, relevant_training
from bench.planning.study_spec import SEED, Node, StudySpec, TuningRequest
from bench.planning.summary import DatasetSummary, SourceSummary, summarize_dataset, summarize_source
from bench.store.provenance import machine_class
from bench.strategy.base import Needs, Strategy
from bench.strategy.hyperparameters import StrategyConfig
from bench.training.sizing import SIZING, size_options

_FORMAT = 1
"""The format of identities. Raise it when their content changes, so that no old name means something new."""
_PROBING = 2
"""The format of a probe's identity. Since 2, a saturated probe is searched in a larger corpus."""


@dataclass(frozen=True)
class Plan:
    """The fits and cells of a run. Components stand before their composites, and every cell has its fit in the plan."""

    fits: tuple[FitSpec, ...]
    cells: tuple[CellSpec, ...]
    datasets: dict[str, DatasetSummary] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    """Sentences for the user, such as that the baseline was added."""

    @property
    def studies(self) -> tuple[StudySpec, ...]:
        """The studies that choose hyperparameters of these fits, each once."""
        return tuple({fit.tuning.study.name: fit.tuning.study for fit in self.fits if fit.tuning is not None}.values())


def plan(config: RunConfig, role: str = "target", pooling: str | None = None) -> Plan:
    """Return the plan of a configuration. Reads every dataset once and hashes every model, but loads no model.

    Args:
        config: the run.
        role: the role of the cells on target datasets; `probe` leaves out the cost of serving.
        pooling: overrides the pooling of the base models.

    Raises:
        BenchError: a strategy, option, dataset, split or model is unknown, or the number of components is wrong.
    """
    return Planner(config, Registry(config.strategy_files), pooling).plan(role)


class Planner:
    """Plans one configuration. Reads each dataset and each model once.

    Args:
        config: the run.
        registry: the strategies.
        pooling: overrides the pooling of the base models.
    """

    def __init__(self, config: RunConfig, registry: Registry, pooling: str | None = None) -> None:
        self.config, self.registry, self.pooling = config, registry, pooling
        self.training = config.training()
        self.datasets: dict[str, DatasetSummary] = {}
        self.models: dict[str, BaseModel] = {}
        self.sources: dict[str, SourceSummary] = {}
        self.model_notes: list[str] = []
        self.digests: dict[Path, str] = {}
        self.fits: dict[str, FitSpec] = {}
        self.cells: dict[str, CellSpec] = {}

    def plan(self, role: str) -> Plan:
        """Return all fits and cells; cells on target datasets get this role."""
        config = self.config
        expressions = list(dict.fromkeys(self.canonical(text) for text in config.strategies))
        baseline = self.canonical(config.baseline)
        notes = []
        if baseline not in expressions:
            expressions.insert(0, baseline)
            notes.append(f"{config.baseline} is added: the other strategies are tested against it (--baseline)")
        choosing = role == "target" and len(expressions) > 1
        for composite in tuple(expressions) if choosing else ():
            around = self.around_frozen(composite)
            if around is not None and around not in expressions:
                expressions.insert(expressions.index(composite), around)
                notes.append(f"{around} is added: it shows what {composite} gains without its trained component")
        nodes = [node for expression in expressions for node in self.resolve(expression, "", Budget()).walk()]
        self.check_overrides({name for node in nodes for name in (node.root, self.registry.get(node.root).name)})
        self._distinguish(
            [self.dataset(name) for name in dict.fromkeys((*config.datasets, *config.probes))],
            [
                self.model(name)
                for name in dict.fromkeys((*config.model, *(node.model for node in nodes if node.model)))
            ],
        )
        concerned = any(self.registry.get(node.root).trains_transformer for node in nodes)
        if self.training.gradient_checkpointing and not concerned:
            raise ConfigError(
                f"{TRAINING}.gradient_checkpointing changes nothing: no strategy of this run trains a transformer"
            )
        notes += self.model_notes
        targets = [self.dataset(name) for name in config.datasets]
        probes = [self.dataset(name) for name in config.probes]
        for target in targets:
            if target.similarity and any(map(self.needs, nodes)):
                raise ConfigError(
                    f"{target.requested} holds sentence pairs and no corpus to search: give it as --probes"
                )
        for target in targets:
            for model in config.model:
                for budget in config.budgets():
                    for seed in config.seeds:
                        for expression in in_run_order(expressions, budget, seed):
                            node = self.resolve(expression, model, budget)
                            fit = self.fit(node, target, model, budget, seed)
                            if choosing and not target.similarity:
                                self.development(fit, target)
                            self.cell(fit, target, role)
                            for probe in probes:
                                if probe.fingerprint != target.fingerprint:
                                    self.cell(fit, probe, "probe")
        return Plan(tuple(self.fits.values()), tuple(self.cells.values()), self.datasets, tuple(notes))

    # --- strategies -----------------------------------------------------------------------------------------------

    def canonical(self, text: str) -> Expression:
        """Return the canonical form of a strategy expression.

        Raises:
            ConfigError: a name or an option is not known.
        """
        try:
            sized = "trainable_params" in self.config.budget
            return canonical(parse(text), self.registry, keep_sizes=sized)
        except ExpressionError as error:
            raise ConfigError(str(error)) from error

    def around_frozen(self, expression: Expression) -> Expression | None:
        """Return a composite with the frozen model in place of what is adapted; None where nothing would change."""

        def composite(each: Expression) -> bool:
            kind = self.registry.get(each.name)
            return kind.n_components > 0 and kind.around_frozen and kind.trains != "encoder"

        def adapted(each: Expression) -> bool:
            return self.trains(self.resolve(each, "", Budget()))

        def names_model(each: Expression) -> bool:
            return components_of(each, self.registry)[1] is not None

        around = around_frozen(expression, composite, adapted, names_model)
        return None if around is None else self.canonical(str(around))

    def resolve(
        self,
        expression: Expression,
        model: str,
        budget: Budget,
        path: str = "",
        sources: tuple[str, ...] = (),
        on_generated: bool = False,
    ) -> Node:
        """Return an expression with its components, base models and hyperparameters resolved.

        Args:
            expression: the strategy.
            model: the base model that it uses unless it names another one.
            budget: what its fit may use: a budget that sets a size leaves that option open.
            path: its place in the whole expression.
            sources: the datasets that it is fitted on instead of the target.
            on_generated: whether generated queries take the place of labels in its fit.

        Raises:
            BenchError: a strategy or an option is unknown, or the number of components is wrong.
        """
        strategy = self.registry.get(expression.name)
        arguments, own_model = components_of(expression, self.registry)
        model = own_model or model
        config = self.options(expression, strategy, budget)
        names = [argument.name for argument in arguments]
        components = []
        writes = "generated" in needs_of(strategy, config_of(expression.name, config, self.registry), self.registry)
        before_teachers = strategy.n_components + bool(config.get(START) or config.get(SOURCES))
        for number, argument in enumerate(arguments, start=1):
            twin = f"-{number}" if names.count(argument.name) > 1 else ""
            place = f"{path}.{argument.name}{twin}".lstrip(".")
            is_start = bool(config.get(SOURCES)) and number == strategy.n_components + 1
            on = tuple(sources_in(config[SOURCES])) if is_start else sources
            taught = on_generated or (writes and number > before_teachers)
            components.append(self.resolve(argument, model, budget, place, on, taught))
        set_by_user = {*self.overrides(expression.name), *dict(expression.options)}
        tuned = tunable(strategy, config_of(expression.name, config, self.registry), set_by_user, budget)
        tuned = () if sources else tuned  # the development queries of a study are the target's
        node = Node(str(expression), expression.name, model, config, tuned, path, tuple(components), sources)
        return replace(node, on_generated=on_generated)

    def check_overrides(self, strategies: set[str]) -> None:
        """Refuse settings (`--set`) of strategies that are not in this run."""
        for key in self.config.set:
            owner = key.partition(".")[0]
            if owner not in strategies and owner != TRAINING:
                raise unknown(f"strategy of this run in 'set {key}':", owner, [*strategies, TRAINING])

    def overrides(self, name: str) -> dict[str, Any]:
        """Return the options that `--set` gives a strategy, under its own name or the name of a preset."""
        return {**self.config.overrides(self.registry.get(name).name), **self.config.overrides(name)}

    def options(self, expression: Expression, strategy: type[Strategy], budget: Budget) -> dict[str, Any]:
        """Return the hyperparameters that differ from their defaults, as `--set` and the expression give them.

        A size that the user sets beside a budget of trainable parameters stays in even if it is the default: the budget
        does not choose it then.
        """
        values: dict[str, Any] = self.overrides(expression.name)
        for key in (START, SOURCES):
            if key in values and START in strategy.component_options:
                raise ConfigError(
                    f"set {expression.name}.{key}: write it in the strategy, {expression.name}({key}=...)"
                )
        for key, value in expression.options:
            values[key] = value.name if value.is_name else str(value)
        try:
            config = config_of(expression.name, values, self.registry)
            sizes = size_options(strategy, config, budget)
            return {**config.changed(), **{name: getattr(config, name) for name in sizes if name in values}}
        except BenchError as error:
            raise ConfigError(f"{expression}: {error}") from error

    def needs(self, node: Node) -> frozenset[Needs]:
        """Return what the fit of a strategy uses."""
        needs = needs_of(self.registry.get(node.root), self.hyperparameters(node), self.registry)
        return shown_to(needs, node.on_generated)

    def hyperparameters(self, node: Node) -> StrategyConfig:
        """Return the configuration of a strategy."""
        return config_of(node.root, node.config, self.registry)

    def trains(self, node: Node) -> bool:
        """Whether a strategy or one of its components is fitted to data."""
        return any(map(self.needs, node.walk()))

    def check_4_bits(self, node: Node) -> None:
        """Refuse what changes, folds or replaces base weights that are 4-bit codes."""
        kind, config = self.registry.get(node.root), self.hyperparameters(node)
        weights = f"--base-weights {self.config.base_weights}"
        representation = representation_of(config, self.registry)
        if not kind.on_4_bits:
            methods = (name for name in self.registry.names() if self.registry.preset(name) is None)
            working = [name for name in methods if is_trained_on_4_bits(self.registry.get(name))]
            raise ConfigError(
                f"{node.expression}: {kind.name} needs the base model's whole weights, and {weights} keeps codes of "
                f"them. Trained around such weights are {', '.join(working)}"
            )
        if getattr(config, "start", ""):
            raise ConfigError(f"{node.expression}: a start is folded into the base model's weights, not with {weights}")
        if representation is not None and not representation.single_vector | representation.replaces_base:
            raise ConfigError(f"{node.expression}: {weights} works with one vector a text")
        if representation is not None and representation.replaces_base:
            raise ConfigError(f"{node.expression}: {weights} has no effect on representation {representation.name}")

    def check_checkpointing(self, node: Node) -> None:
        """Refuse gradient checkpointing where a fit with backward passes would ignore it."""
        representation = representation_of(self.hyperparameters(node), self.registry)
        if representation is not None and representation.replaces_base:
            raise ConfigError(
                f"{node.expression}: {TRAINING}.gradient_checkpointing cannot take effect, because representation "
                f"{representation.name} passes no text through the base model's blocks"
            )
        architecture_of(self.model(node.model))

    def check_representation(self, node: Node) -> None:
        """Refuse what the base model does not show, and a composite of vectors around something else."""
        for component in node.components if self.registry.get(node.root).single_vector_components else ():
            if not is_single_vector(self.registry.get(component.root), self.hyperparameters(component), self.registry):
                raise ConfigError(
                    f"{node.expression} needs one vector a text, and {component.expression} ranks by something else"
                )
        model = self.model(node.model)
        representation = representation_of(self.hyperparameters(node), self.registry)
        if representation is None:
            return
        kind = self.registry.get(node.root)
        if representation.methods and kind.trains != "none" and kind.name not in representation.methods:
            raise ConfigError(
                f"{node.expression}: {kind.name} has nothing to change under representation {representation.name}, "
                f"which {' and '.join(representation.methods)} can train"
            )
        if representation.needs_tokens and not gives_token_vectors(model):
            raise ConfigError(
                f"{node.expression} compares the vectors of tokens, and model {model.name!r} shows none: it is behind "
                "an endpoint, or static"
            )
        if representation.needs_language_model and not has_language_model_head(model):
            raise ConfigError(
                f"{node.expression} weighs terms by a masked-language-model head, and the files of model "
                f"{model.name!r} hold no weights of one. A head that is drawn at random gives nonsense. Give --model a "
                "checkpoint with its head, such as a pretrained BERT or a SPLADE model"
            )

    def check_method(self, node: Node) -> None:
        """Refuse a method or an objective that cannot work on the base model."""
        kind, model, config = self.registry.get(node.root), self.model(node.model), self.hyperparameters(node)
        if model.weights != "fp32":
            self.check_4_bits(node)
        try:
            if issubclass(kind, EncoderStrategy):
                kind.check_model(config, model)
            for objective in objectives_of(config, self.registry):
                objective.check_model(model)
            if self.training.gradient_checkpointing and kind.trains_transformer:
                self.check_checkpointing(node)
        except NotApplicableError as error:
            raise ConfigError(f"{node.expression} on model {model.name!r}: {error}") from error

    def processes(self, node: Node) -> int:
        """Return how many processes take the steps of a fit together: 1 where it takes none.

        Raises:
            ConfigError: the run asks for several, and its steps cannot be shared.
        """
        requested, kind = self.config.processes_per_fit, self.registry.get(node.root)
        if requested == 1 or kind.trains == "none":
            return 1
        objectives = objectives_of(self.hyperparameters(node), self.registry)
        own_loss = [each.name for each in objectives if not each.on_scores]
        if self.config.tune_trials:
            raise ConfigError(f"--tune-trials: a trial has one process, so leave out --processes-per-fit {requested}")
        if issubclass(kind, EncoderStrategy) and not own_loss:
            return requested
        why = (
            f"objective {own_loss[0]} has a loss of its own, which needs the whole batch in one process"
            if own_loss
            else f"{kind.name} trains {'a head' if kind.trains == 'head' else 'in a loop of its own'} in one process"
        )
        raise ConfigError(f"{node.expression}: {why}. Compare it in a run without --processes-per-fit {requested}")

    def inputs(self, node: Node) -> list[str]:
        """Return the SHA-256 of each file that decides a strategy's result."""
        kind = self.registry.get(node.root)
        return [self.digest(path) for path in files_of(kind, self.hyperparameters(node), self.registry)]

    def digest(self, path: Path) -> str:
        """Return the SHA-256 of a file, read once per plan."""
        if path not in self.digests:
            with path.open("rb") as stream:
                self.digests[path] = hashlib.file_digest(stream, "sha256").hexdigest()
        return self.digests[path]

    # --- datasets, models, machine --------------------------------------------------------------------------------

    def dataset(self, name: str) -> DatasetSummary:
        """Read a dataset and return its summary."""
        if name not in self.datasets:
            dataset = load_dataset(name, Path(self.config.data_dir) if self.config.data_dir else None)
            self.datasets[name] = summarize_dataset(name, dataset, self.config.split, self.config.max_length)
        return self.datasets[name]

    def source(self, name: str, target: DatasetSummary, node: Node) -> SourceSummary:
        """Read a dataset that a start is fitted on, and return its summary.

        Raises:
            ConfigError: it is the target itself, whose labels a budget counts, or it has no labels.
        """
        if name not in self.sources:
            dataset = load_dataset(name, Path(self.config.data_dir) if self.config.data_dir else None)
            self.sources[name] = summarize_source(name, dataset)
        source = self.sources[name]
        if source.fingerprint == target.fingerprint:
            raise ConfigError(
                f"sources={name} of {node.expression} is the target {target.name} itself: its labels belong to the "
                "budget. Name other datasets"
            )
        if "pairs" in self.needs(node) and not source.has_labels:
            raise ConfigError(f"sources={name} of {node.expression} has no training labels")
        return source

    def model(self, name: str) -> BaseModel:
        """Return a base model; an empty name is the default."""
        if name not in self.models:
            require_quantised(self.config.base_weights, self.config.device)
            model = base_model(
                name or None,
                pooling=self.pooling,
                trust_remote_code=self.config.trust_remote_code,
                weights=self.config.base_weights,
            )
            self.model_notes += model_notes(model)
            self.models[name] = model
        return self.models[name]

    def _distinguish(self, targets: Sequence[DatasetSummary], models: Sequence[BaseModel]) -> None:
        """Give models and datasets of one name, but of different content, names of their own."""
        names = distinct_names([(each.name, each.requested, each.fingerprint) for each in targets])
        self.datasets |= {each.requested: replace(each, name=name) for each, name in zip(targets, names, strict=True)}
        names = distinct_names([(each.name, str(each.path), each.fingerprint) for each in models])
        for model, name in zip(models, names, strict=True):
            if name != model.name:
                self.models |= {key: replace(each, name=name) for key, each in self.models.items() if each is model}

    @property
    def machine(self) -> str:
        """The machine class, which is part of an identity under a budget of time."""
        execution = ExecutionSettings.of(self.config)
        return machine_class(execution.threads, execution.device, execution.processes)

    # --- studies, fits and cells ----------------------------------------------------------------------------------

    def study(self, root: Node, dataset: DatasetSummary, run_model: str, budget: Budget) -> StudySpec:
        """Return the study of a strategy: one for all seeds, and one for a composite with its components.

        Args:
            root: the strategy.
            dataset: the target dataset.
            run_model: the run's base model, in whose table the fits stand.
            budget: the budget of each trial's fit.
        """
        if not self.trains(root) and budget.examples is None:
            budget = Budget()  # then two budgets can differ only in the labels that score the trials
        training = replace(self.training, max_length=dataset.max_length)
        model = self.model(root.model).fingerprint
        root = self._with_fitted_sources(root, dataset, run_model, budget)
        identity = {
            "format": _FORMAT,
            "tree": [self._identity(node) for node in root.walk()],
            "training": training.identity(),
            "dataset": [dataset.name, dataset.fingerprint],
            "model": [self.model(run_model).name, model],
            "budget": _limits(budget),
            "split": self.config.split,
            **({"sizing": SIZING} if budget.trainable_params is not None else {}),
        }
        if budget.machine_bound:
            identity["machine"] = self.machine
        readable = [root.expression, dataset.name, *([budget.describe()] if budget.limits else [])]
        return StudySpec(
            name=named("--".join(readable), identity),
            strategy=root.expression,
            root=root,
            dataset=dataset.requested,
            dataset_name=dataset.name,
            model_name=self.model(run_model).name,
            budget=budget,
            training=training,
            trials=self.config.tune_trials,
            test_split=self.config.split,
            fingerprints={"dataset": dataset.fingerprint, "model": model},
            needs=tuple(sorted({need for node in root.walk() for need in self.needs(node)} | {"pairs"})),
        )

    def _with_fitted_sources(self, node: Node, dataset: DatasetSummary, run_model: str, budget: Budget) -> Node:
        """Plan the starts on sources of a study, which no trial fits again. Return the strategy with their names."""
        components = [
            replace(each, fitted=self.fit(each, dataset, run_model, budget, SEED).name)
            if each.sources
            else self._with_fitted_sources(each, dataset, run_model, budget)
            for each in node.components
        ]
        return replace(node, components=tuple(components)) if not node.sources else node

    def _identity(self, node: Node) -> list[Any]:
        """Return what decides the result of one strategy of a study."""
        strategy, config = self.registry.get(node.root), self.hyperparameters(node)
        model = self.model(node.model).fingerprint
        version = [strategy.name, strategy.version, code_of(node.root, config, self.registry), self.inputs(node)]
        axes = axis_versions(config, self.registry)
        fitted = [node.fitted] if node.fitted else []
        return [node.path, node.config, node.tuned, model, *version, *([axes] if axes else []), *fitted]

    def fit(
        self,
        node: Node,
        dataset: DatasetSummary,
        run_model: str,
        budget: Budget,
        seed: int,
        tuning: TuningRequest | None = None,
    ) -> FitSpec:
        """Return the fit of a strategy, after planning its components.

        Args:
            node: the strategy.
            dataset: the target dataset.
            run_model: the run's base model, in whose table the fit stands. The strategy may name another one.
            budget: what the fit may use.
            seed: the seed of this repetition.
            tuning: the study of the composite that this is a component of; None plans a study where the run tunes.
        """
        strategy = self.registry.get(node.root)
        self.check_representation(node)
        self.check_method(node)
        needs = self.needs(node)
        if "generated" in needs and not (dataset.generated or node.sources):
            raise ConfigError(
                f"{node.expression} trains on queries that a language model wrote, and {dataset.name} has none: make "
                "some with `bench import ... --generate-queries N`"
            )
        if "answers" in needs and (node.sources or not dataset.answered):
            raise ConfigError(
                f"{node.expression} learns from the gold answers to training questions, and dataset {dataset.name!r} "
                "has none: see docs/answers.md"
            )
        if node.sources or node.on_generated:  # their pairs are not the target's labels, which a budget counts
            budget = replace(budget, examples=None)
        if tuning is None and self.config.tune_trials and not node.sources:
            tuning = TuningRequest(self.study(node, dataset, run_model, budget))
        requests: list[TuningRequest | None] = tuning.of_components if tuning else [None] * len(node.components)
        components = [
            self.fit(component, dataset, run_model, budget, seed, request)
            for component, request in zip(node.components, requests, strict=True)
        ]
        trains = self.trains(node)
        if tuning is not None and not tuning.node.dimensions:
            tuning = None
        if not trains:  # then two budgets can differ only in the labels that tune it
            budget = budget if tuning and budget.examples is not None else Budget(usd_per_hour=budget.usd_per_hour)
        training = replace(self.training, max_length=dataset.max_length)
        fingerprints = {"dataset": dataset.fingerprint, "model": self.model(node.model).fingerprint}
        sources = [self.source(name, dataset, node) for name in node.sources] if trains else []
        trained_on = SOURCE_SIGN.join(source.name for source in sources) or dataset.name
        identity = {
            "format": _FORMAT,
            "strategy": strategy.name,
            "version": strategy.version,
            "parts": [component.name for component in components],
            "config": node.config,
            "training": relevant_training(training, trains),
            "dataset": [dataset.name, dataset.fingerprint],
            "model": [self.model(run_model).name, fingerprints["model"]],
            "budget": _limits(budget),
            "seed": seed if trains else None,
            "split": self.config.split,
        }
        if budget.machine_bound:
            identity["machine"] = self.machine
        if budget.trainable_params is not None and strategy.trains != "none":
            identity["sizing"] = SIZING
        if inputs := self.inputs(node):
            identity["inputs"] = inputs
        if code := code_of(node.root, self.hyperparameters(node), self.registry):
            identity["code"] = fingerprints["code"] = code
        if axes := axis_versions(self.hyperparameters(node), self.registry):
            identity["axes"] = axes
        if sources:
            identity["sources"] = [[source.name, source.fingerprint] for source in sources]
            fingerprints |= {
                "dataset": combined_fingerprint([source.fingerprint for source in sources]),
                "target": dataset.fingerprint,
            }
        if node.on_generated and "generated" in needs:
            identity["needs"] = sorted(needs)
        if tuning is not None:
            identity["tuning"] = [tuning.study.name, tuning.path, tuning.study.trials]
        readable = [node.expression, trained_on, *([budget.describe(), f"s{seed}"] if trains else [])]
        spec = FitSpec(
            name=named("--".join(readable), identity),
            strategy=node.expression,
            root=node.root,
            dataset=dataset.requested,
            dataset_name=trained_on,
            model=node.model,
            model_name=self.model(run_model).name,
            seed=seed if trains else None,
            budget=budget,
            training=training,
            config=node.config,
            components=tuple(component.name for component in components),
            needs=tuple(sorted(needs)),
            version=strategy.version,
            test_split=self.config.split,
            fingerprints=fingerprints,
            tuning=tuning,
            sources=tuple(source.requested for source in sources),
            processes=self.processes(node),
        )
        return self.fits.setdefault(spec.name, spec)

    def development(self, fit: FitSpec, dataset: DatasetSummary) -> CellSpec:
        """Return the development cell of a fit: the samples of all seeds and budgets that it is compared in."""
        samples = dict.fromkeys((seed, each.examples) for each in self.config.budgets() for seed in self.config.seeds)
        if fit.seed is not None or fit.budget.examples is not None:
            seeds = self.config.seeds if fit.seed is None else (fit.seed,)
            samples = dict.fromkeys((seed, fit.budget.examples) for seed in seeds)
        return self.cell(fit, dataset, "development", tuple(samples))

    def cell(
        self, fit: FitSpec, dataset: DatasetSummary, role: str, samples: tuple[tuple[int, int | None], ...] = ()
    ) -> CellSpec:
        """Return the cell of a fit on a dataset.

        Args:
            fit: the fit.
            dataset: the dataset to measure it on.
            role: `target`, `development` or `probe`.
            samples: seed and label budget of each sample of development queries.
        """
        config = self.config
        measures = () if dataset.similarity else config.measures
        identity = {
            "format": _FORMAT,
            "fit": fit.name,
            "dataset": [dataset.name, dataset.fingerprint],
            "role": role,
            "split": config.split,
            "measures": sorted(measures),
            "top_k": config.top_k,
            "max_length": dataset.max_length,
        }
        if role == "probe":
            identity["searched"] = _PROBING
        if role == "development":
            identity["samples"] = [*samples, self.training.selection_floor]
        place = {"probe": f"--on-{dataset.name}", "development": "--development"}.get(role, "")
        budget = "" if fit.seed is None else f"--{fit.budget.describe()}--s{fit.seed}"
        spec = CellSpec(
            name=named(f"{fit.strategy}--{fit.dataset_name}{place}{budget}", identity),
            fit=fit.name,
            strategy=fit.strategy,
            dataset=dataset.requested,
            dataset_name=dataset.name,
            trained_on=fit.dataset_name,
            model_name=fit.model_name,
            seed=fit.seed,
            role=role,
            split=config.split,
            measures=measures,
            top_k=config.top_k,
            max_length=dataset.max_length,
            fingerprint=dataset.fingerprint,
            target=fit.dataset,
            samples=samples,
            selection_floor=self.training.selection_floor,
            documents=0 if dataset.similarity else dataset.n_docs,
        )
        return self.cells.setdefault(spec.name, spec)


def is_trained_on_4_bits(kind: type[Strategy]) -> bool:
    """Whether a strategy trains an encoder around base weights that are 4-bit codes."""
    return kind.trains == "encoder" and kind.on_4_bits


def in_run_order(expressions: Sequence[Expression], budget: Budget, seed: int) -> Sequence[Expression]:
    """Return the order in which strategies are fitted.

    Under a budget of time it is shuffled, so that a machine that slows down over the day favours no strategy.
    """
    return random.Random(seed).sample(expressions, len(expressions)) if budget.machine_bound else expressions


def tunable(
    strategy: type[Strategy], config: StrategyConfig, set_by_user: Collection[str], budget: Budget
) -> tuple[str, ...]:
    """Return the options of a strategy that a study tunes.

    Options that the user has set stay as they are. A budget of trainable parameters sets the size, so a study does not.
    """
    held = {*set_by_user, *size_options(strategy, config, budget)}
    return tuple(name for name in config.space if name not in held)


def _limits(budget: Budget) -> dict[str, Any]:
    """Return the limits of a budget for an identity, with the price where money is limited."""
    return budget.limits | ({"usd_per_hour": budget.usd_per_hour} if budget.usd is not None else {})
