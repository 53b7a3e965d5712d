"""Texts to vectors: in batches by token count, in bf16 where that is faster, cached by content."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from bench.models import precision
from bench.retrieval.cache import VectorSpace, text_key
from bench.retrieval.prefetch import ahead
from bench.retrieval.table import vector_table

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer

    from bench.strategy.resources import Resources

Kind = Literal["query", "document"]
_DOCUMENT_PROMPTS = ("document", "passage", "corpus")
_CHARS_PER_TOKEN = 4.0
_SEGMENT = 2048
"""Texts between two writes to the cache: what an interruption can cost."""
_AHEAD = 3
"""Batches that are tokenised while the GPU computes."""


class Encoder:
    """Encodes with one model. Vectors are float32; of unit length where the model compares by cosine.

    Args:
        model: what encodes; it may be trained on between two calls.
        context: device, precision, maximum length, cache, meter.
        fingerprint: identity of the weights, the cache's key; None does not cache (the weights are still changing).
    """

    def __init__(self, model: SentenceTransformer, resources: Resources, fingerprint: str | None) -> None:
        self.model = model
        self.resources = resources
        self.fingerprint = fingerprint
        self.precision = precision.resolve(resources.training.precision, resources.device)
        self.max_length = min(resources.max_length or 10**9, model.max_seq_length or 512)
        self._spaces: dict[tuple[Path, str | None], VectorSpace] = {}
        self._is_ready = False

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        dimension = self.model.get_embedding_dimension()
        assert dimension is not None
        return dimension

    def documents(self, texts: Sequence[str]) -> tuple[np.ndarray, float]:
        """Encode documents.

        Returns:
            Vectors (n, d) in the order of `texts`, a memory map where they are many, and the seconds this costs: those
            of today, plus those that cached vectors cost when they were made. The cached part is charged to the meter.
        """
        return self._cached(texts, "document")

    def queries(self, texts: Sequence[str]) -> tuple[np.ndarray, float]:
        """Encode queries; returns as `documents` does."""
        return self._cached(texts, "query")

    def uncached(self, texts: Sequence[str], kind: Kind) -> np.ndarray:
        """Encode without reading or writing the cache: for measuring speed, and while training."""
        vectors = vector_table(len(texts), self.dimension, self._folder)
        with self.ready():
            for positions, batch in self._batches(texts, kind):
                vectors[positions] = batch
        return vectors

    def prompt(self, kind: Kind) -> str | None:
        """Return the text that the model puts before queries or documents; None where it has none."""
        return prompt_of(self.model, kind)

    def _cached(self, texts: Sequence[str], kind: Kind) -> tuple[np.ndarray, float]:
        if self.fingerprint is None or self.resources.cache is None:
            start = time.perf_counter()
            return self.uncached(texts, kind), time.perf_counter() - start
        space = self._space(kind)
        vectors = vector_table(len(texts), self.dimension, self._folder)
        keys = [text_key(text) for text in texts]
        missing, seconds = space.get(keys, vectors)
        self.resources.meter.charge(seconds)
        return vectors, seconds + self._fill(vectors, texts, kind, keys, missing, space)

    def _space(self, kind: Kind) -> VectorSpace:
        """Open the cache's space for queries or documents, or look again into one that is open."""
        assert self.resources.cache is not None
        prompt = self.prompt(kind)
        key = self.resources.cache.folder, prompt
        if key in self._spaces:
            self._spaces[key].refresh()
        else:
            self._spaces[key] = self.resources.cache.space(self.fingerprint, self.max_length, self.precision, prompt)
        return self._spaces[key]

    @property
    def _folder(self) -> Path | None:
        """Where vectors too many for memory lie: with the cache, which is on a disk (scratch may be memory)."""
        return self.resources.cache.folder if self.resources.cache is not None else self.resources.scratch

    def _fill(
        self,
        vectors: np.ndarray,
        texts: Sequence[str],
        kind: Kind,
        keys: Sequence[bytes],
        missing: Sequence[int],
        space: VectorSpace,
    ) -> float:
        """Encode what is missing, segment by segment, each text once; returns the seconds it took."""
        first: dict[bytes, int] = {}
        for position in missing:
            first.setdefault(keys[position], position)
        wanted = sorted(first.values(), key=lambda position: len(texts[position]))
        spent = 0.0
        with self.ready():
            for begin in range(0, len(wanted), _SEGMENT):
                part = wanted[begin : begin + _SEGMENT]
                self.resources.progress("encode", {"done": begin, "total": len(wanted)})
                start = time.perf_counter()
                chunk = [texts[position] for position in part]
                for positions, batch in self._batches(chunk, kind):
                    vectors[[part[position] for position in positions]] = batch
                seconds = time.perf_counter() - start
                spent += seconds
                space.put([keys[position] for position in part], vectors[part], seconds)
        for position in missing:
            if first[keys[position]] != position:
                vectors[position] = vectors[first[keys[position]]]
        return spent

    @contextmanager
    def ready(self) -> Iterator[None]:
        """Evaluation mode, own precision, own length; afterwards all as it was.

        Each call that encodes enters it. Around many small calls enter it once: weights are then converted once.
        """
        import torch

        if self._is_ready:
            yield
            return
        model, training, length = self.model, self.model.training, self.model.max_seq_length
        model.eval()
        model.max_seq_length = self.max_length
        self._is_ready = True
        try:
            with torch.inference_mode(), precision.weights_in(model, self.precision):
                yield
        finally:
            self._is_ready = False
            model.max_seq_length = length
            model.train(training)

    def _batches(self, texts: Sequence[str], kind: Kind) -> Iterator[tuple[list[int], np.ndarray]]:
        """Yield (positions, vectors) of batches of about equal cost, longest texts first.

        A GPU computes one batch while the next ones are tokenised and the vectors of the one before are fetched.
        """
        import torch

        cosine = (self.model.similarity_fn_name or "cosine") == "cosine"
        prepared: Iterable[tuple[list[int], dict[str, Any]]] = self._features(texts, kind)
        if self.resources.device.startswith("cuda"):
            prepared = ahead(prepared, _AHEAD)
        before: tuple[list[int], torch.Tensor] | None = None
        for positions, features in prepared:
            features = {
                name: value.to(self.resources.device, non_blocking=True) if isinstance(value, torch.Tensor) else value
                for name, value in features.items()
            }
            embeddings = self.model(features, task=kind)["sentence_embedding"].float()
            if cosine:
                embeddings = torch.nn.functional.normalize(embeddings, dim=1)
            if before is not None:
                yield before[0], before[1].cpu().numpy()
            before = positions, embeddings
        if before is not None:
            yield before[0], before[1].cpu().numpy()

    def _features(self, texts: Sequence[str], kind: Kind) -> Iterator[tuple[list[int], dict[str, Any]]]:
        """Yield (positions, tokens) of each batch; for a GPU in pinned memory, from where it is copied meanwhile."""
        import torch

        prompt = self.prompt(kind)
        pinned = self.resources.device.startswith("cuda")
        for positions in plan_batches([len(text) for text in texts], self.max_length, self._tokens_a_batch):
            features = self.model.preprocess([texts[position] for position in positions], prompt=prompt, task=kind)
            yield (
                positions,
                {
                    name: value.pin_memory() if pinned and isinstance(value, torch.Tensor) else value
                    for name, value in features.items()
                },
            )

    @property
    def _tokens_a_batch(self) -> int:
        """Tokens that one forward pass takes: enough to fill the cores, few enough to stay in cache and memory."""
        if not self.resources.device.startswith("cuda"):
            return 4096
        import torch

        free, _ = torch.cuda.mem_get_info()
        return int(max(16_384, min(262_144, free / 4 / 200_000)))


