"""The vectors of any single-vector strategy in fewer bytes: fewer dimensions, fewer bits, or both.

Signs with rescoring are those of Yamada et al. (2021, section 3.2). Axes without centring are the truncated singular
value decomposition (Deerwester et al., 1990, section 4).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from bench.budget import Budget
from bench.data.dataset import Corpus, TrainingData
from bench.encoders.vectors import compares_by_cosine, document_vectors, is_single_vector, query_vectors
from bench.errors import NotApplicableError, unknown
from bench.records import FitReport
from bench.retrieval.compressed import CODES, CompressedIndex, check_format
from bench.retrieval.ranking import Ranking
from bench.strategy.base import Strategy
from bench.strategy.hyperparameters import StrategyConfig

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from bench.strategy.resources import Resources

REDUCTIONS = ("svd", "pca", "truncate")
_FILE = "axes.npz"


class Compress(Strategy):
    """The component's vectors, reduced to `dimension` numbers and stored in another format.

    It trains nothing. The axes of `svd` and `pca` come from the component's own document vectors. Queries go through
    the same reduction and stay in fp32.
    """

    name = "compress"
    summary = "the vectors of x in fewer dimensions or bits"
    needs = frozenset({"corpus"})
    n_components = 1
    single_vector_components = True

    @dataclass(frozen=True)
    class Config(StrategyConfig):
        """A `dimension` of 0 keeps all. `store` and `rescore` are formats of `bench.retrieval.compressed`.

        `reduce` says which dimensions are kept: the axes of largest second moment (`svd`), those of largest variance
        after centring (`pca`), or the first ones (`truncate`, which Matryoshka training prepares for). Truncated and
        centred vectors get unit length again where the model compares by cosine. `svd` keeps the inner products as they
        are, as closely as this many dimensions can.
        """

        dimension: int = 0
        reduce: str = "svd"
        store: str = "int8"
        rescore: str = CODES
        oversample: int = 10
        documents: int = 4096
        """Documents of the sample that the axes come from."""
        positive: ClassVar[tuple[str, ...]] = ("dimension", "oversample", "documents")

        def __post_init__(self) -> None:
            check_format(self.store, self.rescore)
            if self.reduce not in REDUCTIONS:
                raise unknown("reduce", self.reduce, REDUCTIONS)

    def __init__(
        self, config: StrategyConfig | None, resources: Resources, components: Sequence[Strategy] = ()
    ) -> None:
        super().__init__(config, resources, components)
        self._mean: np.ndarray | None = None
        self._axes: np.ndarray | None = None
        for component in self.components:
            if not is_single_vector(component):
                raise NotApplicableError(
                    f"compress needs one vector a text, and {component.name} ranks by something else"
                )
            self.reindex = "encode" if component.reindex == "encode" else "transform"

    @property
    def _component(self) -> Strategy:
        return self.components[0]

    def fit(self, data: TrainingData, budget: Budget, seed: int) -> FitReport:
        """Take the axes from a sample of the corpus. Truncation and formats alone need nothing."""
        config = self.config
        self._mean = self._axes = None
        if not config.dimension or config.reduce == "truncate":
            return FitReport(chosen={"store": config.store})
        texts = data.corpus.texts
        places = np.sort(np.random.default_rng([seed, 17]).permutation(len(texts))[: config.documents])
        vectors, _ = document_vectors(self._component, [texts[place] for place in places])
        self._mean, self._axes, kept = principal_axes(vectors, config.dimension, centred=config.reduce == "pca")
        return FitReport(chosen={"store": config.store, "documents": len(places), "kept": kept})

    def reduced(self, vectors: np.ndarray) -> np.ndarray:
        """Return vectors (n, d) with the dimensions that are kept (n, `dimension`).

        Raises:
            NotApplicableError: the component's vectors have fewer dimensions.
        """
        config = self.config
        if not config.dimension:
            return vectors
        if config.dimension > vectors.shape[1]:
            raise NotApplicableError(
                f"compress: dimension={config.dimension}, but vectors of {self._component.name} have {vectors.shape[1]}"
            )
        if self._axes is None or self._mean is None:
            kept = vectors[:, : config.dimension]
        else:
            kept = (vectors - self._mean) @ self._axes.T
        if config.reduce != "svd" and compares_by_cosine(self._component):
            kept = kept / np.maximum(np.linalg.norm(kept, axis=1, keepdims=True), 1e-12)
        return np.ascontiguousarray(kept, dtype=np.float32)

    def index(self, corpus: Corpus) -> CompressedIndex:
        """Encode the corpus with the component, and keep codes alone."""
        vectors, seconds = document_vectors(self._component, corpus.texts)
        config = self.config
        return CompressedIndex(
            corpus.ids, self.reduced(vectors), config.store, config.rescore, config.oversample, seconds
        )

    def search(self, queries: Mapping[str, str], index: Any, top_k: int) -> Ranking:
        """Encode the queries with the component, and compare them with the codes."""
        vectors = query_vectors(self._component, list(queries.values()))
        ranking: Ranking = index.search(list(queries), self.reduced(vectors), top_k)
        return ranking

    def untrained_counterpart(self) -> Strategy | None:
        """Return the base model's vectors in the same format; None where axes were taken from the component's."""
        base = self._component.untrained_counterpart()
        if base is None or self._axes is not None:
            return None
        return Compress(self.config, self.resources, (base,))

    def to_sentence_transformer(self) -> SentenceTransformer:
        """Refuse: codes belong to an index.

        Raises:
            NotApplicableError: always.
        """
        raise NotApplicableError("compress changes how an index stores vectors. Its component can be exported.")

    def save(self, folder: Path) -> None:
        """Write mean and axes, where there are some."""
        if self._axes is not None and self._mean is not None:
            np.savez(folder / _FILE, mean=self._mean, axes=self._axes)

    def load(self, folder: Path) -> None:
        """Read what `save` wrote."""
        self._mean = self._axes = None
        if (folder / _FILE).exists():
            with np.load(folder / _FILE, allow_pickle=False) as arrays:
                self._mean, self._axes = arrays["mean"], arrays["axes"]


def principal_axes(vectors: np.ndarray, dimension: int, centred: bool) -> tuple[np.ndarray, np.ndarray, float]:
    """Return the mean (d,), the axes (k, d) of largest second moment, and the share of it that they keep.

    Args:
        vectors: (n, d).
        dimension: number k of axes.
        centred: whether the mean is taken off first. Otherwise the returned mean is zero.

    Raises:
        NotApplicableError: there are fewer vectors or dimensions than axes.
    """
    if dimension > min(vectors.shape):
        raise NotApplicableError(
            f"compress: {dimension} axes need as many documents and dimensions, found {vectors.shape[0]:,} documents "
            f"of {vectors.shape[1]} dimensions"
        )
    exact = vectors.astype(np.float64)
    mean = exact.mean(axis=0) if centred else np.zeros(exact.shape[1])
    moments, axes = np.linalg.eigh((exact - mean).T @ (exact - mean))
    largest = axes[:, ::-1][:, :dimension]
    signs = np.where(largest[np.abs(largest).argmax(axis=0), np.arange(dimension)] < 0, -1.0, 1.0)
    kept = float(moments[::-1][:dimension].sum() / max(moments.sum(), 1e-12))
    return mean.astype(np.float32), (largest * signs).T.astype(np.float32), kept
