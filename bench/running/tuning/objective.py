"""One trial: a strategy with its components, fitted and scored on training and development data only."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from statistics import fmean
from typing import TYPE_CHECKING, Any

from bench.budget import Meter
from bench.data.dataset import TrainingData
from bench.data.splits import seen_by, split_off
from bench.models.base import BaseModel
from bench.planning.build import build, config_of, needs_of, shown_to
from bench.planning.study_spec import SEED, Node, StudySpec
from bench.store.studies import Trial
from bench.strategy.hyperparameters import StrategyConfig
from bench.strategy.resources import Resources
from bench.strategy.settings import TrainingSettings
from bench.training.sizing import fit_to_parameter_budget

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from bench.running.environment import JobEnvironment
    from bench.running.scorer import JobScorer
    from bench.strategy.base import Strategy

FOLDS = 3
FOLDED_BELOW = 2_000
"""With fewer training queries than this, a trial is scored by the mean over folds of them."""
_SCORE_DIGITS = 4


class DivergedError(Exception):
    """The training of a trial diverged."""


class Objective:
    """Scores sets of hyperparameters. Data and models are read once, for all trials of a study.

    Args:
        spec: the study.
        environment: models and strategies.
        scorer: hands over the training data, and ends.
    """

    def __init__(self, spec: StudySpec, environment: JobEnvironment, scorer: JobScorer) -> None:
        self.spec, self.environment, self.scorer = spec, environment, scorer
        self._resources: dict[str, Resources] = {}

    @cached_property
    def labelled(self) -> TrainingData:
        """The data that a fit of seed 0 under this budget may see.

        Raises:
            NotApplicableError: the dataset holds no corpus.
        """
        data = self.scorer.training_data()
        self.scorer.close()
        return data

    @cached_property
    def folds(self) -> Sequence[TrainingData]:
        """Training and development data of each fold. A large dataset has one fold: its own development split."""
        data = self.labelled
        return folds_of(data) if len(data.train_queries) < FOLDED_BELOW else (data,)

    @cached_property
    def objection(self) -> str:
        """Why the study cannot tune; empty where it can."""
        floor = self.spec.training.selection_floor
        if self.labelled.labels < floor:
            return f"{self.labelled.labels} labels, fewer than {floor}: shipped defaults"
        if not all(data.pairs and data.dev_qrels for data in self.folds):
            return "the labels cannot be split into training and development queries: shipped defaults"
        return ""

    @cached_property
    def _training(self) -> TrainingSettings:
        """The training settings of every fit.

        A fold selects its checkpoint as a fit on all labels does, although the fold alone may have too few labels.
        """
        return replace(self.spec.training, selection_floor=1)

    @cached_property
    def queries(self) -> int:
        """The number of development queries that score a trial."""
        return sum(len(self._pool(data).queries) for data in self.folds)

    def prepare(self) -> None:
        """Read data and model and build the pools, so that no trial is charged for this."""
        for data in self.folds:
            self._pool(data)

    def __call__(self, number: int, params: Mapping[str, Any]) -> Trial:
        """Fit and score one set of hyperparameters.

        Raises:
            Exception: whatever the fit of trial 0 raised: without the default there is nothing to compare with.
        """
        began, charged = time.perf_counter(), 0.0
        means: list[float] = []
        scores: list[float] = []
        status, reason = "ok", ""
        try:
            for data in self.folds:
                strategy, seconds = self._fitted(self.spec.root, params, data)
                charged += seconds
                fold = self._pool(data).scores(strategy)
                means.append(float(fold.mean()))
                scores += [round(float(score), _SCORE_DIGITS) for score in fold]
        except DivergedError as error:
            status, reason = "diverged", str(error)
        except Exception as error:
            if number == 0:
                raise
            from bench.running.status import status_from_exception

            status, reason = status_from_exception(error, f"trial {number} of {self.spec.name}")
        done = status == "ok"
        return Trial(
            number=number,
            params=dict(params),
            status=status,
            value=fmean(means) if done else None,
            folds=means if done else [],
            scores=scores if done else [],
            seconds=time.perf_counter() - began,
            fit_seconds=charged,
            reason=reason,
        )

    # --- inside ---------------------------------------------------------------------------------------------------

    def _fitted(self, node: Node, params: Mapping[str, Any], data: TrainingData) -> tuple[Strategy, float]:
        """Fit the components of a strategy, then itself; return it with the charged seconds of all.

        Raises:
            DivergedError: a training diverged.
        """
        if node.fitted:  # a start on other datasets: the same one in every trial
            return self.environment.strategy(node.fitted), 0.0
        components, charged = [], 0.0
        for component in node.components:
            fitted, seconds = self._fitted(component, params, data)
            components.append(fitted)
            charged += seconds
        registry = self.environment.registry
        kind = registry.get(node.root)
        meter = Meter()
        resources = replace(self._resources_of(node.model), meter=meter)  # each fit has the whole budget

        def made(config: StrategyConfig) -> Strategy:
            return build(kind, config, registry, resources, components)

        config = config_of(node.root, {**node.config, **node.chosen(params)}, registry)
        strategy = made(fit_to_parameter_budget(made, config, self.spec.budget, node.config))
        needs = shown_to(needs_of(kind, config, registry), node.on_generated)
        meter.start()
        try:
            report = strategy.fit(seen_by(needs, data), self.spec.budget, SEED)
        finally:
            meter.stop()
        if report.diverged:
            raise DivergedError(f"{node.root}: {report.diverged}")
        return strategy, charged + meter.seconds

    def _resources_of(self, model: str) -> Resources:
        """Return the resources around a base model, which is loaded once and copied for each fit."""
        if model not in self._resources:
            base = self.environment.resources(model, self._training)
            folder = self.environment.store.folder / "tuning" / self.spec.name / "calibrations"
            self._resources[model] = replace(base, model=LoadedOnce.of(base.model), calibrations=folder)
        return self._resources[model]

    def _pool(self, data: TrainingData) -> Any:
        return self.environment.pools.development(data, self._resources_of(self.spec.root.model))


def folds_of(data: TrainingData, count: int = FOLDS) -> tuple[TrainingData, ...]:
    """Return the folds of the training queries. Each fold is the development data of one fit on the other folds.

    Queries that share a relevant document, or are the same question, stay in one fold (`bench.data.splits.split_off`).
    The data's own development queries are in no fold: a fit chooses its checkpoint by them.
    """
    rest, held = list(data.pairs), []
    for left in range(count, 1, -1):
        rest, fold, _ = split_off(rest, data.seed, 1 / left)
        held.append(fold)
    held.append(rest)
    folds = []
    for number, fold in enumerate(held):
        qrels: dict[str, dict[str, int]] = {}
        for pair in fold:
            qrels.setdefault(pair.query_id, {})[pair.doc_id] = 1
        folds.append(
            replace(
                data,
                pairs=[pair for other, each in enumerate(held) if other != number for pair in each],
                dev_queries={pair.query_id: pair.query for pair in fold},
                dev_qrels=qrels,
            )
        )
    return tuple(folds)


@dataclass(frozen=True)
class LoadedOnce(BaseModel):
    """A base model that is read from disk once, and copied at each later load."""

    @classmethod
    def of(cls, model: BaseModel) -> LoadedOnce:
        """Return the same model, loaded once."""
        return cls(**{each.name: getattr(model, each.name) for each in fields(BaseModel)})

    def load(self, device: str = "cpu") -> SentenceTransformer:
        """Return a copy in fp32 and evaluation mode."""
        if device not in self._loaded:
            self._loaded[device] = super().load(device)
        return copy.deepcopy(self._loaded[device])

    @cached_property
    def _loaded(self) -> dict[str, SentenceTransformer]:
        return {}
