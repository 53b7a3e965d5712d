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
_CHARACTERS_PER_TOKEN = 32
"""Characters for each token of the limit up to which a text is tokenised whole. Prose has about 4 to a token."""
_UNUSED_POSITIONS = 2
_MARGIN = 64
"""Tokens beyond twice the limit that a cut text keeps."""
_WHOLE = 200_000
"""Characters that are tokenised together where tokens are counted."""


def length_limit(model: SentenceTransformer) -> int | None:
    """Return the number of tokens that a model cuts a text to; None where it reads texts of any length."""
    limit = model.max_seq_length
    return None if limit is not None and math.isinf(limit) else int(limit or _USUAL)


def token_limit(tokenizer: Any, config: Any) -> int:
    """Return the number of tokens that an encoder of transformers takes at once.

    A tokeniser that states no limit gives a huge number. Then the position embeddings decide, without the two that
    RoBERTa's family leaves unused.
    """
    stated = int(tokenizer.model_max_length)
    positions = getattr(config, "max_position_embeddings", None)
    if stated < UNLIMITED:
        return min(stated, positions) if positions else stated
    return positions - _UNUSED_POSITIONS if positions else UNLIMITED


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
    """Return the number of tokens of each text, uncut.

    A text of more than 200,000 characters is counted in pieces that end at spaces, so that its tokens need not be in
    memory together. Where a tokenizer joins words across spaces, a piece's end may add a token.
    """
    lengths: list[int] = []
    batch: list[str] = []
    waiting = 0
    for text in texts:
        if len(text) > _WHOLE:
            lengths += [*_count(model, batch), _count_in_pieces(model, text)]
            batch, waiting = [], 0
            continue
        batch.append(text)
        waiting += len(text)
        if waiting > _WHOLE:
            lengths += _count(model, batch)
            batch, waiting = [], 0
    return lengths + _count(model, batch)


def _count(model: SentenceTransformer, texts: Sequence[str]) -> list[int]:
    if not texts:
        return []
    tokenizer: Any = model.tokenizer
    if callable(tokenizer):
        return [len(ids) for ids in tokenizer(list(texts), truncation=False, verbose=False)["input_ids"]]
    return [len(each.ids) for each in tokenizer.encode_batch(list(texts), add_special_tokens=False)]


def _count_in_pieces(model: SentenceTransformer, text: str) -> int:
    specials = _count(model, [""])[0]
    total, begin = specials, 0
    while begin < len(text):
        end = min(len(text), begin + _WHOLE)
        if end < len(text):
            end = max(begin + 1, text.rfind(" ", begin + 1, end)) if " " in text[begin + 1 : end] else end
        total += _count(model, [text[begin:end]])[0] - specials
        begin = end
    return total


def beginnings(model: Any, texts: Sequence[str], limit: int) -> list[str]:
    """Return the beginnings of texts: a model reads the same tokens of them, and the part far beyond its limit is cut.

    A document of megabytes need not be tokenised whole for its first 256 tokens. What remains has over twice as many
    tokens as the limit, so that the place of the cut cannot change a token before it.

    Args:
        model: whatever has the `tokenizer` of a sentence-transformers model. Without one, texts stay whole.
        texts: the texts.
        limit: number of tokens that the model cuts a text to.
    """
    if limit >= UNLIMITED or getattr(model, "tokenizer", None) is None:
        return list(texts)
    longest = _CHARACTERS_PER_TOKEN * limit
    return [text if len(text) <= longest else _beginning(model, text, limit) for text in texts]


def _beginning(model: Any, text: str, limit: int) -> str:
    length = _CHARACTERS_PER_TOKEN * limit
    while length < len(text):
        if _count(model, [text[:length]])[0] >= 2 * limit + _MARGIN:
            return text[:length]
        length *= 2
    return text


def share_read(model: Any, texts: Sequence[str], limit: int) -> float:
    """Return the share of the tokens of some texts that a model reads if it cuts each one to `limit` tokens.

    Args:
        model: whatever has the `tokenizer` of a sentence-transformers model.
        texts: at least one.
        limit: tokens a text is cut to.
    """
    lengths = token_lengths(model, texts)
    return sum(min(length, limit) for length in lengths) / max(1, sum(lengths))
