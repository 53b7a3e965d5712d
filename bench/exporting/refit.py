"""Fits the chosen configuration again on training and development data together, for the model that is deployed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from bench.budget import Budget
from bench.data.dataset import Pair, TrainingData, positive_pairs
from bench.errors import BenchError
from bench.exporting.selection import latest_config
from bench.expression import parse
from bench.planning.build import build, needs_of
from bench.records import FitRecord, FitReport
from bench.running.environment import JobEnvironment, training_settings
from bench.running.scorer import TrainingRequest
from bench.running.scorer_process import scorer_process
from bench.strategy.base import Strategy
from bench.strategy.hyperparameters import StrategyConfig


@dataclass(frozen=True)
class Refit:
    """A strategy that was fitted again, and the cost of it."""

    strategy: Strategy
    report: FitReport
    train_pairs: int
    dev_pairs: int
    """How many of the training pairs come from development data."""
    seconds: float


def refit(environment: JobEnvironment, record: FitRecord) -> Refit:
    """Fit a record's strategy again on all of its labels, with its hyperparameters and seed.

    Training takes as many steps as the checkpoint with the best development score had. Choices that the fit made on
    development data stay as they are, because no development data are left.

    Raises:
        BenchError: the strategy trains on no labels, or the dataset is not the one of the fit.
    """
    kind = environment.registry.get(parse(record.strategy).name)
    config_of_fit = kind.Config.parse(record.hyperparameters)
    needs = needs_of(kind, config_of_fit, environment.registry)
    if "pairs" not in needs:
        raise BenchError(f"--final-refit: {record.strategy} trains on no labels, so there is nothing to fit again")
    training = training_settings(record.training)
    store, execution = environment.store, environment.execution
    request = _request(environment, record, training.selection_floor, tuple(sorted(needs)))
    with scorer_process(request, store, execution.data_dir, execution.threads) as scorer:
        all_labels, dev_pairs = with_development(scorer.training_data())
    resources = environment.resources(record.environment.get("model_source", ""), training)
    hyperparameters = _with_choices(config_of_fit, record.report.get("chosen") or {})
    components = [environment.strategy(component) for component in record.components]
    strategy = build(kind, hyperparameters, environment.registry, resources, components)
    steps = record.report.get("best_step") or record.report.get("steps") or 0
    environment.meter.start()
    report = strategy.fit(all_labels, Budget(steps=steps) if steps else Budget(), record.seed or 0)
    environment.meter.stop()
    if report.diverged:
        raise BenchError(f"--final-refit: {report.diverged}")
    return Refit(strategy, report, len(all_labels.pairs), dev_pairs, environment.meter.seconds)


def with_development(data: TrainingData) -> tuple[TrainingData, int]:
    """Return the data with their development pairs among the training pairs, and the number of these pairs."""
    dev_pairs: list[Pair] = list(positive_pairs(data.dev_qrels, data.dev_queries, data.corpus))
    pairs = sorted([*data.pairs, *dev_pairs], key=lambda pair: (pair.query_id, pair.doc_id))
    return replace(data, pairs=pairs, dev_queries={}, dev_qrels={}), len(dev_pairs)


def _with_choices(config: StrategyConfig, choices: Mapping[str, Any]) -> StrategyConfig:
    """Return the hyperparameters with those replaced that the fit chose on development data."""
    names = {field.name for field in fields(config)} & choices.keys()
    return config if not names else type(config).parse({**vars(config), **{name: choices[name] for name in names}})


def _request(
    environment: JobEnvironment, record: FitRecord, selection_floor: int, needs: tuple[str, ...]
) -> TrainingRequest:
    """Return what the fit may see of the dataset that it was made on."""
    config = latest_config(environment.store)
    return TrainingRequest(
        datasets=tuple(config.get("datasets", ())),
        fingerprint=record.fingerprints.get("dataset", ""),
        refusal=f"--final-refit: no dataset that the run names has the content of {record.dataset!r}. It is gone, or "
        "has changed since the fit",
        seed=record.seed or 0,
        examples=(record.budget.get("limits") or {}).get("examples"),
        test_split=config.get("split", "test"),
        selection_floor=selection_floor,
        needs=needs,
    )
