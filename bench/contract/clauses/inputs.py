"""The strategy reads what its rivals read: the same tokens of the same texts, up to the same length."""

from __future__ import annotations

import json
from typing import Any

from bench.contract.clause import Clause, Violation
from bench.contract.evidence import Evidence
from bench.contract.observing import counted_tokens
from bench.encoders.strategy import EncoderStrategy
from bench.retrieval.encode import Kind

_KINDS: tuple[Kind, ...] = ("query", "document")


def preprocessing(evidence: Evidence) -> str:
    """The adapted model makes the same tokens of a text as the base model, prompts and truncation included."""
    import torch

    strategy, base = evidence.fitted.strategy, evidence.base_model
    if not isinstance(strategy, EncoderStrategy):
        return "no encoder of its own"
    if strategy.representation.replaces_base:
        return "its representation replaces the base model, and makes its own tokens"
    if strategy.model.max_seq_length != base.max_seq_length:
        raise Violation(f"reads {strategy.model.max_seq_length} tokens of a text, the base model {base.max_seq_length}")
    if strategy.model.prompts != base.prompts or strategy.model.default_prompt_name != base.default_prompt_name:
        raise Violation(f"has the prompts {strategy.model.prompts}, the base model {base.prompts}")
    for kind in _KINDS:
        own, plain = (_tokens(model, evidence.sample_texts, kind) for model in (strategy.model, base))
        if own.keys() != plain.keys() or any(not torch.equal(own[name], plain[name]) for name in plain):
            raise Violation(f"makes other tokens of a {kind} than the base model: its tokenizer has changed")
    if _rules(strategy.model) != _rules(base):
        raise Violation("its tokenizer has other rules than the base model's")
    return "the base model's tokens"


def tokens_read(evidence: Evidence) -> str:
    """When it encodes, the transformer reads as many tokens of each text as the base model does."""
    strategy = evidence.fitted.strategy
    if not isinstance(strategy, EncoderStrategy) or not strategy.representation.single_vector:
        return ""
    if strategy.representation.replaces_base:
        return ""
    most = 0
    for kind in _KINDS:
        counts = []
        for encoder in (strategy.encoder, strategy.resources.encoder):
            with counted_tokens() as read:
                encoder.uncached(evidence.sample_texts, kind)
            counts.append(set(read))
        own, plain = counts
        if not own & plain or max(own) > max(plain) + strategy.model.max_seq_length // 2 or min(own) < min(plain):
            raise Violation(
                f"reads {min(own)} to {max(own)} tokens of a {kind} where the base model reads {min(plain)} to "
                f"{max(plain)}"
            )
        if not plain <= own:
            raise Violation(f"does not read all tokens of a {kind} that the base model reads")
        most = max(most, *plain)
    return f"{most} tokens at most, as the base model"


def training_length(evidence: Evidence) -> str:
    """In training, too, it reads no more of a text than the base model takes, virtual tokens apart."""
    base, learned = evidence.base_model, evidence.fitted.learned
    most = max(map(len, learned), default=0)
    if base.max_seq_length and most > base.max_seq_length:
        raise Violation(f"reads {most} tokens of a text while it trains, the base model {base.max_seq_length}")
    return ""


def _rules(model: Any) -> dict[str, Any]:
    """Return the rules of a model's tokenizer, without the padding and truncation that a call sets."""
    backend = getattr(model.tokenizer, "backend_tokenizer", None)
    rules: dict[str, Any] = json.loads(backend.to_str()) if backend is not None else {}
    return {name: rule for name, rule in rules.items() if name not in ("padding", "truncation")}


def _tokens(model: Any, texts: list[str], kind: Kind) -> dict[str, Any]:
    features = model.preprocess(list(texts), task=kind)
    return {name: features[name].cpu() for name in ("input_ids", "attention_mask") if name in features}


CLAUSE = Clause(
    "inputs",
    (preprocessing, tokens_read, training_length),
    "leave tokenizer, prompts and maximum length as they are; `--max-length` sets the length for all strategies",
)
