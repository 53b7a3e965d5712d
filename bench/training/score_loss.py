"""The loss module behind every objective: it represents the columns of a batch and hands their scores to the objective.

Imports torch: objectives import this module inside their methods.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from torch import nn
from torch.utils.checkpoint import checkpoint

from bench.retrieval.encode import Kind
from bench.strategy.ranks import OneProcess, Ranks
from bench.strategy.settings import TrainingSettings
from bench.training.attention import FastAttentionBackward
from bench.training.task import DifferentiableScores, Features, LossOnScores


@dataclass(frozen=True)
class ScoredBatch:
    """The representations of a batch and their scores.

    A batch holds n queries. Column 0 of the documents holds the positive of each query, further columns hold its own
    negatives or candidates.
    """

    representation: DifferentiableScores
    queries: Any
    documents: Sequence[Any]
    """One entry a column: the representations of n documents."""
    temperature: float
    labels: torch.Tensor | None = None
    """Scores of a teacher (n, columns), where the examples carry some."""
    guide: torch.Tensor | None = None
    """The base model's scores (n, n * columns), in the order of `all_scores`, where the objective is guided."""

    def all_scores(self) -> torch.Tensor:
        """Return the score of each query and each document of the batch (n, n * columns).

        Column i of the result is the positive of query i; the negatives follow.
        """
        return self.representation.scores(self.queries, concatenate(self.documents))

    def own_scores(self) -> torch.Tensor:
        """Return the score of each query and its own documents (n, columns), the positive first."""
        own = [self.representation.pair_scores(self.queries, column) for column in self.documents]
        return torch.stack(own, dim=1)


class ScoreLoss(nn.Module):
    """Represents the columns of a batch and applies an objective to their scores.

    In pieces, activations are thrown away and computed again for the backward pass. The gradient is the same
    (GradCache, Gao et al., 2021).

    Args:
        objective: its `loss` is called.
        model: the adapted model.
        representation: how texts become scores.
        settings: temperature, unless the representation has its own; `mini_batch` texts of a column have activations
            in memory at once, 0 is all.
        detached: switches the attachment off for the length of a block.
        guide: the base model of a guided objective. It encodes each text once for the whole training.
        ranks: the processes that read the batch together. Each represents its part and scores the whole.
    """

    def __init__(
        self,
        objective: LossOnScores,
        model: SentenceTransformer,
        representation: DifferentiableScores,
        settings: TrainingSettings,
        detached: Callable[[], AbstractContextManager[None]],
        guide: SentenceTransformer | None = None,
        ranks: Ranks | None = None,
    ) -> None:
        super().__init__()
        self.objective, self.model, self.representation = objective, model, representation
        own = representation.temperature
        self.temperature = settings.temperature if own is None else own
        self.piece, self.detached = settings.mini_batch, detached
        self.ranks: Ranks = ranks or OneProcess()
        # in a tuple, so that its parameters are not this module's
        self.guides: tuple[SentenceTransformer, ...] = () if guide is None else (guide,)
        self._known: dict[bytes, Any] = {}
        self._guided: dict[bytes, Any] = {}

    def forward(self, sentence_features: Iterable[Features], labels: torch.Tensor | None = None) -> torch.Tensor:
        """Return the mean loss. The first column holds the queries, the other columns hold documents."""
        queries, *documents = sentence_features
        guide = self._guide_scores(queries, documents) if self.guides else None
        by_base = self.representation.documents_by_base
        represented = [self._frozen(each) if by_base else self._represent(each, "document") for each in documents]
        represented = [self.ranks.gathered(each) for each in represented]
        represented_queries = self.ranks.gathered(self._represent(queries, "query"))
        labels = self.ranks.gathered(labels)
        batch = ScoredBatch(self.representation, represented_queries, represented, self.temperature, labels, guide)
        penalty = self.representation.penalty(batch.queries, concatenate(represented))
        loss = self.objective.loss(batch)
        return loss if penalty is None else loss + penalty

    def get_extra_state(self) -> dict[str, Any]:
        """Return the representations that are computed once for the whole training."""
        return {"known": self._known, "guided": self._guided}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Continue with what `get_extra_state` returned."""
        device = next(self.model.parameters()).device
        self._known, self._guided = moved_to(device, (state["known"], state["guided"]))

    def _represent(self, column: Features, kind: Kind) -> Any:
        def represent(part: Features) -> Any:
            return self.representation.represent(self.model, dict(part), kind)  # a copy: the model adds its output

        if "offsets" in column:  # all tokens of the column lie in one row, and a table keeps no activations
            return represent(column)
        rows = len(column["input_ids"])
        if not self.piece or self.piece >= rows or not torch.is_grad_enabled():
            return represent(column)
        pieces = [list(range(begin, min(begin + self.piece, rows))) for begin in range(0, rows, self.piece)]
        return concatenate([recomputed(represent, rows_of(column, piece)) for piece in pieces])

    def _frozen(self, column: Features) -> Any:
        """Return documents as the base model represents them. Each is represented once for the whole training."""

        def represent(part: Features) -> Any:
            training = self.model.training
            with torch.no_grad(), self.detached():
                self.model.eval()
                fresh = self.representation.represent(self.model, part, "document")
            self.model.train(training)
            return fresh

        return _once(column, self._known, represent)

    def _guide_scores(self, queries: Features, documents: Sequence[Features]) -> torch.Tensor:
        """Return the base model's scores of each query and each document of the batch (n, n * columns)."""
        (guide,) = self.guides

        def vectors(part: Features, kind: Kind) -> torch.Tensor:
            with torch.no_grad():
                found: torch.Tensor = guide(part, task=kind)["sentence_embedding"]
            return found if guide.similarity_fn_name == "dot" else nn.functional.normalize(found, dim=1)

        def encoded(column: Features, kind: Kind) -> torch.Tensor:
            found: torch.Tensor = _once(column, self._guided, lambda part: vectors(part, kind), kind.encode())
            return self.ranks.gathered(found.float())

        return encoded(queries, "query") @ torch.cat([encoded(each, "document") for each in documents]).T


