"""Turns texts into vectors: in batches of similar token counts, in bf16 where that is faster, cached by content."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from bench.budget import Meter
from bench.models.length import UNLIMITED, beginnings, cut_to, length_limit
from bench.models.precision import resolve, weights_in
from bench.models.state import model_state
from bench.progress import Progress, silent
from bench.retrieval.cache import VectorCache, VectorSpace, keys_in_list, text_key
from bench.retrieval.prefetch import ahead
from bench.retrieval.table import vector_table

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer

Kind = Literal["query", "document"]
Batch = tuple[list[int], dict[str, Any]]
"""Positions of texts, and their tokens."""
_DOCUMENT_PROMPTS = ("document", "passage", "corpus")
_CHARS_PER_TOKEN = 4.0
SEGMENT = 2048
"""Number of texts between two writes to the cache. An interruption loses at most these."""
_LOG = logging.getLogger("adaptbench")
_GROUP = 65_536
"""Number of tokens that are tokenised at once."""
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
        """Encode queries. Returns vectors and seconds as `documents` does.

        The cache gives back the vectors of the same list of queries only. The last bits of a vector depend on the texts
        that are encoded with it, and jobs encode different lists that share queries: results would depend on which job
        came first.
        """
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
        keys = keys_in_list(texts) if kind == "query" else [text_key(text) for text in texts]
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
        before: tuple[list[int], torch.Tensor] | None = None
        for positions, features in self.features(texts, kind):
            embeddings = self.model(features, task=kind)["sentence_embedding"].float()
            if cosine:
                embeddings = torch.nn.functional.normalize(embeddings, dim=1)
            if before is not None:
                yield before[0], before[1].cpu().numpy()
            before = positions, embeddings
        if before is not None:
            yield before[0], before[1].cpu().numpy()

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
        import torch

        prepared: Iterable[Batch] = self._tokenised(texts, kind)
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

    def _tokenised(self, texts: Sequence[str], kind: Kind) -> Iterator[Batch]:
        """Yield (positions, tokens) of each batch. For a GPU the tokens lie in pinned memory.

        Texts are tokenised in groups of several batches of about the same number of characters. The batches of a group
        are formed by the number of tokens: characters tell it too badly, and queries would be half padding.
        """
        import torch

        pinned, size = self.device.startswith("cuda"), self._tokens_per_batch
        padding = getattr(getattr(self.model, "tokenizer", None), "pad_token_id", None)
        lengths: list[int] | None = []
        for group in self._planned(texts, range(len(texts)), max(_GROUP, 2 * size)):
            if lengths is not None:
                features = self._preprocess(texts, group, kind)
                lengths = token_lengths(features, padding)
            batches: Iterable[Batch]
            if lengths is not None:
                assert padding is not None
                parts = plan_batches(lengths, size)
                batches = (([group[row] for row in part], rows_of(features, part, padding)) for part in parts)
            else:
                parts = self._planned(texts, group, size)
                batches = ((part, self._preprocess(texts, part, kind)) for part in parts)
            for positions, batch in batches:
                yield (
                    positions,
                    {
                        name: value.pin_memory() if pinned and isinstance(value, torch.Tensor) else value
                        for name, value in batch.items()
                    },
                )

    def _planned(self, texts: Sequence[str], positions: Sequence[int], tokens: int) -> Iterator[list[int]]:
        """Yield the positions of texts in batches of about this many tokens, judged by their characters."""
        lengths = [min(self.max_length, len(texts[at]) / _CHARS_PER_TOKEN + 2) for at in positions]
        for batch in plan_batches(lengths, tokens):
            yield [positions[row] for row in batch]

    def _preprocess(self, texts: Sequence[str], positions: Sequence[int], kind: Kind) -> dict[str, Any]:
        """Return the tokens of some texts, as the model's own code makes them."""
        batch = beginnings(self.model, [texts[position] for position in positions], self.max_length)
        features: dict[str, Any] = self.model.preprocess(batch, prompt=self.prompt(kind), task=kind)
        return features

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


def plan_batches(lengths: Sequence[float], tokens: int) -> Iterator[list[int]]:
    """Yield batches of about `tokens` tokens that group texts of similar length, to save padding.

    Args:
        lengths: number of tokens of each text.
        tokens: number of tokens of a batch, padding included. A batch holds at least one text.

    Yields:
        Positions in `lengths`. The longest texts come first, so that memory runs out at once or not at all.
    """
    order = sorted(range(len(lengths)), key=lambda position: -lengths[position])
    begin = 0
    while begin < len(order):
        size = max(1, int(tokens / max(1, lengths[order[begin]])))
        yield order[begin : begin + size]
        begin += size


def token_lengths(features: Mapping[str, Any], padding: int | None) -> list[int] | None:
    """Return the number of tokens of each text; None where rows cannot be taken out of these tokens.

    They can where every tensor has a row a text and a column a token.

    Args:
        features: what a model's own code made of the texts.
        padding: the id of the token that fills up rows.
    """
    import torch

    mask, ids = features.get("attention_mask"), features.get("input_ids")
    tensors = [value for value in features.values() if not isinstance(value, str | int | float | bool | None)]
    is_table = all(isinstance(each, torch.Tensor) and each.shape == getattr(mask, "shape", ()) for each in tensors)
    if mask is None or ids is None or padding is None or not is_table or mask.ndim != 2:
        return None
    lengths: list[int] = _is_token(features, padding).sum(1).tolist()
    return lengths


def rows_of(features: Mapping[str, Any], rows: Sequence[int], padding: int) -> dict[str, Any]:
    """Return the tokens of some texts, without the columns that are padding in all of them (see `token_lengths`)."""
    import torch

    chosen = {name: value[rows] if isinstance(value, torch.Tensor) else value for name, value in features.items()}
    used = _is_token(chosen, padding).any(0).nonzero()
    columns = slice(int(used.min()), int(used.max()) + 1) if len(used) else slice(0, 1)
    return {name: value[:, columns] if isinstance(value, torch.Tensor) else value for name, value in chosen.items()}


def _is_token(features: Mapping[str, Any], padding: int) -> torch.Tensor:
    """Return where something other than padding stands (texts, tokens). A token may be masked and still be used."""
    found: torch.Tensor = features["attention_mask"].bool() | (features["input_ids"] != padding)
    return found


def weights_fingerprint(base: str, folder_digest: str) -> str:
    """Return the cache's key for an adapted model, from its base model and the digest of its artefact."""
    return hashlib.sha256(f"{base}+{folder_digest}".encode()).hexdigest()[:16]
