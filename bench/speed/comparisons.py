"""The comparisons: encoding, training steps, evaluation, BM25. Each returns rows of seconds, ours and the library's."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.records import PRIMARY_MEASURE
from bench.speed import plain
from bench.speed.rounds import OURS, PLAIN, PLAIN_BF16, Row, Work, interleave
from bench.speed.subject import BATCH, SEED, TOP_K, Subject

if TYPE_CHECKING:
    from bench.strategy.base import Strategy


def encoding(subject: Subject) -> Iterator[Row]:
    """Documents to vectors: `SentenceTransformer.encode_document` against `Encoder`."""
    from bench.evaluation.flops import flop_model

    corpus, sizes = subject.dataset.corpus, subject.sizes
    texts = list(corpus.texts[:: max(1, len(corpus) // sizes.encoded)][: sizes.encoded])
    lengths = subject.lengths(texts)
    models = {PLAIN: subject.plain_model()} | ({PLAIN_BF16: subject.plain_model(bf16=True)} if subject.bf16 else {})
    encoder = subject.resources().encoder
    vectors: dict[str, np.ndarray] = {}

    def library(name: str) -> Work:
        def work() -> None:
            vectors[name] = plain.encode(models[name], texts)

        return work

    def own() -> None:
        vectors[OURS] = encoder.uncached(texts, "document")

    contestants: dict[str, Work] = {name: library(name) for name in models} | {OURS: own}
    row = Row("encode documents", f"{len(texts)} documents of {lengths.mean():.0f} tokens")
    row.seconds = interleave(contestants, sizes.rounds)
    row.flops = _operations(flop_model(encoder.model).forward, lengths)
    row.formats = _formats(subject, models)
    cosines = np.sum(_unit(vectors[PLAIN]) * _unit(vectors[OURS]), axis=1)
    row.notes.append(
        f"cosine of our vectors and the library's in fp32: mean {cosines.mean():.6f}, least {cosines.min():.6f}"
    )
    yield row


def training(subject: Subject) -> Iterator[Row]:
    """One optimiser step of each strategy that trains the encoder, the wait for its batch included."""
    from bench.evaluation.flops import flop_model

    sizes, pairs = subject.sizes, subject.pairs
    queries = subject.lengths([pair.query for pair in pairs])
    documents = subject.lengths([pair.document for pair in pairs])
    for name, kind in subject.encoders().items():
        timed = sizes.steps - sizes.warm_up_steps
        words = f"{timed} steps of {BATCH} pairs, documents of {documents.mean():.0f} tokens"
        row = Row(f"training step, {name}", words)
        contestants: dict[str, Work] = {
            PLAIN: _plain_steps(subject, kind, bf16=False),
            OURS: _own_steps(subject, kind),
        }
        if subject.bf16:
            contestants[PLAIN_BF16] = _plain_steps(subject, kind, bf16=True)
        row.seconds = interleave(contestants, sizes.rounds, warm_up=False)  # each run has warm-up steps of its own
        flops = flop_model(kind(None, subject.resources()).model)  # type: ignore[attr-defined]
        of_all = _operations(partial(flops.training, calls=0), np.concatenate([queries, documents]))
        row.flops = of_all / len(pairs) * BATCH + flops.training(0, 0, calls=2)  # of queries, of documents
        row.formats = {PLAIN: "fp32", PLAIN_BF16: "bf16", OURS: subject.own_format}
        row.notes.append("dropout: on in the library, off in ours (--set train.dropout=true turns it on)")
        yield row


def _own_steps(subject: Subject, kind: type[Strategy]) -> Work:
    from bench.budget import Budget
    from bench.data.dataset import TrainingData

    data = TrainingData(subject.dataset.name, subject.pairs, {}, {}, subject.dataset.corpus, SEED)

    def work() -> float:
        stamps: list[float] = []

        def progress(event: str, values: dict[str, Any]) -> None:
            if event == "step":
                stamps.append(time.perf_counter())

        kind(None, subject.resources(progress)).fit(data, Budget(steps=subject.sizes.steps), SEED)
        return _typical(subject, [after - before for before, after in pairwise(stamps)])

    return work


def _plain_steps(subject: Subject, kind: type[Strategy], bf16: bool) -> Work:
    def work() -> float:
        model = subject.plain_model()
        plain.adapt(model, kind(None, subject.resources()))
        return _typical(subject, plain.train(model, subject.pairs, bf16, subject.device, subject.sizes.steps))

    return work


def _typical(subject: Subject, between: list[float]) -> float:
    """Return the median of the seconds from step to step, once warm. The first step has no beginning to count from."""
    return statistics.median(between[subject.sizes.warm_up_steps - 1 :])


def evaluation(subject: Subject) -> Iterator[Row]:
    """Queries over a corpus, from texts to nDCG@10: `InformationRetrievalEvaluator` against index, search, score."""
    from bench.encoders.base import BaseEncoder
    from bench.evaluation.measures import evaluate

    corpus, queries, qrels = subject.task(subject.sizes.searched)
    models = {PLAIN: subject.plain_model()} | ({PLAIN_BF16: subject.plain_model(bf16=True)} if subject.bf16 else {})
    strategy = BaseEncoder(None, subject.resources())
    scores: dict[str, float] = {}

    def library(name: str) -> Work:
        def work() -> None:
            scores[name] = plain.evaluate(models[name], corpus, queries, qrels)

        return work

    def own() -> None:
        ranking = strategy.search(queries, strategy.index(corpus), TOP_K)
        scores[OURS] = evaluate(ranking, qrels, [PRIMARY_MEASURE]).mean(PRIMARY_MEASURE)

    contestants: dict[str, Work] = {name: library(name) for name in models} | {OURS: own}
    row = Row("evaluate", f"{len(queries)} queries over {len(corpus):,} documents")
    row.seconds = interleave(contestants, subject.sizes.rounds)
    row.notes.append(f"{PRIMARY_MEASURE}: " + ", ".join(f"{name} {score:.4f}" for name, score in scores.items()))
    yield row


def lexical(subject: Subject) -> Iterator[Row]:
    """BM25 over the same tokens: rank_bm25 against bm25s, indexing and searching apart."""
    from bench.retrieval.lexical import build_lexical, tokenize

    corpus, queries, _ = subject.task(min(subject.sizes.lexical, len(subject.dataset.corpus)))
    built: dict[str, Any] = {}

    def plain_index() -> None:
        built[PLAIN] = plain.PlainBm25(corpus, tokenize)

    def own_index() -> None:
        built[OURS] = build_lexical(corpus)

    row = Row("BM25, index", f"{len(corpus):,} documents")
    row.seconds = interleave({PLAIN: plain_index, OURS: own_index}, subject.sizes.rounds)
    yield row

    def search(name: str) -> Work:
        def work() -> None:
            built[name].search(queries, TOP_K)

        return work

    row = Row("BM25, search", f"{len(queries)} queries over {len(corpus):,} documents")
    row.seconds = interleave({PLAIN: search(PLAIN), OURS: search(OURS)}, subject.sizes.rounds)
    row.notes.append(f"ours: {len(queries) / row.median(OURS):,.0f} queries/s")
    yield row


def peaks(subject: Subject) -> dict[str, float]:
    """Return operations a second of a large matrix product, the best of several, by number format."""
    import torch

    size, repeats = (8192, 20) if subject.device.startswith("cuda") else (4096, 1)
    found = {}
    for name, kind in {"fp32": torch.float32, **({"bf16": torch.bfloat16} if subject.bf16 else {})}.items():
        left, right = (torch.rand(size, size, device=subject.device).to(kind) for _ in range(2))
        times = []
        for _ in range(1 + max(3, subject.sizes.rounds)):
            start = time.perf_counter()
            for _ in range(repeats):
                left @ right
            if subject.device.startswith("cuda"):
                torch.cuda.synchronize()
            times.append((time.perf_counter() - start) / repeats)
        found[name] = 2 * size**3 / min(times[1:])
    return found


def _formats(subject: Subject, names: Iterable[str]) -> dict[str, str]:
    known = {PLAIN: "fp32", PLAIN_BF16: "bf16", OURS: subject.own_format}
    return {name: known[name] for name in (*names, OURS)}


def _operations(of: Callable[[float, float], float], lengths: np.ndarray) -> float:
    """Return the operations on tokens of sequences (n,), each alone: padding is not counted."""
    return float(sum(of(float(length), float(length)) for length in lengths))


def _unit(vectors: np.ndarray) -> np.ndarray:
    vectors = np.asarray(vectors, dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
