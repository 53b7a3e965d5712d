"""The retrieval task: rankings of the judged queries, their scores, what serving costs, what was forgotten."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from bench.data.dataset import Dataset, UnjudgedDataset
from bench.data.templates import template_groups
from bench.errors import NotApplicableError
from bench.evaluation.answers import ANSWER_CUTS, answer_recall
from bench.evaluation.forgetting import forgetting
from bench.evaluation.measures import JUDGED, PerQuery, evaluate
from bench.evaluation.strata import seen_queries, strata
from bench.progress import Progress
from bench.retrieval.lexical import LexicalIndex
from bench.retrieval.ranking import Ranking
from bench.strategy.base import Strategy
from bench.tasks.base import PROBE, TARGET, Measurements, ProbeScorer, TaskSettings
from bench.tasks.drift import DriftObservations, observe_drift, score_drift
from bench.tasks.probes import draw_queries, query_limit, with_distractors
from bench.tasks.search import score, search
from bench.tasks.serving_cost import serving_cost

if TYPE_CHECKING:
    import pandas as pd


@dataclass
class RetrievalObservations:
    """What a strategy answered on a retrieval dataset, and what answering cost. Plain values."""

    ranking: Ranking
    n_docs: int
    """Documents that were searched, distractors included."""
    limit: int | None = None
    """The most queries of a probe that the strategy was asked; None is all."""
    before: Ranking | None = None
    """On a probe: of the same composition around the untouched base encoder, where there is one."""
    cost: dict[str, Any] = field(default_factory=dict)
    drift: DriftObservations | None = None
    notes: list[str] = field(default_factory=list)


class RetrievalEvaluator:
    """Measures rankings. On a target also costs and drift, on a probe what training changed."""

    def observe(
        self,
        strategy: Strategy,
        dataset: UnjudgedDataset,
        settings: TaskSettings,
        scorer: ProbeScorer,
        progress: Progress,
    ) -> RetrievalObservations:
        """Index and search."""
        if settings.role == PROBE:
            limit = query_limit(strategy)
            drawn = sorted(draw_queries(dataset.queries, limit))
            dataset = replace(dataset, queries={query: dataset.queries[query] for query in drawn})
            observed, index = _observe_probe(strategy, dataset, settings, limit, scorer, progress)
            observed.cost |= {"index_seconds": index.seconds, "index_bytes": index.nbytes}
        else:
            ranking, index = search(strategy, dataset, settings, progress)
            observed = RetrievalObservations(ranking, len(dataset.corpus))
        if (recall := getattr(index, "search_recall", None)) is not None:
            observed.cost["search_recall"] = recall
            observed.notes.append(
                f"search among {observed.n_docs:,} documents is approximate: "
                f"on a sample it found {recall:.1%} of the best"
            )
        observed.notes += _lexical_notes(index, dataset.queries)
        if settings.role == TARGET:
            progress("stage", {"name": "cost"})
            observed.cost |= serving_cost(strategy, index, dataset.corpus, dataset.queries, settings.top_k)
            if settings.trained:
                progress("stage", {"name": "drift"})
                observed.drift = observe_drift(strategy, index, dataset, settings)
        return observed

    def score(
        self,
        observed: RetrievalObservations,
        dataset: Dataset,
        settings: TaskSettings,
        positives: Callable[[], Collection[str]],
    ) -> Measurements:
        """Score the rankings, and split the scores into seen and unseen queries."""
        queries = {query: dataset.queries[query] for query in asked(dataset, settings, observed.limit)}
        scores, ranking = score(observed.ranking, dataset, settings, queries)
        if dataset.answers and settings.role == TARGET:
            scores = with_answer_recall(scores, ranking, dataset, settings.top_k)
        # ids of another corpus mean other documents, so on a probe nothing counts as seen
        known = positives() if settings.role == TARGET else ()
        qrels = dataset.qrels(settings.split)
        seen = seen_queries({query: qrels[query] for query in queries}, known)
        measured = Measurements(
            metrics=scores.means(),
            strata=strata(scores, seen),
            n_queries=len(scores),
            n_docs=observed.n_docs,
            cost=dict(observed.cost),
            notes=list(observed.notes),
            ranking=ranking,
        )
        if settings.role == TARGET:
            measured.metrics |= evaluate(ranking.top(10), {query: qrels[query] for query in queries}, [JUDGED]).means()
        if observed.drift is not None:
            measured.drift = score_drift(observed.drift, scores, measured.strata, seen, dataset, settings)
        if observed.before is not None:
            before, _ = score(observed.before, dataset, settings, queries)
            measured.forgetting[settings.display_name] = dict(
                forgetting(before, scores, settings.primary, dataset.groups or None)
            )
        measured.per_query = per_query(scores, dataset.groups or template_groups(queries), seen)
        return measured


def with_answer_recall(scores: PerQuery, ranking: Ranking, dataset: Dataset, top_k: int) -> PerQuery:
    """Return scores with answer recall at every cut-off that rankings reach."""
    cuts = [k for k in ANSWER_CUTS if k <= top_k]
    positions, texts = dataset.corpus.positions, dataset.corpus.texts

    def text_of(doc: str) -> str:
        return texts[positions[doc]] if doc in positions else ""  # a stored run may rank a document of another corpus

    found = answer_recall(ranking, scores.queries, dataset.answers, text_of, cuts) if cuts else {}
    return PerQuery(scores.queries, {**scores.values, **found})


def per_query(scores: PerQuery, groups: Mapping[str, str], seen: Collection[str]) -> pd.DataFrame:
    """Return a row for each query: its id, its group, whether it was seen in training, and every measure."""
    frame = scores.to_frame()
    frame.insert(1, "group", [groups.get(query) for query in scores.queries])
    frame.insert(2, "seen", [query in seen for query in scores.queries])
    return frame


def asked(dataset: Dataset, settings: TaskSettings, limit: int | None) -> list[str]:
    """Return the judged queries that a strategy with such a limit is asked, in the order of their ids."""
    return sorted(draw_queries(dataset.judged(settings.split), limit))


def _lexical_notes(index: Any, queries: Mapping[str, str]) -> list[str]:
    """Return the terms that BM25 compares, where an index holds one, and how many queries it cannot help.

    Raises:
        NotApplicableError: BM25 alone meets mostly queries that share no term with any document. Its score would say
            nothing about it.
    """
    lexical = getattr(index, "lexical_index", None)
    if not isinstance(lexical, LexicalIndex):
        return []
    terms, warning = lexical.notes(queries)
    if warning and index is lexical:
        raise NotApplicableError(warning)
    return [terms, warning] if warning else [terms]


def _observe_probe(
    strategy: Strategy,
    dataset: UnjudgedDataset,
    settings: TaskSettings,
    limit: int | None,
    scorer: ProbeScorer,
    progress: Progress,
) -> tuple[RetrievalObservations, Any]:
    """Search a probe with a strategy, and with the same composition around the untouched base encoder.

    Returns:
        What was observed, and the strategy's index.
    """
    notes: list[str] = []
    base = strategy.untrained_counterpart()
    if base is not None and not settings.trained:  # nothing was trained: before and after are one
        base = strategy
    before = search(base, dataset, settings, progress) if base else None
    target = scorer.target() if scorer.is_saturated(before[0] if before else None, limit) else None
    if isinstance(target, UnjudgedDataset):
        own, dataset = len(dataset.corpus), with_distractors(dataset, target)
        notes.append(
            f"{dataset.name} is near its ceiling among its own {own:,} documents, so it is searched among "
            f"{len(dataset.corpus):,}: those and the documents of {target.name}"
        )
        before = search(base, dataset, settings, progress) if base else None
    ranking, index = before if before and base is strategy else search(strategy, dataset, settings, progress)
    observed = RetrievalObservations(
        ranking, len(dataset.corpus), limit=limit, before=before[0] if before else None, notes=notes
    )
    return observed, index
