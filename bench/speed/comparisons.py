"""The comparisons: encoding, training steps, evaluation, BM25. Each yields the seconds of the library and of ours."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from bench.budget import Budget
from bench.data.dataset import TrainingData
from bench.encoders.base import BaseEncoder
from bench.evaluation.flops import flop_model
from bench.evaluation.measures import evaluate
from bench.records import PRIMARY_MEASURE
from bench.retrieval.lexical import build_lexical
from bench.retrieval.lexical_terms import english
from bench.speed import plain
from bench.speed.rounds import OURS, PLAIN, PLAIN_BF16, Timing, Work, interleave
from bench.speed.workload import BATCH, SEED, TOP_K, Workload
from bench.strategy.base import Strategy


def encoding(workload: Workload) -> Iterator[Timing]:
    """Compare documents to vectors: `SentenceTransformer.encode_document` and our `Encoder`."""
    corpus, sizes = workload.dataset.corpus, workload.sizes
    texts = list(corpus.texts[:: max(1, len(corpus) // sizes.encoded)][: sizes.encoded])
    lengths = workload.lengths(texts)
    models = workload.plain_models()
    encoder = workload.resources().encoder
    vectors: dict[str, np.ndarray] = {}

    def encode_plain(system: str) -> None:
        vectors[system] = plain.encode(models[system], texts)

    def encode_ours() -> None:
        vectors[OURS] = encoder.uncached(texts, "document")

    systems: dict[str, Work] = {system: partial(encode_plain, system) for system in models} | {OURS: encode_ours}
    row = Timing("encode documents", f"{len(texts)} documents of {lengths.mean():.0f} tokens")
    row.seconds = interleave(systems, sizes.rounds)
    row.flops = _operations(flop_model(encoder.model).forward, lengths)
    row.formats = {system: kind for system, kind in workload.formats.items() if system in systems}
    cosines = np.sum(_unit(vectors[PLAIN]) * _unit(vectors[OURS]), axis=1)
    row.notes.append(
        f"cosine of our vectors and the library's in fp32: mean {cosines.mean():.6f}, least {cosines.min():.6f}"
    )
    yield row


def training(workload: Workload) -> Iterator[Timing]:
    """Compare one optimiser step of each strategy that trains the encoder, including the wait for its batch."""
    sizes, pairs = workload.sizes, workload.pairs
    queries = workload.lengths([pair.query for pair in pairs])
    documents = workload.lengths([pair.document for pair in pairs])
    for name, kind in workload.encoders().items():
        timed = sizes.steps - sizes.warm_up_steps
        n = f"{timed} steps of {BATCH} pairs, documents of {documents.mean():.0f} tokens"
        row = Timing(f"training step, {name}", n)
        systems: dict[str, Work] = {
            PLAIN: partial(_plain_step, workload, kind, bf16=False),
            OURS: partial(_own_step, workload, kind),
        }
        if workload.bf16:
            systems[PLAIN_BF16] = partial(_plain_step, workload, kind, bf16=True)
        row.seconds = interleave(systems, sizes.rounds, warm_up=False)  # each run has warm-up steps of its own
        flops = flop_model(kind(None, workload.resources()).model)  # type: ignore[attr-defined]
        of_all = _operations(partial(flops.training, calls=0), np.concatenate([queries, documents]))
        row.flops = of_all / len(pairs) * BATCH + flops.training(0, 0, calls=2)  # of queries, of documents
        row.formats = workload.formats
        row.notes.append("dropout: on in the library, off in ours (--set train.dropout=true turns it on)")
        yield row


def _own_step(workload: Workload, kind: type[Strategy]) -> float:
    """Train with the harness and return the seconds of one step."""
    data = TrainingData(workload.dataset.name, workload.pairs, {}, {}, workload.dataset.corpus, SEED)
    stamps: list[float] = []

    def progress(event: str, values: dict[str, Any]) -> None:
        if event == "step":
            stamps.append(time.perf_counter())

    kind(None, workload.resources(progress)).fit(data, Budget(steps=workload.sizes.steps), SEED)
    return _typical(workload, [after - before for before, after in pairwise(stamps)])


def _plain_step(workload: Workload, kind: type[Strategy], bf16: bool) -> float:
    """Train with the library and return the seconds of one step."""
    model = workload.plain_model()
    plain.adapt(model, kind(None, workload.resources()))
    return _typical(workload, plain.train(model, workload.pairs, bf16, workload.device, workload.sizes.steps))


def _typical(workload: Workload, between: list[float]) -> float:
    """Return the median seconds between steps after warm-up. Nothing is counted before the first step."""
    return statistics.median(between[workload.sizes.warm_up_steps - 1 :])


def evaluation(workload: Workload) -> Iterator[Timing]:
    """Compare texts to nDCG@10: `InformationRetrievalEvaluator` and our index, search and score."""
    corpus, queries, qrels = workload.task(workload.sizes.searched)
    models = workload.plain_models()
    strategy = BaseEncoder(None, workload.resources())
    scores: dict[str, float] = {}

    def evaluate_plain(system: str) -> None:
        scores[system] = plain.evaluate(models[system], corpus, queries, qrels)

    def evaluate_ours() -> None:
        ranking = strategy.search(queries, strategy.index(corpus), TOP_K)
        scores[OURS] = evaluate(ranking, qrels, [PRIMARY_MEASURE]).mean(PRIMARY_MEASURE)

    systems: dict[str, Work] = {system: partial(evaluate_plain, system) for system in models} | {OURS: evaluate_ours}
    row = Timing("evaluate", f"{len(queries)} queries over {len(corpus):,} documents")
    row.seconds = interleave(systems, workload.sizes.rounds)
    row.notes.append(f"{PRIMARY_MEASURE}: " + ", ".join(f"{name} {score:.4f}" for name, score in scores.items()))
    yield row


def lexical(workload: Workload) -> Iterator[Timing]:
    """Compare rank_bm25 and bm25s over the same tokens: indexing, then searching."""
    corpus, queries, _ = workload.task(min(workload.sizes.lexical, len(workload.dataset.corpus)))
    indexes: dict[str, Any] = {}

    def index_plain() -> None:
        indexes[PLAIN] = plain.PlainBm25(corpus, english)

    def index_ours() -> None:
        indexes[OURS] = build_lexical(corpus)

    def search(system: str) -> None:
        indexes[system].search(queries, TOP_K)

    row = Timing("BM25, index", f"{len(corpus):,} documents")
    row.seconds = interleave({PLAIN: index_plain, OURS: index_ours}, workload.sizes.rounds)
    yield row
    row = Timing("BM25, search", f"{len(queries)} queries over {len(corpus):,} documents")
    row.seconds = interleave({PLAIN: partial(search, PLAIN), OURS: partial(search, OURS)}, workload.sizes.rounds)
    row.notes.append(f"ours: {len(queries) / row.median(OURS):,.0f} queries/s")
    yield row


def peaks(workload: Workload) -> dict[str, float]:
    """Return the operations a second of a large matrix product, the best of several, for each number format."""
    import torch

    size, repeats = (8192, 20) if workload.device.startswith("cuda") else (4096, 1)
    rates = {}
    for name, kind in {"fp32": torch.float32, **({"bf16": torch.bfloat16} if workload.bf16 else {})}.items():
        left, right = (torch.rand(size, size, device=workload.device).to(kind) for _ in range(2))
        times = []
        for _ in range(1 + max(3, workload.sizes.rounds)):
            start = time.perf_counter()
            for _ in range(repeats):
                left @ right
            if workload.device.startswith("cuda"):
                torch.cuda.synchronize()
            times.append((time.perf_counter() - start) / repeats)
        rates[name] = 2 * size**3 / min(times[1:])
    return rates


def _operations(count: Callable[[float, float], float], lengths: np.ndarray) -> float:
    """Return the operations on the tokens of sequences of these lengths (n,), without padding."""
    return float(sum(count(float(length), float(length)) for length in lengths))


def _unit(vectors: np.ndarray) -> np.ndarray:
    vectors = np.asarray(vectors, dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
