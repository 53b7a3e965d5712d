"""Training a head: a small module after pooling, on vectors of the base model.

The base model encodes the texts of the steps that are taken, each once, and no others. The fit is charged for them.

Batches and temperature are those of the encoders. A head and an encoder differ in what is trained and in nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import islice, repeat
from typing import get_args

import numpy as np
import torch

from bench.data.dataset import Pair, TrainingData
from bench.evaluation.flops import flop_model, token_counts
from bench.evaluation.measured_once import seconds_measured_once
from bench.retrieval.encode import Kind
from bench.strategy.resources import Resources
from bench.training.batches import contrastive_batches
from bench.training.hard_negatives import with_hard_negatives
from bench.training.task import NO_CHECKPOINTS, Checkpoints, OnStep
from bench.training.torch_loop import ModuleTask

Forward = Callable[[torch.Tensor], torch.Tensor]
"""Query vectors (n, d) to adapted query vectors (n, d), of unit length where the model compares by cosine."""
Text = tuple[Kind, str]
"""A text as it is encoded: a query or a document."""
KINDS: tuple[Kind, ...] = get_args(Kind)
_TIMED_BATCHES = 4
"""Batches whose texts are encoded to measure the seconds of a token."""


class HeadTask(ModuleTask):
    """InfoNCE with in-batch negatives between adapted queries and fixed documents.

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
        self.pairs: Sequence[Pair] = with_hard_negatives(data, resources)
        self._rows: dict[int, int] = {}  # position of a pair -> row of its vectors
        self._queries = self._documents = torch.empty(0)

    def batches(self) -> Iterator[list[int]]:
        """Yield the batches that encoders are trained on, too."""
        size = self.settings.batch_size
        return contrastive_batches(self.data.pairs, self.data.train_qrels, size, self.seed)

    def run_steps(
        self,
        steps: int,
        on_step: OnStep,
        batches: Sequence[list[int]] = (),
        trial: bool = False,
        checkpoints: Checkpoints = NO_CHECKPOINTS,
    ) -> None:
        """Encode the texts of these steps, then take them."""
        chosen = batches or list(islice(self.batches(), steps))
        self.encode(chosen)
        super().run_steps(steps, on_step, chosen, trial, checkpoints)

    def encode(self, batches: Sequence[list[int]]) -> None:
        """Encode the texts of batches, each different text once. They replace those of earlier batches."""
        positions = sorted({position for batch in batches for position in batch})
        pairs = [self.pairs[position] for position in positions]
        columns = list(zip(*(_documents(pair) for pair in pairs), strict=True))
        texts = [text for column in columns for text in column]
        encoder = self.resources.encoder
        self._rows = {position: row for row, position in enumerate(positions)}
        self._queries = _vectors([pair.query for pair in pairs], encoder.queries)
        self._documents = _vectors(texts, encoder.documents).reshape(len(columns), len(pairs), -1)

    def loss(self, batch: list[int]) -> torch.Tensor:
        """InfoNCE (van den Oord et al., 2018, eq. 4): each query against all documents of the batch."""
        rows = [self._rows[position] for position in batch]
        adapted = self.forward(self._queries[rows])
        candidates = self._documents[:, rows].flatten(0, 1)
        logits = adapted @ candidates.T / self.settings.temperature
        return torch.nn.functional.cross_entropy(logits, torch.arange(len(batch)))

    def step_flops(self) -> Iterator[float]:
        """Yield the operations of each step. A step pays for encoding the texts that no earlier step has used.

        Forward and backward through the head's matrices cost 6 a weight and query; a similarity costs 2 a dimension,
        and as much again for the gradient of the query.
        """
        weights = sum(parameter.numel() for parameter in self.module.parameters() if parameter.ndim > 1)
        dimension = self.resources.encoder.dimension
        with self.resources.meter.excluded():
            flops = flop_model(self.resources.encoder.model)
        for batch, new in self._new_texts():
            documents = sum(len(_documents(self.pairs[position])) for position in batch)
            encoding = sum(flops.forward(length, length) for length in self._lengths(new))
            yield encoding + 6.0 * weights * len(batch) + 4.0 * len(batch) * documents * dimension

    def step_seconds(self, measured: float) -> Iterator[float]:
        """Yield the seconds of each step: a measured step, and encoding the texts that no earlier step has used."""
        identity = "seconds a token", self.resources.model.name, self.data.dataset, self.resources.training
        per_token = seconds_measured_once(self.resources.calibrations, identity, self._seconds_per_token)
        everything = {text for pair in self.pairs for text in _texts(pair)}
        used = 0
        for _, new in self._new_texts():
            yield measured + per_token * sum(self._lengths(new))
            used += len(new)
            if used == len(everything):
                break
        yield from repeat(measured)

    def _new_texts(self) -> Iterator[tuple[list[int], Collection[Text]]]:
        """Yield each batch with the texts that no earlier batch holds."""
        known: set[Text] = set()
        for batch in self.batches():
            new = dict.fromkeys(
                text for position in batch for text in _texts(self.pairs[position]) if text not in known
            )
            known.update(new)
            yield batch, new

    def _lengths(self, texts: Collection[Text]) -> list[float]:
        """Return the number of tokens of texts, as the model cuts them. Counting is not charged."""
        encoder = self.resources.encoder
        found: list[float] = []
        with self.resources.meter.excluded():
            for kind in KINDS:
                own = [text for each, text in texts if each == kind]
                if own:
                    found += map(float, token_counts(encoder.model, own, kind, encoder.max_length))
        return found

    def _seconds_per_token(self) -> float:
        """Return the seconds in which the base model encodes a token of the training texts. Not charged."""
        sample = [text for _, new in islice(self._new_texts(), _TIMED_BATCHES) for text in new]
        encoder = self.resources.encoder
        with self.resources.meter.excluded(), encoder.ready():
            texts = [text for _, text in sample]
            encoder.uncached(texts[:8], "document")  # the first call sets things up
            start = time.perf_counter()
            encoder.uncached(texts, "document")
            return (time.perf_counter() - start) / max(1.0, sum(self._lengths(sample)))


def _documents(pair: Pair) -> tuple[str, ...]:
    """Return the documents of a pair: the positive, then mined negatives."""
    return pair.document, *pair.negatives


def _texts(pair: Pair) -> list[Text]:
    return [("query", pair.query), *(("document", text) for text in _documents(pair))]


def _vectors(texts: list[str], encode: Callable[[list[str]], tuple[np.ndarray, float]]) -> torch.Tensor:
    """Encode each different text once; returns vectors (n, d) in the order of `texts`."""
    rows = {text: row for row, text in enumerate(dict.fromkeys(texts))}
    vectors, _ = encode(list(rows))
    return torch.from_numpy(vectors[[rows[text] for text in texts]])
