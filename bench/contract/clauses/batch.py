"""Clause 3: an embedding does not depend on batch mates, on their order or on padding."""

from __future__ import annotations

from bench.contract.clause import Clause, Violation
from bench.contract.evidence import Evidence
from bench.contract.observing import embed
from bench.encoders.strategy import EncoderStrategy

_LEAST_COSINE = 0.9999


def batch_mates(evidence: Evidence) -> str:
    """A text has the same embedding alone and in a batch with longer texts, one of them longer than the model takes."""
    import torch

    strategy = evidence.fitted.strategy
    if not isinstance(strategy, EncoderStrategy):
        return "no encoder of its own"
    texts = evidence.sample_texts
    with torch.no_grad():
        together = embed(strategy.model.eval(), texts)
        alone = torch.cat([embed(strategy.model, [text]) for text in texts])
    cosines = torch.nn.functional.cosine_similarity(together, alone)
    worst = int(cosines.argmin())
    if not float(cosines[worst]) > _LEAST_COSINE:
        raise Violation(
            f"a text of {len(texts[worst])} characters, alone and in a batch with longer texts, has embeddings of "
            f"cosine {float(cosines[worst]):.4f}: attention or pooling includes padding or virtual tokens"
        )
    return f"alone and among longer texts: cosine {float(cosines[worst]):.6f} or more"


CLAUSE = Clause(3, "batch", (batch_mates,))
