"""The number of tokens that a model cuts texts to. A static embedding model cuts none of its own accord."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

UNLIMITED = 10**9
"""The limit of a model that cuts no text."""
_USUAL = 512
"""The limit of a transformer that states none."""


def length_limit(model: SentenceTransformer) -> int | None:
    """Return the number of tokens that a model cuts a text to; None where it reads texts of any length."""
    limit = model.max_seq_length
    return None if limit is not None and math.isinf(limit) else int(limit or _USUAL)


@contextmanager
def cut_to(model: SentenceTransformer, limit: int | None) -> Iterator[None]:
    """Cut texts to at most `limit` tokens for the length of a block. None leaves the model's own limit."""
    own = length_limit(model)
    if own is not None:
        before = model.max_seq_length
        model.max_seq_length = own if limit is None else min(limit, own)
        try:
            yield
        finally:
            model.max_seq_length = before
        return
    tokenizer: Any = model.tokenizer
    truncation = tokenizer.truncation
    if limit is not None:
        tokenizer.enable_truncation(limit)
    try:
        yield
    finally:
        tokenizer.no_truncation()
        if truncation is not None:
            tokenizer.enable_truncation(**truncation)


def token_lengths(model: SentenceTransformer, texts: Sequence[str]) -> list[int]:
    """Return the number of tokens of each text, uncut."""
    tokenizer: Any = model.tokenizer
    if callable(tokenizer):
        return [len(ids) for ids in tokenizer(list(texts), truncation=False, verbose=False)["input_ids"]]
    return [len(each.ids) for each in tokenizer.encode_batch(list(texts), add_special_tokens=False)]


def share_read(model: Any, texts: Sequence[str], limit: int) -> float:
    """Return the share of the tokens of some texts that a model reads if it cuts each one to `limit` tokens.

    Args:
        model: whatever has the `tokenizer` of a sentence-transformers model.
        texts: at least one.
        limit: tokens a text is cut to.
    """
    lengths = token_lengths(model, texts)
    return sum(min(length, limit) for length in lengths) / max(1, sum(lengths))
