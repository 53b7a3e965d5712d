"""A cross-encoder, fine-tuned on the domain, re-orders the top of a first stage (Nogueira and Cho, 2019, section 3)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from bench.budget import Budget
from bench.data.dataset import Corpus, TrainingData
from bench.errors import NotApplicableError
from bench.models.base import BaseModel
from bench.models.locate import base_model
from bench.records import FitReport
from bench.retrieval.fusion import convex
from bench.retrieval.ranking import Hits, Ranking
from bench.strategy.base import Strategy
from bench.strategy.hyperparameters import StrategyConfig, TrainedConfig
from bench.strategy.protocols import Index
from bench.strategy.space import Choice, LogUniform, Param

if TYPE_CHECKING:
    from bench.models.cross_encoder import Ranker
    from bench.strategy.protocols import DevelopmentPool
    from bench.strategy.resources import Resources

WEIGHTS = (0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
DEFAULT_WEIGHT = 0.5
"""Of the cross-encoder where there are no development queries: as much as the first stage has."""
_NEGATIVES_FROM = 50


class Rerank(Strategy):
    """A cross-encoder re-orders the first `depth` documents of the component. The others follow in their order.

    The score is weight x cross-encoder + (1 - weight) x first stage, both scaled to 0..1 within these documents. The
    paper's weight is 1. Training uses binary cross-entropy on training pairs and negatives of the first stage.
    """

    name = "rerank"
    on_4_bits = False
    summary = "a cross-encoder trained on the domain re-ranks the results of x"
    needs = frozenset({"pairs"})
    trains = "head"
    trains_transformer = True
    probe_queries = 300
    n_components = 1

    @dataclass(frozen=True)
    class Config(TrainedConfig):
        """`model` is a pretrained ranker: hub name or folder. Empty starts from the base model with a fresh head."""

        lr: float = 5e-5
        model: str = ""
        depth: int = 20
        max_length: int = 256
        negatives: int = 3
        weight: float = -1.0
        space: ClassVar[Mapping[str, Param]] = {"lr": LogUniform(5e-6, 2e-4), "negatives": Choice((1, 3, 7))}

    def __init__(
        self, config: StrategyConfig | None, resources: Resources, components: Sequence[Strategy] = ()
    ) -> None:
        super().__init__(config, resources, components)
        self.weight: float = self.config.weight if self.config.weight >= 0 else DEFAULT_WEIGHT
        self._ranker: Ranker | None = None
        self._looks: dict[float, tuple[float, dict[str, Any]]] = {}
        """Score of a checkpoint -> its weight, and what was tried."""
        for component in self.components:
            self.reindex = component.reindex

    @classmethod
    def inputs(cls, config: StrategyConfig) -> Sequence[Path]:
        """Return the files of a ranker that is a folder."""
        from bench.models.cross_encoder import files_of

        assert isinstance(config, cls.Config)
        return files_of(config.model)

    @property
    def ranker(self) -> Ranker:
        """The cross-encoder. Before `fit` or `load` it is untrained."""
        if self._ranker is None:
            self._ranker = self._load(self._source)
        return self._ranker

    @property
    def _source(self) -> BaseModel:
        return base_model(self.config.model) if self.config.model else self.resources.model

    def ready(self) -> AbstractContextManager[None]:
        """Keep the cross-encoder ready between calls."""
        return self.ranker.ready()

    def _load(self, source: BaseModel) -> Ranker:
        from bench.models.cross_encoder import Ranker

        return Ranker(source, self.config.max_length, self.resources.device, self.resources.training.precision)

    @property
    def trainable_params(self) -> int:
        """All parameters of the cross-encoder."""
        return self.ranker.trainable_params

    def fit(self, data: TrainingData, budget: Budget, seed: int) -> FitReport:
        """Train the cross-encoder within the budget; choose checkpoint and weight on the development pool."""
        import torch

        from bench.encoders.cross_encoder_task import CrossEncoderTask
        from bench.training.train import train

        if not data.pairs:
            raise NotApplicableError(f"rerank trains on labelled pairs, and dataset {data.dataset!r} has none left")
        resources = self.resources
        with resources.meter.excluded():
            torch.manual_seed(seed)
            self._ranker = None  # one looked at before has a head of no seed
            ranker = self.ranker
        pairs, labels = self.examples(data, seed)
        pool = resources.development(data)
        task = CrossEncoderTask(ranker, pairs, labels, resources.training, self.config.lr, seed)
        if pool is None:
            report = train(self, task, data, budget)
        else:
            with resources.meter.excluded():
                first = self.components[0].search(
                    pool.queries, self.components[0].index(pool.corpus), self.config.depth
                )
            looks = self._looks = {}

            def look() -> np.ndarray:
                scores, tried = self._choose(pool, first)
                looks.setdefault(float(scores.mean()), (self.weight, tried))
                self.weight = looks[max(looks)][0]  # that of the checkpoint which is kept: the first of the best
                return scores

            report = train(self, task, data, budget, scores=look)
            report.chosen = looks[max(looks)][1] if looks else {}
        report.chosen |= {"weight": self.weight}
        if not ranker.pretrained:
            report.notes.append("rerank: no pretrained ranker, so it starts from the base model with a fresh head")
        return report

    def training_state(self) -> dict[str, Any]:
        """Return the weight and what every evaluation chose."""
        return {"weight": self.weight, "looks": dict(self._looks)}

    def resume_training(self, state: Mapping[str, Any]) -> None:
        """Continue from what `training_state` returned."""
        self.weight = state["weight"]
        self._looks.update(state["looks"])

    def examples(self, data: TrainingData, seed: int) -> tuple[list[tuple[str, str]], list[float]]:
        """Return (query, document) pairs and labels: each positive, and negatives of the first stage drawn by seed."""
        rng = np.random.default_rng([seed, 19])
        corpus, count = data.corpus, self.config.negatives
        with self.resources.meter.excluded():  # the index that it serves, which is charged as such
            index = self.components[0].index(corpus)
        ranking = self.components[0].search(data.train_queries, index, _NEGATIVES_FROM)
        pairs, labels = [], []
        for pair in data.pairs:
            relevant = data.train_qrels[pair.query_id]
            hits = [doc for doc, _ in ranking[pair.query_id] if doc in corpus.positions]
            spare = [corpus.ids[int(row)] for row in rng.integers(len(corpus), size=4 * count)]  # where hits are few
            order = [hits[int(row)] for row in rng.permutation(len(hits))] + spare
            drawn = list(dict.fromkeys(doc for doc in order if doc not in relevant))[:count]
            pairs += [(pair.query, pair.document), *((pair.query, corpus.text_of(doc)) for doc in drawn)]
            labels += [1.0, *(0.0 for _ in drawn)]
        return pairs, labels

    def _choose(self, pool: DevelopmentPool, first: Ranking) -> tuple[np.ndarray, dict[str, Any]]:
        """Set the best weight on the pool, unless it is fixed. Return nDCG@10 of each query, and what was tried."""
        scored = self._scored(pool.queries, first, pool.corpus)
        tried = {}
        for weight in WEIGHTS if self.config.weight < 0 else (self.weight,):
            ranking = Ranking({query: _order(first[query], scored[query], weight) for query in pool.queries})
            tried[weight] = pool.scores_of(ranking.top(10))
        self.weight = max(tried, key=lambda weight: (tried[weight].mean(), -abs(weight - DEFAULT_WEIGHT)))
        return tried[self.weight], {"scores": {str(weight): float(each.mean()) for weight, each in tried.items()}}

    def _scored(self, queries: Mapping[str, str], first: Ranking, corpus: Corpus) -> dict[str, dict[str, float]]:
        """Return query id -> document id -> score of the cross-encoder, for the first `depth` documents."""
        top = {query: [doc for doc, _ in first[query][: self.config.depth]] for query in queries}
        pairs = [(query, doc) for query, docs in top.items() for doc in docs if doc in corpus.positions]
        logits = self.ranker.logits([(queries[query], corpus.text_of(doc)) for query, doc in pairs])
        scored: dict[str, dict[str, float]] = {query: {} for query in queries}
        for (query, doc), logit in zip(pairs, logits, strict=True):
            scored[query][doc] = float(logit)
        return scored

    def index(self, corpus: Corpus) -> RerankIndex:
        """Index for the first stage; keep the texts at hand."""
        return RerankIndex(corpus, self.components[0].index(corpus))

    def search(self, queries: Mapping[str, str], index: Any, top_k: int) -> Ranking:
        """Rank with the first stage, then put its first `depth` documents into the new order."""
        first = self.components[0].search(queries, index.first, max(self.config.depth, top_k))
        scored = self._scored(queries, first, index.corpus)
        return Ranking({query: _order(first[query], scored[query], self.weight)[:top_k] for query in queries})

    def added_query_flops(self, queries: Sequence[str], corpus: Corpus) -> float:
        """Return what reading `depth` documents of mean length costs, and what the first stage adds."""
        from bench.evaluation.flops import flop_model

        flops, every = flop_model(self.ranker.model), max(1, len(corpus) // max(1, len(queries)))
        lengths = self.ranker.lengths(list(zip(queries, corpus.texts[::every], strict=False)))
        mean = sum(flops.forward(length, length) for length in lengths) / max(1, len(lengths))
        return super().added_query_flops(queries, corpus) + min(self.config.depth, len(corpus)) * mean

    def text_read(self, texts: Sequence[str]) -> dict[str, float]:
        """Return what the component reads, and the cross-encoder of its first `depth` documents, at most."""
        from bench.models.length import share_read

        model = self.ranker.model
        return super().text_read(texts) | {self.name: share_read(model, texts, int(model.max_seq_length or 512))}

    def untrained_counterpart(self) -> Strategy | None:
        """Return the first stage around its untouched base model, under the ranker if that came trained."""
        from bench.models.cross_encoder import is_ranker

        base = self.components[0].untrained_counterpart()
        if base is None or not is_ranker(self._source.path):
            return base
        before = Rerank(self.config, self.resources, (base,))
        before.weight = self.weight
        return before

    def save(self, folder: Path) -> None:
        """Write the cross-encoder, in full, and its weight."""
        self.ranker.save(folder / "ranker")
        (folder / "rerank.json").write_text(json.dumps({"weight": self.weight}), encoding="utf-8")

    def load(self, folder: Path) -> None:
        """Read what `save` wrote."""
        self.weight = float(json.loads((folder / "rerank.json").read_text(encoding="utf-8"))["weight"])
        self._ranker = self._load(BaseModel(self.name, folder / "ranker"))


class RerankIndex:
    """The first stage's index and the texts that the cross-encoder reads."""

    def __init__(self, corpus: Corpus, first: Index) -> None:
        self.corpus, self.first = corpus, first

    @property
    def nbytes(self) -> int:
        """Bytes of the first stage's index."""
        return self.first.nbytes

    @property
    def seconds(self) -> float:
        """Seconds of the first stage's index."""
        return self.first.seconds


def _order(hits: Hits, scored: Mapping[str, float], weight: float) -> Hits:
    """Return the scored hits by weight x cross-encoder + (1 - weight) x first stage, then the other hits.

    The scores express this order: 1 to 2 for the scored hits, below 1 and by rank for the others.
    """
    own = {doc: score for doc, score in hits if doc in scored}
    floors = min(scored.values(), default=0.0), min(own.values(), default=0.0)
    front = convex({doc: scored[doc] for doc in own}, own, weight, floors)
    rest = [doc for doc, _ in hits if doc not in own]
    return [(doc, 1.0 + score) for doc, score in front] + [(doc, 1.0 / (1 + rank)) for rank, doc in enumerate(rest, 1)]
