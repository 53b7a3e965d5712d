"""The scorer of a job: it reads datasets, and compares rankings with the judgements of test queries.

No code of a strategy runs in its process, and no process that runs a strategy's code reads a dataset. A strategy could
otherwise find the judgements of the test queries in memory. The scorer serves one job, and that job decides what it
hands over: training and development pairs for a fit or study, corpus and queries for a cell.

`bench.running.scorer_process` runs a scorer in a process of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

from bench.data.dataset import Corpus, Dataset, SimilarityDataset, TrainingData, UnjudgedDataset, UnjudgedPairs
from bench.errors import BenchError, NotApplicableError
from bench.planning.specs import CellSpec, FitSpec
from bench.planning.study_spec import SEED, StudySpec
from bench.retrieval.ranking import Ranking
from bench.store.store import Store
from bench.tasks.base import DEVELOPMENT, TaskSettings
from bench.tasks.evaluators import Judged, Unjudged, evaluator_of

Kind = TypeVar("Kind")


class JobScorer(Protocol):
    """What a job asks its scorer, in whichever process that is."""

    def training_data(self) -> TrainingData:
        """Return the data that the fit or study may see."""
        ...

    def unjudged(self) -> Unjudged:
        """Return the dataset of the cell without its judgements."""
        ...

    def target(self) -> UnjudgedDataset | UnjudgedPairs:
        """Return the dataset of the cell's fit, without its judgements."""
        ...

    def is_saturated(self, ranking: Ranking | None, limit: int | None) -> bool:
        """Return whether a loss could hardly show in this ranking of the cell's probe."""
        ...

    def put_cell(self, observed: Any, environment: Mapping[str, Any]) -> None:
        """Score what was observed, and put the record of the cell into the store."""
        ...

    def close(self) -> None:
        """Take note that nothing more is asked."""
        ...


@dataclass(frozen=True)
class TrainingRequest:
    """The training data of one fit or study. Plain values."""

    datasets: tuple[str, ...]
    """Names as requested. The first whose content has the fingerprint is taken."""
    fingerprint: str
    """Empty accepts any content."""
    refusal: str
    """The message where no dataset has the fingerprint."""
    seed: int
    examples: int | None
    test_split: str
    selection_floor: int
    """Labels from which development queries are set apart."""
    needs: tuple[str, ...] = ("pairs",)
    """What the strategy's `fit` uses. Without `pairs` it is shown the corpus alone, and without `answers` no answer."""
    sources: tuple[str, ...] = ()
    """Datasets whose labels are taken instead, without queries of the dataset above."""
    sources_fingerprint: str = ""

    @classmethod
    def of(cls, spec: FitSpec | StudySpec) -> TrainingRequest:
        """Return the request of a fit or a study."""
        floor = spec.training.selection_floor
        if isinstance(spec, StudySpec):
            return cls((spec.dataset,), "", "", SEED, spec.budget.examples, spec.test_split, floor, tuple(spec.needs))
        known = spec.fingerprints or {}
        return cls(
            (spec.dataset,),
            known.get("target" if spec.sources else "dataset", ""),
            f"dataset {spec.dataset} changed after the run was planned: run again",
            spec.seed or 0,
            spec.budget.examples,
            spec.test_split,
            floor,
            tuple(spec.needs),
            spec.sources,
            known.get("dataset", "") if spec.sources else "",
        )


