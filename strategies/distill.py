"""Listwise distillation: a fitted encoder learns how a teacher spreads relevance over each query's candidates.

The divergence of two softened distributions is Hinton et al. (2015, section 2); over lists of documents, from a
cross-encoder, where contrastive tuning degrades a good encoder: Tamber et al. (2025).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from bench.data.dataset import Pair, TrainingData
from bench.encoders.strategy import EncoderStrategy
from bench.errors import BenchError, NotApplicableError
from bench.strategy.base import Strategy
from bench.strategy.hyperparameters import EncoderConfig, StrategyConfig
from bench.strategy.space import Choice, LogUniform, Param
from strategies.rerank import files_of

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from torch import nn

    from bench.strategy.resources import Resources

_DEPTH = 50
"""Candidates are drawn from this many of the best documents."""


class Distill(EncoderStrategy):
    """The part, trained further: its model starts as the fitted part's, and what was trainable there is trainable here.

    The teacher is a strategy, fitted like the part (`teacher=hybrid(full)`), or a cross-encoder by name or folder. A
    strategy proposes the candidates and scores them; a cross-encoder scores what the part finds. Scores are scaled to
    0..1 a query, so that teachers of all kinds share a temperature. A positive that the teacher does not find gets 1.
    """

    name = "distill"
    summary = "a re-ranker or another teacher distilled into an encoder"
    n_components = 1
    component_options = ("teacher",)

    @dataclass(frozen=True)
    class Config(EncoderConfig):
        """`lr` 0 is the part's; `candidates` documents a query, its positive included; tokens for a cross-encoder."""

        lr: float = 0.0
        teacher: str = ""
        candidates: int = 6
        teacher_temperature: float = 0.1
        max_length: int = 256
        space: ClassVar[Mapping[str, Param]] = {
            "candidates": Choice((4, 6, 8, 16)),
            "teacher_temperature": LogUniform(0.02, 0.5),
        }

    def __init__(
        self, config: StrategyConfig | None, resources: Resources, components: Sequence[Strategy] = ()
    ) -> None:
        super().__init__(config, resources, components)
        self._student: EncoderStrategy | None = None
        if components and not self.config.lr:
            self.config = replace(self.config, lr=self.part.config.lr)

    @property
    def part(self) -> EncoderStrategy:
        """The fitted encoder strategy that the student starts from.

        Raises:
            NotApplicableError: the part trains no encoder, or only the queries' side of one.
        """
        part = self.components[0]
        if not isinstance(part, EncoderStrategy) or part.query_only:
            raise NotApplicableError(f"distill trains an encoder of both sides further, and {part.name} has none")
        return part

    @classmethod
    def inputs(cls, config: StrategyConfig) -> Sequence[Path]:
        """The files of a teacher that is a folder.

        Raises:
            BenchError: there is no teacher, or there are no lists to learn from.
        """
        assert isinstance(config, cls.Config)
        if not config.teacher:
            raise BenchError("distill needs a teacher: distill(lora, teacher=hybrid(lora)), or a cross-encoder by name")
        if config.candidates < 2:
            raise BenchError(f"distill.candidates is {config.candidates}: a list has two documents or more")
        return files_of(config.teacher)

    @classmethod
    def resize(cls, config: StrategyConfig, limit: int, resources: Resources) -> StrategyConfig | None:
        """The part has been given its size already."""
        return config

    def attach(self, model: SentenceTransformer) -> SentenceTransformer:
        """Attach what the part attaches, and put the fitted part's state into it."""
        self._student = type(self.part)(self.part.config, self.resources, self.part.components)
        model = self._student.attach(model)
        model.load_state_dict(self.part.model.state_dict())
        self._student._model = model
        return model

    @property
    def student(self) -> EncoderStrategy:
        """The part's own kind of strategy around the model that is trained here."""
        assert self.model is not None and self._student is not None  # made by `attach`
        return self._student

    def loss(self, model: SentenceTransformer) -> nn.Module:
        """The divergence from the teacher's distribution."""
        from bench.encoders.losses import ListwiseLoss

        settings = self.resources.training
        return ListwiseLoss(model, settings.temperature, self.config.teacher_temperature, settings.mini_batch)

    def examples(self, data: TrainingData) -> list[Pair]:
        """Return the training pairs with candidates drawn by seed and the teacher's scores of them."""
        self.inputs(self.config)
        proposer = self.components[1] if len(self.components) > 1 else self.part
        found = proposer.search(data.train_queries, proposer.index(data.corpus), _DEPTH)
        rng = np.random.default_rng([data.seed, 23])
        lists = [self._candidates(pair, dict(found[pair.query_id]), data, rng) for pair in data.pairs]
        listed = list(zip(data.pairs, lists, strict=True))
        if len(self.components) > 1:
            scored = [self._scores(docs, dict(found[pair.query_id])) for pair, docs in listed]
        else:
            scored = self._ranked(data, lists)
        return [
            replace(pair, negatives=tuple(map(data.corpus.text_of, docs[1:])), scores=scores)
            for pair, docs, scores in zip(data.pairs, lists, scored, strict=True)
        ]

    def _candidates(
        self, pair: Pair, found: Mapping[str, float], data: TrainingData, rng: np.random.Generator
    ) -> list[str]:
        """Return the positive, then documents that were found, then random ones if there are too few."""
        hits = [doc for doc in found if doc in data.corpus.positions]
        spare = rng.integers(len(data.corpus), size=4 * self.config.candidates)
        order = [hits[int(row)] for row in rng.permutation(len(hits))] + [data.corpus.ids[int(row)] for row in spare]
        docs = list(dict.fromkeys([pair.doc_id, *order]))[: self.config.candidates]
        if len(docs) < self.config.candidates:
            raise NotApplicableError(f"distill.candidates is {self.config.candidates}, more than the corpus has")
        return docs

    def _scores(self, docs: Sequence[str], found: Mapping[str, float]) -> tuple[float, ...]:
        """Return a ranking's scores of the candidates, scaled within all that it found."""
        low, high = min(found.values(), default=0.0), max(found.values(), default=1.0)
        positive = found.get(docs[0], high)
        return _scaled([positive, *(found.get(doc, low) for doc in docs[1:])], low, high)

    def _ranked(self, data: TrainingData, lists: Sequence[Sequence[str]]) -> list[tuple[float, ...]]:
        """Return the cross-encoder's scores of the candidates, scaled within each list."""
        from bench.encoders.cross_encoder import Ranker, is_ranker
        from bench.models.locate import base_model

        teacher = base_model(self.config.teacher)
        if not is_ranker(teacher.path):
            raise BenchError(
                f"distill: teacher {self.config.teacher!r} is no cross-encoder; for an embedding model say "
                f"teacher=frozen({self.config.teacher})"
            )
        with self.resources.meter.excluded():
            ranker = Ranker(teacher, self.resources, self.config.max_length)
        queries = (pair.query for pair in data.pairs for _ in range(self.config.candidates))
        documents = (data.corpus.text_of(doc) for docs in lists for doc in docs)
        texts = list(zip(queries, documents, strict=True))
        rows = ranker.logits(texts).reshape(len(lists), -1)
        return [_scaled([float(score) for score in row], float(row.min()), float(row.max())) for row in rows]

    def on_step(self, model: SentenceTransformer, step: int, total: int) -> None:
        """As the part does."""
        self.student.on_step(model, step, total)

    @property
    def finish_evaluations(self) -> int:
        """As many as of the part."""
        return self.student.finish_evaluations

    def finish(self, model: SentenceTransformer, data: TrainingData) -> dict[str, Any]:
        """As the part does."""
        return self.student.finish(model, data)

    @contextmanager
    def merged(self) -> Iterator[None]:
        """As the part does."""
        with self.student.merged():
            yield


def _scaled(scores: Sequence[float], low: float, high: float) -> tuple[float, ...]:
    return tuple((score - low) / (high - low) if high > low else 0.0 for score in scores)
