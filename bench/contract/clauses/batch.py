"""An embedding does not depend on batch mates, on their order or on padding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench.contract.clause import Clause, Violation
from bench.contract.evidence import Evidence
from bench.contract.observing import represent
from bench.encoders.strategy import EncoderStrategy
from bench.retrieval.encode import Kind
from bench.strategy.base import Strategy

if TYPE_CHECKING:
    import torch

_LEAST_COSINE = 0.9999
_MOST_CHANGE = 1e-4
"""The largest difference of two scores, as a share of the largest score."""
_SAME_SHAPE = 2e-6
"""The largest difference of an embedding's values in two batches of one shape (unit vectors, fp32)."""
_SEARCH_ROUNDING = 1e-5
"""The largest difference of two scores of one search, as a share of the largest score: batches pad differently."""


def batch_mates(evidence: Evidence) -> str:
    """A text has the same embedding alone and in a batch with longer texts, one of them longer than the model takes."""
    import torch

    strategy = evidence.fitted.strategy
    if not isinstance(strategy, EncoderStrategy):
        return "no encoder of its own"
    texts, least = evidence.sample_texts, 1.0
    kinds: tuple[Kind, ...] = ("query", "document")
    for kind in kinds:
        with torch.no_grad():
            batch = represent(strategy.representation, strategy.model.eval(), texts, kind)
            alone = [represent(strategy.representation, strategy.model, [text], kind) for text in texts]
        cosines = [
            min(_cosine(tensor[row], one) for tensor, one in zip(batch, single, strict=True))
            for row, single in enumerate(alone)
        ]
        worst = min(range(len(texts)), key=cosines.__getitem__)
        if not cosines[worst] > _LEAST_COSINE:
            raise Violation(
                f"a {kind} of {len(texts[worst])} characters, alone and in a batch with longer texts, has embeddings "
                f"of cosine {cosines[worst]:.4f}: attention or pooling includes padding or virtual tokens"
            )
        least = min(least, cosines[worst])
    return f"alone and among longer texts: cosine {least:.6f} or more"


def _cosine(row: torch.Tensor, alone: torch.Tensor) -> float:
    """Return the cosine of a text's numbers in a batch and alone, which padding with zeros may have made longer."""
    import torch

    padded = torch.zeros(row.shape, device=row.device)
    padded[: alone.shape[1]] = alone[0]
    return float(torch.nn.functional.cosine_similarity(row.float().flatten(), padded.flatten(), dim=0))


def batch_scores(evidence: Evidence) -> str:
    """Two texts have the same score alone and in a batch with longer texts, where a text is more than one vector."""
    import torch

    strategy = evidence.fitted.strategy
    if not isinstance(strategy, EncoderStrategy) or strategy.representation.single_vector:
        return ""
    representation, model, texts = strategy.representation, strategy.model.eval(), evidence.sample_texts

    def score(queries: Sequence[str], documents: Sequence[str]) -> torch.Tensor:
        sides = represent(representation, model, queries, "query"), represent(representation, model, documents)
        return representation.scores(*(tuple(side) if len(side) > 1 else side[0] for side in sides))

    with torch.no_grad():
        together = score(texts, texts)
        alone = torch.tensor([[float(score([query], [document])[0, 0]) for document in texts] for query in texts])
    difference = float((together.float().cpu() - alone).abs().max())
    if not difference <= _MOST_CHANGE * max(1.0, float(alone.abs().max())):
        raise Violation(
            f"two texts, alone and in a batch with longer texts, have scores that differ by up to {difference:.1e}: "
            "the scores include padding"
        )
    return f"scores alone and among longer texts: within {difference:.0e}"


def equal_lengths(evidence: Evidence) -> str:
    """In batches of equally long texts, a text's embedding does not change with the order or with its batch mates.

    The batches have one shape and no padding, so that the arithmetic of a text is the same and rounding is small.
    """
    import torch

    strategy = evidence.fitted.strategy
    if not isinstance(strategy, EncoderStrategy):
        return ""
    texts = evidence.equal_texts
    half = len(texts) // 2
    first, others = texts[:half], texts[half : 2 * half]
    model, representation, most = strategy.model.eval(), strategy.representation, 0.0
    kinds: tuple[Kind, ...] = ("query", "document")
    for kind in kinds:

        def tensors(batch: Sequence[str], kind: Kind = kind) -> list[torch.Tensor]:
            with torch.no_grad():
                return [tensor.float() for tensor in represent(representation, model, batch, kind)]

        plain, turned, mixed = tensors(first), tensors(first[::-1]), tensors([first[0], *others[1:]])
        for name, difference in (
            ("in another order", max(_distance(a, b.flip(0)) for a, b in zip(plain, turned, strict=True))),
            ("with other batch mates", max(_distance(a[:1], b[:1]) for a, b in zip(plain, mixed, strict=True))),
        ):
            if not difference <= _SAME_SHAPE:
                raise Violation(
                    f"a {kind} has another embedding in a batch {name}: it differs by up to {difference:.1e}, and "
                    f"rounding explains {_SAME_SHAPE:.0e}"
                )
            most = max(most, difference)
    for kind in kinds if representation.single_vector else ():
        encode = strategy.encoder.uncached
        one, two = encode(first, kind), encode(first[::-1], kind)[::-1]
        if not (difference := float(abs(one - two).max())) <= _SAME_SHAPE:
            raise Violation(f"its encoder gives a {kind} another vector in another order: {difference:.1e}")
    return f"in any order and among others of the same length: within {most:.0e}"


def searches(evidence: Evidence) -> str:
    """A query has the same scores in another order and among other queries, a document in an index in another order."""
    strategy, dataset = evidence.fitted.strategy, evidence.settings.dataset
    if not _serves(strategy):
        return ""
    texts, corpus = evidence.equal_texts, dataset.corpus
    half = len(texts) // 2
    ids = [f"query-{number}" for number in range(half)]
    plain, others = dict(zip(ids, texts[:half], strict=True)), dict(zip(ids, texts[half:], strict=False))
    index = strategy.index(corpus)

    def scores(queries: Mapping[str, str], where: Any, query: str) -> dict[str, float]:
        return dict(strategy.search(queries, where, len(corpus))[query])

    expected = {query: scores(plain, index, query) for query in ids}
    largest = max((abs(score) for found in expected.values() for score in found.values()), default=1.0)
    turned = dict(reversed(plain.items()))
    mixed = {**others, ids[0]: plain[ids[0]]}
    backwards = strategy.index(corpus.subset(list(corpus.ids[::-1])))
    for name, queries, where, query in (
        ("a query in another order", turned, index, ids[0]),
        ("a query among other queries", mixed, index, ids[0]),
        ("a document in an index in another order", plain, backwards, ids[-1]),
    ):
        found = scores(queries, where, query)
        docs = expected[query].keys() & found.keys()
        difference = max((abs(found[doc] - expected[query][doc]) for doc in docs), default=0.0)
        if not difference <= _SEARCH_ROUNDING * max(1.0, largest):
            raise Violation(f"{name} has scores that differ by up to {difference:.1e}")
    return "scores do not depend on the order of queries and documents"


def _serves(strategy: Strategy) -> bool:
    """Whether a strategy and its components answer any query. A stored ranking knows its own alone."""
    return strategy.serves and all(map(_serves, strategy.serving_components))


def _distance(one: torch.Tensor, two: torch.Tensor) -> float:
    return float((one - two).abs().max())


CLAUSE = Clause(
    "batch",
    (batch_mates, batch_scores, equal_lengths, searches),
    "compute each text from its own tokens alone: no statistics over a batch, and attention masks everywhere",
)
