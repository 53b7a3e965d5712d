"""BM25 fused with a part: scores by hand, the weight from development data, artefacts, what it was before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.budget import Budget
from bench.data.dataset import Corpus, Dataset, TrainingData
from bench.encoders.base import BaseEncoder
from bench.errors import BenchError
from bench.models.base import BaseModel
from bench.records import FitReport
from bench.retrieval.lexical import build_lexical
from bench.retrieval.ranking import Ranking, trec_order
from bench.strategy.base import Strategy
from bench.strategy.resources import Resources
from strategies.hybrid import DEFAULT_WEIGHT, Hybrid

Contexts = Callable[..., Resources]
CORPUS = Corpus(["d1", "d2", "d3"], ["a red kettle", "the green kettle and kettle stand", "nothing of the kind"])


class Given(Strategy):
    """A part whose ranking is given: no encoder, so that its scores have no least value of their own."""

    name = "given"
    rankings: Mapping[str, list[tuple[str, float]]] = {}

    def fit(self, data: TrainingData, budget: Budget, seed: int) -> FitReport:
        return FitReport()

    def index(self, corpus: Corpus) -> Any:
        return build_lexical(corpus)

    def search(self, queries: Mapping[str, str], index: Any, top_k: int) -> Ranking:
        return Ranking({query: self.rankings[query][:top_k] for query in queries})

    def save(self, folder: Path) -> None:
        """Nothing."""

    def load(self, folder: Path) -> None:
        """Nothing."""


def _hybrid(resources: Resources, rankings: Mapping[str, list[tuple[str, float]]], **config: Any) -> Hybrid:
    part = Given(None, resources)
    part.rankings = rankings
    return Hybrid(Hybrid.Config(**config), resources, (part,))


def test_documents_of_both_lists_are_fused_with_true_bm25_scores(
    tiny_bert: BaseModel, tiny_resources: Contexts
) -> None:
    hybrid = _hybrid(tiny_resources(tiny_bert), {"q": [("d3", 3.0), ("d1", 1.0)]}, weight=0.25)
    ranking = hybrid.search({"q": "kettle"}, hybrid.index(CORPUS), 3)
    bm25 = dict(zip(CORPUS.ids, build_lexical(CORPUS).scores("kettle"), strict=True))
    most = max(bm25.values())
    # the part: d3 1, d1 0, d2 (found by BM25 alone) the least, 0
    expected = {"d3": 0.25, "d1": 0.75 * bm25["d1"] / most, "d2": 0.75 * bm25["d2"] / most}
    assert dict(ranking["q"]) == pytest.approx(expected)


def test_a_cosine_is_scaled_from_minus_one(
    tiny_bert: BaseModel, tiny_resources: Contexts, tiny_dataset: Dataset
) -> None:
    resources = tiny_resources(tiny_bert)
    frozen = BaseEncoder(None, resources)
    hybrid = Hybrid(Hybrid.Config(weight=1.0), resources, (frozen,))
    queries = {"q": "xylophone"}  # no document has it, so BM25 is silent
    cosines = dict(frozen.search(queries, frozen.index(tiny_dataset.corpus), 5)["q"])
    fused = dict(hybrid.search(queries, hybrid.index(tiny_dataset.corpus), 5)["q"])
    most = max(cosines.values())
    assert fused == pytest.approx({doc: (score + 1) / (most + 1) for doc, score in cosines.items()}, rel=1e-5)


def test_reciprocal_ranks(tiny_bert: BaseModel, tiny_resources: Contexts) -> None:
    hybrid = _hybrid(tiny_resources(tiny_bert), {"q": [("d3", 3.0), ("d1", 1.0)]}, method="rrf")
    ranking = hybrid.search({"q": "red kettle"}, hybrid.index(CORPUS), 3)
    lexical = [doc for doc, _ in build_lexical(CORPUS).search({"q": "red kettle"}, 3)["q"]]
    assert lexical == ["d1", "d2"]
    assert dict(ranking["q"]) == pytest.approx({"d1": 1 / 61 + 1 / 62, "d3": 1 / 61, "d2": 1 / 62})


def test_an_unknown_method_is_refused(tiny_bert: BaseModel, tiny_resources: Contexts) -> None:
    with pytest.raises(BenchError, match="did you mean 'rrf'"):
        _hybrid(tiny_resources(tiny_bert), {}, method="rff")


@pytest.mark.parametrize("useful", ["part", "bm25"])
def test_the_weight_goes_to_the_side_that_development_queries_need(
    tiny_bert: BaseModel, tiny_resources: Contexts, tiny_training: TrainingData, useful: str
) -> None:
    data = tiny_training
    other = {"part": 1.0, "bm25": 0.0}[useful]
    # the part is either an oracle or its opposite; BM25 finds every answer unless the queries are made meaningless
    rankings = {
        query: trec_order((doc, other if doc in relevant else 1 - other) for doc in data.corpus.ids)
        for query, relevant in data.dev_qrels.items()
    }
    if useful == "part":
        data = replace(data, dev_queries=dict.fromkeys(data.dev_queries, "winter morning visitors"))
    resources = tiny_resources(tiny_bert, selection_floor=1)
    hybrid = _hybrid(resources, rankings)
    report = hybrid.fit(data, Budget(), 0)
    assert (hybrid.weight > 0.5) == (useful == "part")
    assert report.chosen["weight"] == hybrid.weight
    scores = report.chosen["scores"]
    assert report.best_dev == max(scores.values()) == scores[str(hybrid.weight)]
    pool = resources.development(data)
    assert report.base_dev == pytest.approx(pool.scores(BaseEncoder(None, resources)).mean())
    assert report.dev_noise is not None and report.dev_noise >= 0
    assert len(scores) == 21 and scores["0.0"] != scores["1.0"]


def test_without_development_data_the_weight_is_the_stated_default(
    tiny_bert: BaseModel, tiny_resources: Contexts, tiny_training: TrainingData
) -> None:
    hybrid = _hybrid(tiny_resources(tiny_bert), {})
    report = hybrid.fit(tiny_training, Budget(), 0)  # 40 labels, below the floor of 100
    assert hybrid.weight == DEFAULT_WEIGHT
    assert report.best_dev is None and str(DEFAULT_WEIGHT) in report.notes[0]


def test_saved_weight_and_what_it_was_before(
    tiny_bert: BaseModel, tiny_resources: Contexts, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    resources = tiny_resources(tiny_bert)
    fitted = Hybrid(None, resources, (BaseEncoder(None, resources),))
    fitted.weight = 0.3
    fitted.save(tmp_path)
    loaded = Hybrid(None, resources, (BaseEncoder(None, resources),))
    loaded.load(tmp_path)
    before = fitted.untrained_counterpart()
    assert isinstance(before, Hybrid)
    queries = dict(list(tiny_dataset.queries.items())[:4])
    answers = [each.search(queries, each.index(tiny_dataset.corpus), 9).hits for each in (fitted, loaded, before)]
    assert answers[0] == answers[1] == answers[2]
    assert _hybrid(resources, {}).untrained_counterpart() is None
