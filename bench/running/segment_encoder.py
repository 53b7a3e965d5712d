"""Encodes parts of the corpus of a cell into the vector cache, so that several workers can share one large corpus.

The parts are those that the cell itself would encode between two writes to the cache, and each becomes one segment of
the cache. A part whose vectors are there already is read and not encoded again. The cell then finds all vectors, with
the seconds that they cost. So its vectors and its costs are those of a cell that encodes alone.

The process that encodes runs the code of a strategy, so another process reads the dataset and hands over its corpus.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from bench.config.execution import ExecutionSettings
from bench.data.dataset import UnjudgedPairs
from bench.encoders.serving import encoder_of, merged
from bench.errors import BenchError
from bench.planning.specs import CellSpec
from bench.retrieval.cache import VectorCache, text_key
from bench.retrieval.encode import SEGMENT, first_positions, segments
from bench.running.environment import JobEnvironment
from bench.running.remote import hidden_main_module
from bench.running.scorer_process import scorer_process
from bench.store.store import Store


def segments_of(spec: CellSpec) -> int:
    """Return the largest number of segments that the corpus of a cell may have: texts that repeat are encoded once."""
    return -(-spec.documents // SEGMENT)


@dataclass
class SegmentEncoder:
    """Encodes segments of the corpus of one cell. It loads fit and corpus once, at its first segment.

    Args:
        spec: the cell.
        store: the store of the run, which holds the cell's fit.
        execution: how the work is done.
    """

    spec: CellSpec
    store: Store
    execution: ExecutionSettings
    _open: ExitStack = field(default_factory=ExitStack, init=False, repr=False)
    _loaded: _Loaded | None = field(default=None, init=False, repr=False)

    def encode(self, number: int) -> int:
        """Put the vectors of one segment into the cache, where they are missing.

        Args:
            number: of the segment; a number beyond the last segment is none.

        Returns:
            The number of its texts.

        Raises:
            BenchError: the strategy keeps no vectors in the cache, or the cache takes no more.
            Exception: what the strategy raised.
        """
        if self._loaded is None:
            self._loaded = self._load()
        encoder, cache, texts, parts = self._loaded.encoder, self._loaded.cache, self._loaded.texts, self._loaded.parts
        part = parts[number] if number < len(parts) else []
        before = cache.kept
        if part:
            encoder.documents([texts[position] for position in part])
        if cache.kept - before < len(part):
            raise BenchError(
                f"the vector cache at {cache.folder} did not take all vectors. Its bound is "
                f"{cache.max_bytes / 1024**3:g} GiB: BENCH_CACHE_GB sets it"
            )
        return len(part)

    def close(self) -> None:
        """Forget fit and corpus."""
        self._loaded = None
        self._open.close()

    def _load(self) -> _Loaded:
        environment = self._open.enter_context(JobEnvironment(self.store, self.execution))
        strategy = environment.strategy(self.spec.fit, self.spec.max_length)
        encoder = encoder_of(strategy)
        if not hasattr(encoder, "documents"):
            raise BenchError(f"{self.spec.strategy} does not represent a document as one vector")
        execution = self.execution
        with (
            hidden_main_module(),
            scorer_process(self.spec, self.store, execution.data_dir, execution.threads) as scorer,
        ):
            dataset = scorer.unjudged()
        assert not isinstance(dataset, UnjudgedPairs), "pairs of sentences have no corpus to share"
        texts = dataset.corpus.texts
        keys = [text_key(text) for text in texts]
        parts = segments(texts, first_positions(keys, range(len(keys))).values())
        self._open.enter_context(merged(strategy))
        return _Loaded(encoder, environment.cache, texts, parts)


@dataclass(frozen=True)
class _Loaded:
    encoder: Any
    cache: VectorCache
    texts: Any
    parts: list[list[int]]
