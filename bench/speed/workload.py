"""The work that all systems do: one model, one dataset, one machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.data.dataset import Corpus, Dataset, Pair, TrainingData
from bench.data.splits import training_data
from bench.errors import BenchError
from bench.models import precision
from bench.models.base import BaseModel
from bench.planning.registry import Registry
from bench.progress import Progress, silent
from bench.speed.rounds import OURS, PLAIN, PLAIN_BF16
from bench.strategy.base import Strategy
from bench.strategy.resources import Resources
from bench.strategy.settings import TrainingSettings
from bench.training.batches import contrastive_batches
from bench.training.selection import DevelopmentPools

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

BATCH = 32
TOP_K = 100
SEED = 0


@dataclass(frozen=True)
class Sizes:
    """How much work a measurement does."""

    rounds: int
    encoded: int
    """Documents encoded in each round."""
    steps: int
    warm_up_steps: int
    """The first of the steps, which are not timed."""
    searched: int
    """Documents that the evaluation encodes and searches."""
    queries: int
    lexical: int
    """Documents for BM25, whose search takes longer the more there are."""
    whole: int | None
    """Documents of the whole job; None takes all, and all training pairs."""


FULL = Sizes(rounds=5, encoded=512, steps=8, warm_up_steps=2, searched=1024, queries=300, lexical=50_000, whole=None)
QUICK = Sizes(rounds=2, encoded=64, steps=3, warm_up_steps=1, searched=128, queries=100, lexical=2000, whole=160)


@dataclass(frozen=True)
class Workload:
    """The work that is measured."""

    base: BaseModel
    dataset: Dataset
    registry: Registry
    strategies: tuple[str, ...]
    sizes: Sizes
    device: str = "cpu"
    split: str = "test"

    @property
    def max_length(self) -> int:
        """Tokens that a text is cut to on this dataset; 0 is the model's own limit."""
        return self.dataset.info.max_length or 0

    @cached_property
    def bf16(self) -> bool:
        """Whether this device computes bf16 in hardware."""
        return precision.native_bf16(self.device)

    @property
    def formats(self) -> dict[str, str]:
        """System -> number format that it computes in on this device."""
        return {PLAIN: "fp32", PLAIN_BF16: "bf16", OURS: precision.resolve("auto", self.device)}

    def resources(self, progress: Progress = silent, **settings: Any) -> Resources:
        """Return resources as a run has them, without a cache, and without selection by default."""
        training = TrainingSettings(**{"selection_floor": 10**9, "max_length": self.max_length, **settings})
        return Resources(
            model=self.base, device=self.device, training=training, progress=progress, pools=DevelopmentPools()
        )

    def plain_model(self, bf16: bool = False) -> SentenceTransformer:
        """Load the model as a user's script would, with weights in bf16 on request."""
        import torch

        base = replace(self.base, options={**self.base.options, "dtype": torch.bfloat16}) if bf16 else self.base
        model = base.load(self.device)
        if self.max_length:
            model.max_seq_length = min(self.max_length, model.max_seq_length or self.max_length)
        return model

    def plain_models(self) -> dict[str, SentenceTransformer]:
        """Return a model for each system of the library that this device can measure."""
        models = {PLAIN: self.plain_model()}
        return models | {PLAIN_BF16: self.plain_model(bf16=True)} if self.bf16 else models

    @cached_property
    def data(self) -> TrainingData:
        """The training data as in a run, without the pairs that are set apart for development."""
        data = training_data(self.dataset, SEED, None, self.split)
        if not data.pairs:
            raise BenchError(f"dataset {self.dataset.name!r} has no training pairs: training cannot be timed on it")
        return data

    @cached_property
    def pairs(self) -> list[Pair]:
        """As many pairs as the timed steps need, without false negatives in a batch."""
        data = self.data
        batches = contrastive_batches(data.pairs, data.train_qrels, BATCH, SEED)
        positions = [position for batch in islice(batches, self.sizes.steps) for position in batch]
        return [data.pairs[position] for position in dict.fromkeys(positions)]

    def task(self, documents: int) -> tuple[Corpus, dict[str, str], Mapping[str, Mapping[str, int]]]:
        """Return a corpus of this size, some judged queries whose relevant documents it holds, and their qrels."""
        qrels = self.dataset.qrels(self.split)
        chosen = self.dataset.judged(self.split)[: self.sizes.queries]
        relevant = [doc for query in chosen for doc, grade in qrels[query].items() if grade > 0]
        corpus = self.dataset.corpus.subset(filled(self.dataset.corpus, relevant, documents))
        judged = {query: {doc: g for doc, g in qrels[query].items() if doc in corpus.positions} for query in chosen}
        return corpus, {query: self.dataset.queries[query] for query in chosen}, judged

    def encoders(self) -> dict[str, type[Strategy]]:
        """Return the strategies that train the encoder, by name."""
        strategies = {name: self.registry.get(name) for name in self.strategies}
        return {name: strategy for name, strategy in strategies.items() if strategy.trains == "encoder"}

    def lengths(self, texts: list[str]) -> np.ndarray:
        """Return the number of tokens of each text (n,) after cutting."""
        model = self._tokenizing_model
        limit = model.max_seq_length or 512
        return np.minimum([len(ids) for ids in model.tokenizer(texts, verbose=False)["input_ids"]], limit)

    @cached_property
    def _tokenizing_model(self) -> SentenceTransformer:
        return self.plain_model()


def filled(corpus: Corpus, first: list[str], n: int) -> list[str]:
    """Return the first documents and then others, evenly spread, up to n. All of the first ones are always kept."""
    docs = dict.fromkeys(first)
    for doc in corpus.ids[:: max(1, len(corpus) // max(n, 1))]:
        if len(docs) >= n:
            break
        docs[doc] = None
    return list(docs)
