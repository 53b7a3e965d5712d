"""With the attachment off, the base model is back (removable methods)."""

from __future__ import annotations

from bench.contract.clause import Clause, Violation
from bench.contract.evidence import MOST_ROUNDING, Evidence
from bench.contract.observing import embed
from bench.encoders.strategy import EncoderStrategy


def off_and_on(evidence: Evidence) -> str:
    """Under `detached` the embeddings are the base model's, and afterwards the adapted ones again."""
    import torch

    strategy = evidence.fitted.strategy
    if not (isinstance(strategy, EncoderStrategy) and strategy.removable):
        return "not a removable attachment"
    texts = evidence.sample_texts[:-1]
    with torch.no_grad():
        adapted = embed(strategy.model.eval(), texts)
        with strategy.detached():
            detached = embed(strategy.model, texts)
        again = embed(strategy.model, texts)
        base = embed(evidence.base_model, texts)
    difference = float((detached - base).abs().max())
    if not difference <= MOST_ROUNDING:
        raise Violation(f"under `detached` embeddings differ from the base model's by up to {difference:.1e}")
    if not torch.equal(adapted, again):
        raise Violation("after `detached` the adapted embeddings are not back")
    return f"the base model is back within {difference:.0e}"


CLAUSE = Clause("detach", (off_and_on,), "switch every attachment off in `detach`, and back on afterwards")
