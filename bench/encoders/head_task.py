"""Training a head: a small module after pooling, on vectors of the base model that are made once.

Batches and temperature are those of the encoders. A head and an encoder differ in what is trained and in nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch

from bench.data.dataset import TrainingData
from bench.evaluation.flops import flop_model, token_counts
from bench.retrieval.encode import Kind
from bench.strategy.resources import Resources
from bench.training.batches import contrastive_batches
from bench.training.hard_negatives import with_hard_negatives
from bench.training.torch_loop import ModuleTask

Forward = Callable[[torch.Tensor], torch.Tensor]
"""Query vectors (n, d) to adapted query vectors (n, d), of unit length where the model compares by cosine."""


class HeadTask(ModuleTask):
    """InfoNCE with in-batch negatives between adapted queries and fixed documents. Each text is encoded once.

    The batch sets the negatives, so it stays whole under a budget of memory. Vectors and head take little.

    Args:
        module: what is trained.
        forward: applies the module to query vectors.
        data: training pairs, with mined negatives where the settings ask for some.
        resources: base encoder and settings.
        lr: peak learning rate.
        seed: of the batches.
    """

    def __init__(
        self,
        module: torch.nn.Module,
        forward: Forward,
        data: TrainingData,
        resources: Resources,
        lr: float,
        seed: int,
    ) -> None:
        super().__init__(module, resources.training, lr)
        self.forward, self.data, self.resources, self.seed = forward, data, resources, seed
        pairs = data.pairs
        columns = [[pair.document for pair in pairs]]
        if resources.training.hard_negatives:
            pairs = with_hard_negatives(data, resources)
            columns += [list(texts) for texts in zip(*(pair.negatives for pair in pairs), strict=True)]
        queries = [pair.query for pair in pairs]
        texts = [text for column in columns for text in column]
        self._texts: dict[Kind, list[str]] = {
            "query": list(dict.fromkeys(queries)),
            "document": list(dict.fromkeys(texts)),
        }
        self.queries = _vectors(queries, resources.encoder.queries)
        self.documents = _vectors(texts, resources.encoder.documents).reshape(len(columns), len(pairs), -1)

    def batches(self) -> Iterator[list[int]]:
        """Yield the batches that encoders are trained on, too."""
        size = self.settings.batch_size
        return contrastive_batches(self.data.pairs, self.data.train_qrels, size, self.seed)

    def loss(self, batch: list[int]) -> torch.Tensor:
        """InfoNCE (van den Oord et al., 2018, eq. 4): each query against all documents of the batch."""
        adapted = self.forward(self.queries[batch])
        candidates = self.documents[:, batch].flatten(0, 1)
        logits = adapted @ candidates.T / self.settings.temperature
        return torch.nn.functional.cross_entropy(logits, torch.arange(len(batch)))

    def step_flops(self) -> Iterator[float]:
        """Yield the operations of each step; the first one pays for encoding the training texts.

        Forward and backward through the head's matrices cost 6 a weight and query; a similarity costs 2 a dimension,
        and as much again for the gradient of the query.
        """
        weights = sum(parameter.numel() for parameter in self.module.parameters() if parameter.ndim > 1)
        columns, _, dimension = self.documents.shape
        cost = self._encoding_flops()
        for batch in self.batches():
            size = len(batch)
            yield cost + 6.0 * weights * size + 4.0 * size * size * columns * dimension
            cost = 0.0

    def _encoding_flops(self) -> float:
        with self.resources.meter.excluded():
            encoder = self.resources.encoder
            flops = flop_model(encoder.model)
            lengths = [
                float(length)
                for kind, texts in self._texts.items()
                for length in token_counts(encoder.model, texts, kind, encoder.max_length)
            ]
            return sum(flops.forward(length, length) for length in lengths)


def _vectors(texts: list[str], encode: Callable[[list[str]], tuple[np.ndarray, float]]) -> torch.Tensor:
    """Encode each different text once; returns vectors (n, d) in the order of `texts`."""
    rows = {text: row for row, text in enumerate(dict.fromkeys(texts))}
    vectors, _ = encode(list(rows))
    return torch.from_numpy(vectors[[rows[text] for text in texts]])