def prompt_of(model: SentenceTransformer, kind: Kind) -> str | None:
    """Return the prompt that a model's own configuration puts before queries or documents, as `encode_query` does."""
    names = ("query",) if kind == "query" else _DOCUMENT_PROMPTS
    for name in names:
        if model.prompts.get(name):
            return model.prompts[name]
    return model.prompts.get(model.default_prompt_name) if model.default_prompt_name else None


def plan_batches(lengths: Sequence[int], max_length: int, tokens: int) -> Iterator[list[int]]:
    """Group texts of like length, so that little is padded, into batches of about `tokens` tokens.

    Args:
        lengths: characters of each text; four are counted as a token.
        max_length: tokens a text is cut to.
        tokens: tokens a batch, padding included; a batch holds at least one text.

    Yields:
        Positions in `lengths`, longest texts first, so that memory runs out at once or not at all.
    """
    order = sorted(range(len(lengths)), key=lambda position: -lengths[position])
    begin = 0
    while begin < len(order):
        longest = min(max_length, lengths[order[begin]] / _CHARS_PER_TOKEN + 2)
        size = max(1, int(tokens / longest))
        yield order[begin : begin + size]
        begin += size


def weights_fingerprint(base: str, folder_digest: str) -> str:
    """Return the cache identity of an adapted model: its base model and the digest of its artefact."""
    return hashlib.sha256(f"{base}+{folder_digest}".encode()).hexdigest()[:16]
