"""Listwise distillation: the student learns how a teacher spreads relevance over each query's candidates.

The divergence of two softened distributions is Hinton et al. (2015, section 2). Over lists of documents from a
cross-encoder it repairs what contrastive tuning degrades: Tamber et al. (2025).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from bench.data.dataset import Pair, TrainingData
from bench.errors import BenchError, NotApplicableError
from bench.models.locate import base_model
from bench.objectives.base import Objective
from bench.readers.teacher import Teacher, is_reader, reader_files
from bench.retrieval.ranking import Ranking
from bench.strategy.base import Needs, Strategy
from bench.strategy.hyperparameters import StrategyConfig
from bench.strategy.space import Choice, LogUniform, Param

if TYPE_CHECKING:
    import torch

    from bench.training.score_loss import ScoredBatch

DEPTH = 50
"""Candidates are drawn from this many of the best documents."""
READER_TEMPERATURE = 0.5
"""The default temperature of a reader's likelihoods, in nats a token."""


class Listwise(Objective):
    """Kullback-Leibler divergence from the teacher's to the student's distribution over each query's documents.

    The teacher is a strategy that the run fits (`teacher=hybrid(full)`), or a cross-encoder by name or folder. A
    strategy proposes the candidates and scores them. A cross-encoder scores what the student finds before its training.
    Scores are scaled to 0..1 a query, so that these teachers share a temperature. A positive that the teacher does not
    find gets 1.

    Or the teacher is a reader, `teacher=reader(smollm2)`: what it is taught by is how likely the reader finds the gold
    answer with each candidate as its passage (Shi et al., 2023, REPLUG, section 4). Its scores are in nats a token, and
    are not scaled, so that a list whose passages do not help the reader teaches little.
    """

    name = "listwise"
    summary = "distillation of a teacher's scores over each query's candidates"
    component_options: ClassVar[tuple[str, ...]] = ("teacher",)
    takes_reader: ClassVar[bool] = True
    """Whether a reader may be the teacher: whether the loss takes scores that are not scaled."""

    @dataclass(frozen=True)
    class Config(StrategyConfig):
        """`candidates` documents a query, the positive included.

        `max_length` bounds the tokens of a cross-encoder, and those of a passage for a reader.
        """

        teacher: str = ""
        candidates: int = 6
        teacher_temperature: float = 0.1
        max_length: int = 256
        space: ClassVar[Mapping[str, Param]] = {
            "candidates": Choice((4, 6, 8, 16)),
            "teacher_temperature": LogUniform(0.02, 0.5),
        }

        @classmethod
        def variant(cls, values: Mapping[str, Any]) -> Mapping[str, Any]:
            """Return the temperature of a reader, whose scores are in nats a token."""
            return {"teacher_temperature": READER_TEMPERATURE} if is_reader(str(values.get("teacher", ""))) else {}

    @classmethod
    def check(cls, config: StrategyConfig) -> None:
        """Refuse an objective without a teacher, or with lists of one document."""
        assert isinstance(config, cls.Config)
        if not config.teacher:
            raise BenchError(
                f"{cls.name} needs a teacher: {cls.name}(teacher=hybrid(lora)), or a cross-encoder by name"
            )
        if config.candidates < 2:
            raise BenchError(f"{cls.name}.candidates is {config.candidates}: a list has two documents or more")
        if is_reader(config.teacher) and not cls.takes_reader:
            raise BenchError(f"{cls.name} takes no reader as its teacher: write listwise(teacher={config.teacher})")

    @classmethod
    def needed(cls, config: StrategyConfig) -> frozenset[Needs]:
        """Return what `examples` uses: with a reader as the teacher, the gold answers too."""
        assert isinstance(config, Listwise.Config | cls.Config)
        return cls.needs | {"answers"} if is_reader(config.teacher) else cls.needs

    @classmethod
    def inputs(cls, config: StrategyConfig) -> Sequence[Path]:
        """Return the files of a teacher that is a folder.

        Raises:
            ModelError: the teacher is a reader that is not there, or that gives no likelihoods.
        """
        from bench.models.cross_encoder import files_of

        assert isinstance(config, cls.Config)
        return reader_files(config.teacher) if is_reader(config.teacher) else files_of(config.teacher)

    def examples(self, data: TrainingData, student: Strategy) -> Sequence[Pair]:
        """Return the training pairs with candidates drawn by seed and the teacher's scores of them.

        With a reader as the teacher, pairs whose query has no gold answer are left out.
        """
        self.check(self.config)
        proposer = self.components[0] if self.components else student
        pairs: Sequence[Pair] = data.pairs
        if is_reader(self.config.teacher):
            pairs = [pair for pair in data.pairs if data.answers.get(pair.query_id)]
            if not pairs:
                raise NotApplicableError(f"{self.name} learns from gold answers, and no training question has one")
        rankings = proposer.search(data.train_queries, proposer.index(data.corpus), DEPTH)
        rng = np.random.default_rng([data.seed, 23])
        lists = [self._candidates(pair, dict(rankings[pair.query_id]), data, rng) for pair in pairs]
        if self.components:
            scored = [
                _teacher_scores(docs, dict(rankings[pair.query_id])) for pair, docs in zip(pairs, lists, strict=True)
            ]
        elif is_reader(self.config.teacher):
            scored = self._reader_scores(data, pairs, lists, self.teacher(data, rankings))
        else:
            scored = self._cross_encoder_scores(data, lists)
        return [
            replace(pair, negatives=tuple(map(data.corpus.text_of, docs[1:])), scores=scores)
            for pair, docs, scores in zip(pairs, lists, scored, strict=True)
        ]

    def _candidates(
        self, pair: Pair, ranked: Mapping[str, float], data: TrainingData, rng: np.random.Generator
    ) -> list[str]:
        """Return the positive, then ranked documents drawn by seed, then random ones where there are too few."""
        hits = [doc for doc in ranked if doc in data.corpus.positions]
        spare = rng.integers(len(data.corpus), size=4 * self.config.candidates)
        order = [hits[int(row)] for row in rng.permutation(len(hits))] + [data.corpus.ids[int(row)] for row in spare]
        docs = list(dict.fromkeys([pair.doc_id, *order]))[: self.config.candidates]
        if len(docs) < self.config.candidates:
            raise NotApplicableError(f"{self.name}.candidates is {self.config.candidates}, more than the corpus has")
        return docs

    def _cross_encoder_scores(self, data: TrainingData, lists: Sequence[Sequence[str]]) -> list[tuple[float, ...]]:
        """Return the cross-encoder's scores of the candidates, scaled to 0..1 within each list."""
        from bench.models.cross_encoder import Ranker, is_ranker

        teacher = base_model(self.config.teacher)
        if not is_ranker(teacher.path):
            raise BenchError(
                f"{self.name}: teacher {self.config.teacher!r} is no cross-encoder; for an embedding model write "
                f"teacher=frozen({self.config.teacher})"
            )
        with self.resources.meter.excluded():
            ranker = Ranker(teacher, self.config.max_length, self.resources.device, self.resources.training.precision)
        queries = (pair.query for pair in data.pairs for _ in range(self.config.candidates))
        documents = (data.corpus.text_of(doc) for docs in lists for doc in docs)
        rows = ranker.logits(list(zip(queries, documents, strict=True))).reshape(len(lists), -1)
        return [_scaled([float(score) for score in row], float(row.min()), float(row.max())) for row in rows]

    def teacher(self, data: TrainingData, rankings: Ranking) -> Teacher:
        """Return the reader that teaches. `rankings` are of the training questions, by the student as it is now."""
        resources = self.resources
        with resources.meter.excluded():
            return Teacher.of(self.config.teacher, resources.device, resources.training.precision)

    def _reader_scores(
        self, data: TrainingData, pairs: Sequence[Pair], lists: Sequence[Sequence[str]], teacher: Teacher
    ) -> list[tuple[float, ...]]:
        """Return how likely the reader finds the gold answer with each candidate as its passage, in nats a token."""
        texts = [[data.corpus.text_of(doc) for doc in docs] for docs in lists]
        asked = [(pair.query, data.answers[pair.query_id]) for pair in pairs]
        found = teacher.likelihoods(asked, texts, self.config.max_length)
        self.resources.meter.charge(found.spared_seconds)
        self.reader_tokens += found.tokens
        self.reader_seconds += found.seconds
        return found.scores

    def loss(self, batch: ScoredBatch) -> torch.Tensor:
        """Return the mean divergence in nats. The batch's labels (n, candidates) are the teacher's scores."""
        from torch.nn import functional

        assert batch.labels is not None
        student = functional.log_softmax(batch.own_scores().float() / batch.temperature, dim=1)
        teacher = functional.log_softmax(batch.labels.float() / self.config.teacher_temperature, dim=1)
        return functional.kl_div(student, teacher, log_target=True, reduction="batchmean")


def _teacher_scores(docs: Sequence[str], ranked: Mapping[str, float]) -> tuple[float, ...]:
    """Return a ranking's scores of the candidates, scaled to 0..1 within the whole ranking."""
    low, high = min(ranked.values(), default=0.0), max(ranked.values(), default=1.0)
    positive = ranked.get(docs[0], high)
    return _scaled([positive, *(ranked.get(doc, low) for doc in docs[1:])], low, high)


def _scaled(scores: Sequence[float], low: float, high: float) -> tuple[float, ...]:
    return tuple((score - low) / (high - low) if high > low else 0.0 for score in scores)
