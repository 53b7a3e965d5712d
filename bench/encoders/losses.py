"""Losses other than the shared contrastive one. Imports torch: strategies import this module inside their methods."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

Features = dict[str, Any]
"""Tokens of a column of texts: `input_ids` and `attention_mask` (n, length), and what else a model takes."""


class QuerySideLoss(nn.Module):
    """InfoNCE with in-batch negatives between adapted queries and documents as the base model encodes them.

    Documents get no gradient, and each is encoded once for the whole training.

    Args:
        model: the adapted model.
        temperature: divides similarities.
        detached: gives the base model back for the length of a block.
        piece: texts whose activations are in memory at once; 0 is the whole column.
    """

    keeps_documents = True  # read by bench.training.step_flops

    def __init__(
        self,
        model: SentenceTransformer,
        temperature: float,
        detached: Callable[[], AbstractContextManager[None]],
        piece: int = 0,
    ) -> None:
        super().__init__()
        self.model, self.temperature, self.detached, self.piece = model, temperature, detached, piece
        self._known: dict[bytes, torch.Tensor] = {}

    def forward(self, sentence_features: Iterable[Features], labels: torch.Tensor | None = None) -> torch.Tensor:
        """Return the mean loss over the queries, the first column; the other columns are documents."""
        anchors, *columns = sentence_features
        documents = torch.cat([self._encoded(column) for column in columns])
        queries = _embed(self.model, anchors, self.piece)
        logits = queries @ documents.to(queries.dtype).T / self.temperature
        return functional.cross_entropy(logits, torch.arange(len(queries), device=logits.device))

    def _encoded(self, column: Features) -> torch.Tensor:
        tokens, mask = column["input_ids"].cpu(), column["attention_mask"].cpu().bool()
        keys = [row[kept].numpy().tobytes() for row, kept in zip(tokens, mask, strict=True)]
        rows = list({key: row for row, key in enumerate(keys) if key not in self._known}.values())
        if rows:
            training = self.model.training
            with torch.no_grad(), self.detached():
                vectors = _embed(self.model.eval(), _rows(column, rows), 0)
            self.model.train(training)
            self._known |= {keys[row]: vector for row, vector in zip(rows, vectors, strict=True)}
        return torch.stack([self._known[key] for key in keys])


class ListwiseLoss(nn.Module):
    """Kullback-Leibler divergence from the teacher's to the student's distribution over each query's documents.

    Args:
        model: the student.
        temperature: divides the student's similarities.
        teacher_temperature: divides the teacher's scores.
        piece: texts of a column whose activations are in memory at once; 0 is the whole column.
    """

    def __init__(
        self, model: SentenceTransformer, temperature: float, teacher_temperature: float, piece: int = 0
    ) -> None:
        super().__init__()
        self.model, self.temperature, self.teacher_temperature = model, temperature, teacher_temperature
        self.piece = piece

    def forward(self, sentence_features: Iterable[Features], labels: torch.Tensor) -> torch.Tensor:
        """Return the mean divergence in nats; `labels` (n, documents) are the teacher's scores in columns' order."""
        queries, *documents = (_embed(self.model, column, self.piece) for column in sentence_features)
        similarity = (queries.unsqueeze(1) * torch.stack(documents, dim=1)).sum(dim=2)
        student = functional.log_softmax(similarity.float() / self.temperature, dim=1)
        teacher = functional.log_softmax(labels.float() / self.teacher_temperature, dim=1)
        return functional.kl_div(student, teacher, log_target=True, reduction="batchmean")


def _embed(model: SentenceTransformer, column: Features, piece: int) -> torch.Tensor:
    """Return the embeddings (n, d) of a column of texts, of unit length where the model compares by cosine.

    In pieces, activations are thrown away and computed again for the backward pass; the gradient is the same.
    """

    def embed(part: Features) -> torch.Tensor:
        vectors: torch.Tensor = model(dict(part))["sentence_embedding"]  # a copy, as the model adds its output to it
        return vectors if model.similarity_fn_name == "dot" else functional.normalize(vectors, dim=1)

    count = len(column["input_ids"])
    if not piece or piece >= count or not torch.is_grad_enabled():
        return embed(column)
    rows = [list(range(begin, min(begin + piece, count))) for begin in range(0, count, piece)]
    return torch.cat([checkpoint(embed, _rows(column, part), use_reentrant=False) for part in rows])


def _rows(column: Features, rows: list[int]) -> Features:
    """Return some texts of a column."""
    count = len(column["input_ids"])
    return {
        name: value[rows] if isinstance(value, torch.Tensor) and value.shape[:1] == (count,) else value
        for name, value in column.items()
    }
