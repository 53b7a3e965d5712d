"""Turns texts into vectors: in batches of similar token counts, in bf16 where that is faster, cached by content."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np

from bench.budget import Meter
from bench.models.length import UNLIMITED, beginnings, cut_to, length_limit
from bench.models.precision import resolve, weights_in
from bench.models.state import model_state
from bench.progress import Progress, silent
from bench.retrieval.cache import VectorCache, VectorSpace, text_key
from bench.retrieval.lanes import lanes, side_by_side
from bench.retrieval.prefetch import ahead
from bench.retrieval.table import vector_table

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer

Kind = Literal["query", "document"]
Batch = tuple[list[int], dict[str, Any]]
"""Positions of texts, and their tokens."""
Result = TypeVar("Result")
_DOCUMENT_PROMPTS = ("document", "passage", "corpus")
_CHARS_PER_TOKEN = 4.0
SEGMENT = 2048
"""Number of texts between two writes to the cache. An interruption loses at most these."""
_LOG = logging.getLogger("adaptbench")
_AHEAD = 3
"""Number of batches that are tokenised while the GPU computes."""


class Encoder:
    """Encodes texts with one model.

    Vectors are float32. They have unit length where the model compares by cosine.

    Args:
        model: the encoding model. It may be trained between two calls.
        fingerprint: identity of the weights and key of the cache. None disables the cache, for changing weights.
        device: where the model computes: `cpu`, `cuda`, `cuda:1`, `mps`.
        precision: `auto`, `bf16` or `fp32`.
        max_length: number of tokens a text is cut to. None means the model's own limit, which always holds.
        cache: the vector cache. None encodes every text anew.
        meter: charged with the time that cached vectors took when they were made.
        scratch: folder for vector tables that do not fit into memory, where there is no cache.
        progress: called with `encode` and the number of texts done, and with `note` where the cache is at fault.
        lent: whether others can reach the model, as they can the base model. Its vectors are then cached only while
            the model is what it was when this encoder was made.
    """

    def __init__(
        self,
        model: SentenceTransformer,
        fingerprint: str | None = None,
        *,
        device: str = "cpu",
        precision: str = "auto",
        max_length: int | None = None,
        cache: VectorCache | None = None,
        meter: Meter | None = None,
        scratch: Path | None = None,
        progress: Progress = silent,
        lent: bool = False,
    ) -> None:
        self.model = model
        self.fingerprint = fingerprint
        self.device = device
        self.precision = resolve(precision, device)
        self.max_length = min(max_length or UNLIMITED, length_limit(model) or UNLIMITED)
        self._cache = cache
        self._meter = meter
        self._scratch = scratch
        self._progress = progress
        self._spaces: dict[tuple[object, ...], VectorSpace] = {}
        self._notes: set[str] = set()
        self._is_ready = False
        is_cached = cache is not None and fingerprint is not None
        self._state = model_state(model) if lent and is_cached else None

    @property
    def dimension(self) -> int:
        """The length of a vector."""
        dimension = self.model.get_embedding_dimension()
        assert dimension is not None
        return dimension

    def documents(self, texts: Sequence[str]) -> tuple[np.ndarray, float]:
        """Encode documents.

        Returns:
            Vectors (n, d) in the order of `texts`, and the seconds they cost. Large tables are memory maps. The
            seconds include the time that cached vectors took when they were made. That time is charged to the meter.
        """
        return self._cached(texts, "document")

    def queries(self, texts: Sequence[str]) -> tuple[np.ndarray, float]:
        """Encode queries. Returns vectors and seconds as `documents` does."""
        return self._cached(texts, "query")

    def uncached(self, texts: Sequence[str], kind: Kind) -> np.ndarray:
        """Return the vectors (n, d) of texts without using the cache, for timing and during training."""
        vectors = vector_table(len(texts), self.dimension, self._folder)
        with self.ready():
            for positions, batch in self._batches(texts, kind):
                vectors[positions] = batch
        return vectors

    def prompt(self, kind: Kind) -> str | None:
        """Return the text that the model puts before queries or documents, or None."""
        return prompt_of(self.model, kind)

    def identity(self, kind: Kind) -> tuple[object, ...]:
        """Return what the vectors of texts depend on besides the texts."""
        return self.fingerprint, self.max_length, self.precision, kind, self.prompt(kind)

    def _cached(self, texts: Sequence[str], kind: Kind) -> tuple[np.ndarray, float]:
        if self.fingerprint is None or self._cache is None or self._cache.is_suspended or self._is_altered():
            start = time.perf_counter()
            return self.uncached(texts, kind), time.perf_counter() - start
        space = self._space(self._cache, kind)
        vectors = vector_table(len(texts), self.dimension, self._folder)
        keys = [text_key(text) for text in texts]
        missing, seconds = space.get(keys, vectors)
        if self._meter is not None:
            self._meter.charge(seconds)
        return vectors, seconds + self._fill(vectors, texts, kind, keys, missing, space)

    def _space(self, cache: VectorCache, kind: Kind) -> VectorSpace:
        """Return the cache's space for queries or documents, with everything that other processes have added.

        Queries and documents have spaces of their own: a model may treat them differently without a prompt.
        """
        identity = self.identity(kind)
        if identity in self._spaces:
            self._spaces[identity].refresh()
        else:
            self._spaces[identity] = cache.space(*identity, note=self._note)
        return self._spaces[identity]

    @property
    def is_altered(self) -> bool:
        """Whether a lent model whose vectors are cached has changed since this encoder was made."""
        return self._state is not None and not self._is_ready and model_state(self.model) != self._state

    def _is_altered(self) -> bool:
        """Whether a lent model is no longer what the fingerprint stands for, so that the cache must not know it."""
        if self._state is None:
            return False
        if self._is_ready and self.precision != "fp32":
            return True  # the weights are in another format for the length of a block, and cannot be compared
        if model_state(self.model) == self._state:
            return False
        self._note("the base model was altered by a strategy that it was lent to: its vectors are not cached")
        return True

    def _note(self, text: str) -> None:
        """Tell the user and the log, once."""
        if text not in self._notes:
            self._notes.add(text)
            _LOG.warning("%s", text)
            self._progress("note", {"text": text})

    @property
    def _folder(self) -> Path | None:
        """The folder for vector tables that do not fit into memory.

        The cache's folder comes first: it is on a disk, while scratch may be in memory.
        """
        return self._cache.folder if self._cache is not None else self._scratch

    def _fill(
        self,
        vectors: np.ndarray,
        texts: Sequence[str],
        kind: Kind,
        keys: Sequence[bytes],
        missing: Sequence[int],
        space: VectorSpace,
    ) -> float:
        """Encode the missing texts segment by segment, each text once. Returns the seconds it took."""
        first = first_positions(keys, missing)
        spent, done = 0.0, 0
        with self.ready():
            for part in segments(texts, first.values()):
                self._progress("encode", {"done": done, "total": len(first)})
                done += len(part)
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
        """Put the model into evaluation mode with the encoder's precision and length, and restore it afterwards.

        Every encoding call enters this block. Enter it once around many small calls: the weights are then converted
        only once.
        """
        import torch

        if self._is_ready:
            yield
            return
        model, training = self.model, self.model.training
        model.eval()
        self._is_ready = True
        limit = self.max_length if self.max_length < UNLIMITED else None
        try:
            with torch.inference_mode(), weights_in(model, self.precision), cut_to(model, limit):
                yield
        finally:
            self._is_ready = False
            model.train(training)

    def _batches(self, texts: Sequence[str], kind: Kind) -> Iterator[tuple[list[int], np.ndarray]]:
        """Yield (positions, vectors) of batches of about equal cost, longest texts first.

        A GPU computes one batch while the next batches are tokenised and the previous vectors are copied back.
        """
        import torch

        cosine = (self.model.similarity_fn_name or "cosine") == "cosine"

        def embed(batch: Batch) -> tuple[list[int], torch.Tensor]:
            positions, features = batch
            embeddings = self.model(features, task=kind)["sentence_embedding"].float()
            return positions, torch.nn.functional.normalize(embeddings, dim=1) if cosine else embeddings

        before: tuple[list[int], torch.Tensor] | None = None
        for each in self.each_batch(texts, kind, embed):
            if before is not None:
                yield before[0], before[1].cpu().numpy()
            before = each
        if before is not None:
            yield before[0], before[1].cpu().numpy()

    def each_batch(
        self, texts: Sequence[str], kind: Kind, work: Callable[[Batch], Result], *users: object
    ) -> Iterator[Result]:
        """Yield the results of `work` for batches of about equal cost, longest texts first. Enter `ready` before.

        On a processor, batches are computed side by side where the model allows it (`bench.retrieval.lanes`).

        Args:
            texts: to encode.
            kind: queries or documents.
            work: gets (positions in `texts`, tokens on the encoder's device).
            users: objects that `work` hands the model's output to.
        """
        batches = list(plan_batches([len(text) for text in texts], self.max_length, self._tokens_per_batch))
        n = min(len(batches), lanes(self.model, self.device, *users))
        yield from side_by_side(self._features(batches, texts, kind), work, n)

    @contextmanager
    def exactly(self) -> Iterator[None]:
        """Encode in fp32 for the length of a block."""
        precision, self.precision = self.precision, "fp32"
        try:
            yield
        finally:
            self.precision = precision

    def features(self, texts: Sequence[str], kind: Kind) -> Iterator[Batch]:
        """Yield (positions, tokens) of batches on the encoder's device, longest texts first.

        Enter `ready` before. While a GPU computes one batch, the next batches are tokenised.
        """
        yield from self._features(
            plan_batches([len(text) for text in texts], self.max_length, self._tokens_per_batch), texts, kind
        )

    def _features(self, batches: Iterable[list[int]], texts: Sequence[str], kind: Kind) -> Iterator[Batch]:
        import torch

        prepared: Iterable[Batch] = self._tokenised(batches, texts, kind)
        if self.device.startswith("cuda"):
            prepared = ahead(prepared, _AHEAD)
        for positions, features in prepared:
            yield (
                positions,
                {
                    name: value.to(self.device, non_blocking=True) if isinstance(value, torch.Tensor) else value
                    for name, value in features.items()
                },
            )

    def _tokenised(self, batches: Iterable[list[int]], texts: Sequence[str], kind: Kind) -> Iterator[Batch]:
        """Yield (positions, tokens) of each batch. For a GPU the tokens lie in pinned memory."""
        import torch

        prompt = self.prompt(kind)
        pinned = self.device.startswith("cuda")
        for positions in batches:
            batch = beginnings(self.model, [texts[position] for position in positions], self.max_length)
            features = self.model.preprocess(batch, prompt=prompt, task=kind)
            yield (
                positions,
                {
                    name: value.pin_memory() if pinned and isinstance(value, torch.Tensor) else value
                    for name, value in features.items()
                },
            )

    @property
    def _tokens_per_batch(self) -> int:
        """Number of tokens of a forward pass: enough to fill the cores, few enough for cache and memory."""
        if not self.device.startswith("cuda"):
            return 4096
        import torch

        total = torch.cuda.get_device_properties(self.device).total_memory  # free memory would change the batches
        return int(max(16_384, min(131_072, total / 8 / 200_000)))


def prompt_of(model: SentenceTransformer, kind: Kind) -> str | None:
    """Return the prompt that a model's configuration puts before queries or documents, as `encode_query` does.

    The default prompt is for the library's plain `encode`.
    """
    names = ("query",) if kind == "query" else _DOCUMENT_PROMPTS
    for name in names:
        if model.prompts.get(name):
            return model.prompts[name]
    return None


def first_positions(keys: Sequence[bytes], positions: Iterable[int]) -> dict[bytes, int]:
    """Return the key of each distinct text -> the first of the positions that has it."""
    first: dict[bytes, int] = {}
    for position in positions:
        first.setdefault(keys[position], position)
    return first


def segments(texts: Sequence[str], positions: Iterable[int]) -> list[list[int]]:
    """Return the positions in the parts that are encoded between two writes to the cache, shortest texts first.

    The batches of a text, and so the last bits of its vector, depend on its part alone. Whoever encodes a part gets the
    same vectors, in whichever order the parts are encoded.
    """
    ordered = sorted(positions, key=lambda position: len(texts[position]))
    return [ordered[begin : begin + SEGMENT] for begin in range(0, len(ordered), SEGMENT)]


def plan_batches(lengths: Sequence[int], max_length: int, tokens: int) -> Iterator[list[int]]:
    """Yield batches of about `tokens` tokens that group texts of similar length, to save padding.

    Args:
        lengths: number of characters of each text. Four characters count as a token.
        max_length: number of tokens a text is cut to.
        tokens: number of tokens of a batch, padding included. A batch holds at least one text.

    Yields:
        Positions in `lengths`. The longest texts come first, so that memory runs out at once or not at all.
    """
    order = sorted(range(len(lengths)), key=lambda position: -lengths[position])
    begin = 0
    while begin < len(order):
        longest = min(max_length, lengths[order[begin]] / _CHARS_PER_TOKEN + 2)
        size = max(1, int(tokens / longest))
        yield order[begin : begin + size]
        begin += size


def weights_fingerprint(base: str, folder_digest: str) -> str:
    """Return the cache's key for an adapted model, from its base model and the digest of its artefact."""
    return hashlib.sha256(f"{base}+{folder_digest}".encode()).hexdigest()[:16]
