"""Losses other than the shared contrastive one. Imports torch: strategies import this module inside their methods."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from torch import nn
from torch.nn import functional

Features = dict[str, Any]
"""Tokens of a column of texts: `input_ids` and `attention_mask` (n, length), and what else a model takes."""


class QuerySideLoss(nn.Module):
    """InfoNCE with in-batch negatives between adapted queries and documents as the base model encodes them.

    Documents get no gradient, and each is encoded once for the whole training.

    Args:
        model: the adapted model.
        temperature: divides similarities.
        detached: gives the base model back for the length of a block.
    """

    def __init__(
        self, model: SentenceTransformer, temperature: float, detached: Callable[[], AbstractContextManager[None]]
    ) -> None:
        super().__init__()
        self.model, self.temperature, self.detached = model, temperature, detached
        self._known: dict[bytes, torch.Tensor] = {}

    def forward(self, sentence_features: Iterable[Features], labels: torch.Tensor | None = None) -> torch.Tensor:
        """Return the mean loss over the queries, the first column; the other columns are documents."""
        anchors, *columns = sentence_features
        documents = torch.cat([self._encoded(column) for column in columns])
        queries = _unit(self.model, self.model(anchors)["sentence_embedding"])
        logits = queries @ documents.to(queries.dtype).T / self.temperature
        return functional.cross_entropy(logits, torch.arange(len(queries), device=logits.device))

    def _encoded(self, column: Features) -> torch.Tensor:
        tokens, mask = column["input_ids"].cpu(), column["attention_mask"].cpu().bool()
        keys = [row[kept].numpy().tobytes() for row, kept in zip(tokens, mask, strict=True)]
        rows = list({key: row for row, key in enumerate(keys) if key not in self._known}.values())
        if rows:
            part = {
                name: value[rows] if isinstance(value, torch.Tensor) and value.shape[:1] == (len(keys),) else value
                for name, value in column.items()
            }
            training = self.model.training
            with torch.no_grad(), self.detached():
                vectors = _unit(self.model.eval(), self.model(part)["sentence_embedding"])
            self.model.train(training)
            self._known |= {keys[row]: vector for row, vector in zip(rows, vectors, strict=True)}
        return torch.stack([self._known[key] for key in keys])


class ListwiseLoss(nn.Module):
    """Kullback-Leibler divergence from the teacher's to the student's distribution over each query's documents.

    Args:
        model: the student.
        temperature: divides the student's similarities.
        teacher_temperature: divides the teacher's scores.
    """

    def __init__(self, model: SentenceTransformer, temperature: float, teacher_temperature: float) -> None:
        super().__init__()
        self.model, self.temperature, self.teacher_temperature = model, temperature, teacher_temperature

    def forward(self, sentence_features: Iterable[Features], labels: torch.Tensor) -> torch.Tensor:
        """Return the mean divergence in nats; `labels` (n, documents) are the teacher's scores in columns' order."""
        queries, *documents = (
            _unit(self.model, self.model(column)["sentence_embedding"]) for column in sentence_features
        )
        similarity = (queries.unsqueeze(1) * torch.stack(documents, dim=1)).sum(dim=2)
        student = functional.log_softmax(similarity.float() / self.temperature, dim=1)
        teacher = functional.log_softmax(labels.float() / self.teacher_temperature, dim=1)
        return functional.kl_div(student, teacher, log_target=True, reduction="batchmean")


def _unit(model: SentenceTransformer, vectors: torch.Tensor) -> torch.Tensor:
    """Return vectors of unit length, where the model compares by cosine."""
    return vectors if model.similarity_fn_name == "dot" else functional.normalize(vectors, dim=1)
