"""Clause 3: an embedding does not depend on batch mates, on their order or on padding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.contract.clause import Clause, Violation
from bench.contract.evidence import Evidence
from bench.contract.observing import represent
from bench.encoders.strategy import EncoderStrategy
from bench.retrieval.encode import Kind

if TYPE_CHECKING:
    import torch

_LEAST_COSINE = 0.9999
_MOST_CHANGE = 1e-4
"""The largest difference of two scores, as a share of the largest score."""


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


CLAUSE = Clause(3, "batch", (batch_mates, batch_scores))
