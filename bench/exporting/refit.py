"""The chosen setting once more, on training and development data together: for the model that goes out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from bench.budget import Budget
from bench.data.dataset import Dataset, Pair, TrainingData, positive_pairs
from bench.errors import BenchError
from bench.expression import parse
from bench.running.environment import settings_of

if TYPE_CHECKING:
    from bench.records import FitRecord, FitReport
    from bench.running.environment import JobEnvironment
    from bench.strategy.base import Strategy
    from bench.strategy.hyperparameters import StrategyConfig


@dataclass(frozen=True)
class Refit:
    """A strategy fitted again, and what that took."""

    strategy: Strategy
    report: FitReport
    train_pairs: int
    dev_pairs: int
    """Development pairs that were trained on as well."""
    seconds: float


def refit(environment: JobEnvironment, record: FitRecord) -> Refit:
    """Fit a record's strategy again with its hyperparameters, seed and number of steps, on all of its labels.

    The steps are those after which development was best. What the fit chose on development data is kept as it was
    chosen: nothing is left to choose on.

    Raises:
        BenchError: the strategy trains on no labels, or the dataset is not the one that was fitted on.
    """
    from bench.data.splits import training_data

    kind = environment.registry.get(parse(record.strategy).name)
    if "pairs" not in kind.needs:
        raise BenchError(f"--final-refit: {record.strategy} is not fitted on labels, so there is nothing to fit again")
    calls = reversed(environment.store.invocations())
    config: dict[str, Any] = next((call["config"] for call in calls if call.get("config")), {})
    dataset = _dataset(environment, record, config.get("datasets", ()))
    examples = (record.budget.get("limits") or {}).get("examples")
    data = training_data(dataset, record.seed or 0, examples, config.get("split", "test"))
    together, added = with_development(data, dataset)
    resources = environment.resources(record.environment.get("model_source", ""), settings_of(record.training))
    chosen = _settled(kind.Config.parse(record.hyperparameters), record.report.get("chosen") or {})
    strategy = kind(chosen, resources, [environment.strategy(part) for part in record.components])
    steps = record.report.get("best_step") or record.report.get("steps") or 0
    environment.meter.start()
    report = strategy.fit(together, Budget(steps=steps) if steps else Budget(), record.seed or 0)
    environment.meter.stop()
    if report.diverged:
        raise BenchError(f"--final-refit: {report.diverged}")
    return Refit(strategy, report, len(together.pairs), added, environment.meter.seconds)


def with_development(data: TrainingData, dataset: Dataset) -> tuple[TrainingData, int]:
    """Return the data with its development pairs among the training pairs, and how many these are."""
    pairs: list[Pair] = list(positive_pairs(data.dev_qrels, data.dev_queries, dataset.corpus))
    together = sorted([*data.pairs, *pairs], key=lambda pair: (pair.query_id, pair.doc_id))
    return replace(data, pairs=together, dev_queries={}, dev_qrels={}), len(pairs)


def _settled(config: StrategyConfig, chosen: Mapping[str, Any]) -> StrategyConfig:
    """Put what was chosen on development data into the configuration, where it is a hyperparameter."""
    names = {field.name for field in fields(config)} & chosen.keys()
    return config if not names else type(config).parse({**vars(config), **{name: chosen[name] for name in names}})


def _dataset(environment: JobEnvironment, record: FitRecord, asked: Any) -> Dataset:
    for name in asked:
        found = environment.dataset(name)
        if isinstance(found, Dataset) and found.name == record.dataset:
            if found.fingerprint != record.fingerprints.get("dataset"):
                raise BenchError(
                    f"--final-refit: dataset {name} is not the one that was fitted on: its content differs"
                )
            return found
    raise BenchError(f"--final-refit: this run does not say where its dataset {record.dataset!r} is")
