"""Scores of BM25 and of the untouched base model, for `bench inspect`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.data.dataset import Corpus, Dataset
from bench.retrieval.ranking import Ranking

if TYPE_CHECKING:
    from bench.strategy.resources import Resources

MEASURES = ("ndcg@10", "mrr@10", "recall@10", "recall@100")
_DEPTH = 100


def lexical_scores(dataset: Dataset, split: str) -> tuple[dict[str, float], list[str]]:
    """Return the scores of BM25 on a split (Lucene's formula, k1 1.5, b 0.75), and notes on the terms it compares."""
    from bench.retrieval.lexical import build_lexical

    index = build_lexical(dataset.corpus)
    notes = index.notes({query: dataset.queries[query] for query in dataset.judged(split)})
    scores = _scores(dataset, split, lambda corpus, queries, k: index.search(queries, k))
    return scores, [note for note in notes if note]


def base_scores(dataset: Dataset, split: str, resources: Resources) -> dict[str, float]:
    """Return the scores of the untouched base model on a split."""
    from bench.encoders.base import BaseEncoder

    base = BaseEncoder(None, resources)
    return _scores(dataset, split, lambda corpus, queries, k: base.search(queries, base.index(corpus), k))


def open_resources(model: str | None, max_length: int | None, scratch: Path | None = None) -> Resources:
    """Return the resources of a base model (None means the default one), with the user's vector cache."""
    import torch

    from bench.models.locate import base_model
    from bench.retrieval.cache import VectorCache, default_folder
    from bench.strategy.resources import Resources
    from bench.strategy.settings import TrainingSettings

    return Resources(
        model=base_model(model),
        device="cuda" if torch.cuda.is_available() else "cpu",
        training=TrainingSettings(max_length=max_length or 0),
        cache=VectorCache(default_folder()),
        scratch=scratch,
    )


def token_counter(resources: Resources) -> tuple[Callable[[Sequence[str]], list[int]], int]:
    """Return a function that counts the tokens of texts, special ones included, and the model's limit."""
    from bench.models.length import UNLIMITED, length_limit, token_lengths

    model = resources.model.load("cpu")

    def count(texts: Sequence[str]) -> list[int]:
        return token_lengths(model, texts)

    limits = [length for length in (resources.max_length, length_limit(model)) if length]
    return count, min(limits, default=UNLIMITED)


def _scores(dataset: Dataset, split: str, search: Callable[[Corpus, dict[str, str], int], Ranking]) -> dict[str, float]:
    from bench.evaluation.measures import evaluate

    queries = {query: dataset.queries[query] for query in dataset.judged(split)}
    ranking = search(dataset.corpus, queries, _DEPTH + dataset.info.drop_same_id)
    values = evaluate(ranking, dataset.qrels(split), MEASURES, dataset.info.drop_same_id)
    return values.means()