def _once(column: Features, known: dict[bytes, Any], represent: Callable[[Features], Any], prefix: bytes = b"") -> Any:
    """Return what represents a column of texts. A text whose tokens are in `known` is not represented again."""
    tokens, mask = column["input_ids"].cpu(), column["attention_mask"].cpu().bool()
    keys = [prefix + row[kept].numpy().tobytes() for row, kept in zip(tokens, mask, strict=True)]
    rows = list({key: row for row, key in enumerate(keys) if key not in known}.values())
    if rows:
        fresh = represent(rows_of(column, rows))
        known |= {keys[row]: select(fresh, position) for position, row in enumerate(rows)}
    return stack([known[key] for key in keys])


def moved_to(device: torch.device, values: Any) -> Any:
    """Return values with every tensor in them on a device."""
    if isinstance(values, torch.Tensor):
        return values.to(device)
    if isinstance(values, dict):
        return {key: moved_to(device, value) for key, value in values.items()}
    return type(values)(moved_to(device, each) for each in values) if isinstance(values, list | tuple) else values


def recomputed(function: Callable[..., Any], *arguments: Any) -> Any:
    """Return the function's result. Its activations are thrown away, and computed again for the backward pass."""
    return checkpoint(function, *arguments, use_reentrant=False, context_fn=FastAttentionBackward.for_checkpoints)


def rows_of(column: Features, rows: list[int]) -> Features:
    """Return some texts of a column."""
    texts = len(column["input_ids"])
    return {
        name: value[rows] if isinstance(value, torch.Tensor) and value.shape[:1] == (texts,) else value
        for name, value in column.items()
    }


def select(representations: Any, position: int) -> Any:
    """Return the representation of one text."""
    if isinstance(representations, torch.Tensor):
        return representations[position]
    return tuple(each[position] for each in representations)


def stack(texts: Sequence[Any]) -> Any:
    """Return the representations of several texts as one, padded with zeros where their lengths differ."""
    if isinstance(texts[0], torch.Tensor):
        return (
            nn.utils.rnn.pad_sequence(list(texts), batch_first=True) if texts[0].ndim > 1 else torch.stack(list(texts))
        )
    return tuple(stack(each) for each in zip(*texts, strict=True))


def concatenate(columns: Sequence[Any]) -> Any:
    """Return several representations one after the other, padded with zeros where their lengths differ."""
    if len(columns) == 1:
        return columns[0]
    if not isinstance(columns[0], torch.Tensor):
        return tuple(concatenate(each) for each in zip(*columns, strict=True))
    longest = max(column.shape[1] for column in columns) if columns[0].ndim > 1 else 0
    padded = [
        nn.functional.pad(column, (0, 0) * (column.ndim - 2) + (0, longest - column.shape[1]))
        if column.ndim > 1 and column.shape[1] < longest
        else column
        for column in columns
    ]
    return torch.cat(padded)
