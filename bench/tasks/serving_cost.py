"""What it costs to serve a strategy: index, throughput, latency and operations of a query."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from bench.data.dataset import Corpus
from bench.encoders.serving import encoder_of, serving
from bench.evaluation.cost import Latency, latency, sample_of, throughput
from bench.evaluation.flops import query_flops
from bench.evaluation.measured_once import seconds_measured_once
from bench.retrieval.encode import Encoder
from bench.strategy.base import Strategy

_QUERY_SAMPLE = 200


def serving_cost(
    strategy: Strategy, index: Any, corpus: Corpus, queries: Mapping[str, str], top_k: int
) -> dict[str, Any]:
    """Return the costs that a cell determines, under the keys of `bench.records.COST_UNITS`."""
    encoder = encoder_of(strategy)
    cost: dict[str, Any] = {"index_seconds": index.seconds, "index_bytes": index.nbytes}
    params = sum(parameter.numel() for parameter in encoder.model.parameters()) if encoder is not None else 0
    if params or encoder is None:
        cost["text_read"] = strategy.text_read(sample_of(corpus.texts))
    with serving(strategy):
        base = strategy.resources.encoder if params else None  # every call to an endpoint costs money
        measured = _latency(strategy, index, queries, top_k, base) if _serves(strategy) else None
        cost["query_ms_p50"], cost["query_ms_p95"] = (measured.p50, measured.p95) if measured else (None, None)
        cost["query_times_base"] = measured.times_base if measured else None
        texts = list(queries.values())[:_QUERY_SAMPLE]
        added = strategy.added_query_flops(texts, corpus)
        if encoder is None:
            return cost | {"total_params": 0, "query_flops": added or None, "encode_docs_per_second": None}
        cost["encode_docs_per_second"] = _documents_per_second(encoder, corpus.texts, strategy.resources.calibrations)
        if not params:  # a model behind an endpoint
            return cost | {"total_params": None, "query_flops": None}
        return cost | {"total_params": params, "query_flops": query_flops(encoder, texts) + added}


def _documents_per_second(encoder: Any, texts: Sequence[str], folder: Path | None) -> float:
    """Return the throughput of an encoder. Strategies of the same weights share the measurement.

    Weights without a fingerprint are measured each time.
    """

    def seconds() -> float:
        return 1 / throughput(lambda sample: encoder.uncached(sample, "document"), texts)

    if not isinstance(encoder, Encoder) or encoder.fingerprint is None:
        return 1 / seconds()
    sample = hashlib.sha256("\0".join(sample_of(texts)).encode(errors="surrogatepass")).hexdigest()
    return 1 / seconds_measured_once(folder, ("a document", encoder.identity("document"), sample), seconds)


def _latency(strategy: Strategy, index: Any, queries: Mapping[str, str], top_k: int, base: Encoder | None) -> Latency:
    """Return the latency of a query beside the base model's encoding, with weights converted once."""
    encode = None if base is None else lambda text: base.uncached([text], "query")
    with base.ready() if base is not None else nullcontext():
        return latency(lambda query: strategy.search(query, index, top_k), queries, encode)


def _serves(strategy: Strategy) -> bool:
    """Return whether a strategy and all its serving components answer queries themselves."""
    return strategy.serves and all(map(_serves, strategy.serving_components))