class Scorer:
    """The scorer of one job, in the process that calls it.

    Args:
        request: the training data of a fit or study, or the cell.
        store: the store of the run.
        data_dir: the folder that is searched for datasets first.
    """

    def __init__(self, request: TrainingRequest | CellSpec, store: Store, data_dir: str | None = None) -> None:
        self.request, self.store, self.data_dir = request, store, data_dir
        self._judged: Judged | None = None

    @classmethod
    def of(cls, spec: FitSpec | StudySpec | CellSpec, store: Store, data_dir: str | None = None) -> Scorer:
        """Return the scorer of a job's specification."""
        return cls(request_of(spec), store, data_dir)

    def training_data(self) -> TrainingData:
        """Return the data that the fit or study may see: only the corpus where no labels are needed.

        Raises:
            BenchError: no dataset has the content that the request asks for.
            NotApplicableError: the dataset holds no corpus, and one is needed.
        """
        from bench.data.splits import seen_by, training_data

        request = self._request_of(TrainingRequest)
        dataset = next((each for each in map(self._load, request.datasets) if _is_right(each, request)), None)
        if dataset is None:
            raise BenchError(request.refusal)
        if not isinstance(dataset, Dataset):
            if request.needs:
                raise NotApplicableError(f"{request.datasets[0]} holds sentence pairs and no corpus")
            return TrainingData(dataset.name, (), {}, {}, Corpus([], []))
        if request.sources:
            return self._source_data(request, dataset)
        if not {"pairs", "generated"} & set(request.needs):
            return TrainingData(dataset.name, (), {}, {}, replace(dataset.corpus), request.seed)
        floor = request.selection_floor
        data = training_data(dataset, request.seed, request.examples, request.test_split, selection_floor=floor)
        data = seen_by(request.needs, data)
        return replace(data, corpus=replace(data.corpus))  # without `positions`, which is large and quickly made again

    def _source_data(self, request: TrainingRequest, target: Dataset) -> TrainingData:
        """Return the labels of the sources of a fit, without queries of its target."""
        from bench.data.sources import combined_fingerprint, source_data
        from bench.data.splits import seen_by

        sources = [each for each in map(self._load, request.sources) if isinstance(each, Dataset)]
        if request.sources_fingerprint != combined_fingerprint([source.fingerprint for source in sources]):
            raise BenchError(f"sources {', '.join(request.sources)} changed after the run was planned: run again")
        data = source_data(sources, target, request.seed, request.test_split, request.selection_floor)
        return seen_by(request.needs, data)

    def unjudged(self) -> Unjudged:
        """Return the dataset of the cell without its judgements.

        The scorer keeps texts of the corpus only where answers are looked for in them.
        """
        spec = self._request_of(CellSpec)
        dataset = self._measured(spec)
        unjudged = dataset.unjudged(spec.split)
        if isinstance(dataset, SimilarityDataset) or (isinstance(dataset, Dataset) and dataset.answers):
            self._judged = dataset
        else:
            self._judged = replace(dataset, corpus=Corpus([], []))
        return unjudged

    def target(self) -> UnjudgedDataset | UnjudgedPairs:
        """Return the dataset of the cell's fit, without its judgements and without queries."""
        spec = self._request_of(CellSpec)
        return self._load(spec.target).unjudged(None)

    def is_saturated(self, ranking: Ranking | None, limit: int | None) -> bool:
        """Return whether a loss could hardly show in this ranking of the cell's probe.

        Args:
            ranking: before adaptation; None where there is no such thing.
            limit: the most queries that the strategy is asked; None is all.
        """
        from bench.tasks.probes import is_saturated
        from bench.tasks.retrieval import asked
        from bench.tasks.search import score

        dataset, settings = self._dataset(), settings_of(self._request_of(CellSpec))
        assert isinstance(dataset, Dataset)
        if ranking is None:
            return is_saturated(dataset.info, None)
        return is_saturated(dataset.info, score(ranking, dataset, settings, asked(dataset, settings, limit))[0])

    def put_cell(self, observed: Any, environment: Mapping[str, Any]) -> None:
        """Score what was observed, and put the record of the cell into the store.

        Args:
            observed: what the evaluator of the dataset returned.
            environment: facts about machine and libraries, for the record.
        """
        from bench.running.recording import cell_record

        spec, dataset = self._request_of(CellSpec), self._dataset()
        fit = self.store.fit(spec.fit)
        measured = evaluator_of(dataset).score(
            observed, dataset, settings_of(spec), lambda: self.store.train_relevant(fit.fit)
        )
        cell = cell_record(spec, fit, fit.status, fit.reason)
        cell.metrics, cell.strata = measured.metrics, measured.strata
        cell.n_queries, cell.n_docs = measured.n_queries, measured.n_docs
        cell.cost |= measured.cost
        cell.forgetting, cell.drift = measured.forgetting, measured.drift
        cell.notes += measured.notes
        cell.environment = {**environment, "contention": fit.environment.get("contention")}
        self.store.put_cell(cell, measured.per_query, measured.ranking)

    def close(self) -> None:
        """Forget the dataset."""
        self._judged = None

    def _measured(self, spec: CellSpec) -> Judged:
        """Return what a cell is measured on: the dataset, or the samples of its development queries."""
        from bench.data.development import DevelopmentSet, development_sample

        dataset = self._load(spec.dataset)
        if spec.role != DEVELOPMENT or not isinstance(dataset, Dataset):
            return dataset
        samples = tuple(
            development_sample(dataset, seed, examples, spec.split, spec.selection_floor)
            for seed, examples in spec.samples
        )
        return DevelopmentSet(dataset.info, dataset.corpus, dataset.groups, samples)

    def _dataset(self) -> Judged:
        if self._judged is None:
            self.unjudged()
        assert self._judged is not None
        return self._judged

    def _load(self, name: str) -> Dataset | SimilarityDataset:
        from bench.data.locate import load_dataset

        return load_dataset(name, Path(self.data_dir) if self.data_dir else None)

    def _request_of(self, kind: type[Kind]) -> Kind:
        if not isinstance(self.request, kind):
            raise BenchError(f"this scorer serves a {type(self.request).__name__}")
        return self.request


def request_of(spec: FitSpec | StudySpec | CellSpec) -> TrainingRequest | CellSpec:
    """Return what the scorer of a job needs to know."""
    return spec if isinstance(spec, CellSpec) else TrainingRequest.of(spec)


def settings_of(spec: CellSpec) -> TaskSettings:
    """Return what is measured in a cell."""
    return TaskSettings(
        split=spec.split,
        measures=spec.measures,
        top_k=spec.top_k,
        role=spec.role,
        trained=spec.seed is not None,
        display_name=spec.dataset_name,
    )


def _is_right(dataset: Dataset | SimilarityDataset, request: TrainingRequest) -> bool:
    return not request.fingerprint or dataset.fingerprint == request.fingerprint
