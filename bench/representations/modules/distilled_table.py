"""A vector for each token, distilled from an embedding model (Model2Vec; Tulkens and van Dongen, 2024).

Each token alone goes through the model. The principal components of these vectors are kept, and each token is weighted
by how rare it is (Arora et al., 2017, section 3).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.errors import NotApplicableError
from bench.models.length import beginnings
from bench.retrieval.encode import Encoder

if TYPE_CHECKING:
    import torch

WEIGHTINGS = ("zipf", "corpus", "none")
_TOKENS = 1024
"""Tokens of the vocabulary that go through the model at once."""
_DOCUMENTS = 4096
"""Documents whose tokens are counted, at equal steps."""


def distilled_table(
    encoder: Encoder, texts: Sequence[str], dimension: int, weighting: str, smoothing: float
) -> torch.Tensor:
    """Return a vector for each token (vocabulary, dimension).

    Args:
        encoder: of the base model.
        texts: the corpus, for the weighting `corpus`.
        dimension: number of principal components.
        weighting: how likely a token is: `zipf` takes 1 / its rank in the vocabulary, `corpus` counts it in the texts,
            `none` weights all tokens alike.
        smoothing: a of the weight a / (a + p) of a token of probability p.

    Raises:
        NotApplicableError: the model's vectors have fewer dimensions, or there is no text to count tokens in.
    """
    import torch

    vectors = token_vectors(encoder)
    if dimension > vectors.shape[1]:
        raise NotApplicableError(
            f"static(dimension={dimension}): the base model's vectors have {vectors.shape[1]} dimensions"
        )
    centred = vectors - vectors.mean(dim=0)
    axes = torch.linalg.eigh(centred.T @ centred).eigenvectors.flip(1)[:, :dimension]
    largest = axes.gather(0, axes.abs().argmax(dim=0, keepdim=True))
    table = centred @ (axes * largest.sign())
    if weighting != "none":
        likely = _zipf(len(table)) if weighting == "zipf" else _counted(encoder, texts, len(table))
        table = table * torch.from_numpy(smoothing / (smoothing + likely))[:, None]
    return table.float().contiguous()


def token_vectors(encoder: Encoder) -> torch.Tensor:
    """Return the base model's vector of each token of the vocabulary, alone between its special tokens (n, d)."""
    import torch

    model: Any = encoder.model
    tokenizer = model.tokenizer
    nothing, something = (tokenizer(text)["input_ids"] for text in ("", "a"))
    before = next((at for at, (a, b) in enumerate(zip(nothing, something, strict=False)) if a != b), len(nothing))
    rows = []
    with encoder.ready():
        for begin in range(0, len(tokenizer), _TOKENS):
            ids = [[*nothing[:before], token, *nothing[before:]] for token in range(begin, len(tokenizer))[:_TOKENS]]
            tokens = torch.tensor(ids, device=encoder.device)
            features = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
            if "token_type_ids" in tokenizer.model_input_names:
                features["token_type_ids"] = torch.zeros_like(tokens)
            rows.append(model(features, task="document")["sentence_embedding"].double().cpu())
    return torch.cat(rows)


def _zipf(tokens: int) -> np.ndarray:
    """Return the probability of each token where it falls as 1 / (place in the vocabulary + 2) (n,)."""
    likely = 1.0 / np.arange(2, tokens + 2)
    return likely / likely.sum()


def _counted(encoder: Encoder, texts: Sequence[str], tokens: int) -> np.ndarray:
    """Return the share of each token among the tokens of a sample of texts (n,)."""
    sample = list(texts[:: max(1, len(texts) // _DOCUMENTS)][:_DOCUMENTS])
    if not sample:
        raise NotApplicableError("static(weighting=corpus) counts the tokens of a corpus, and there is none")
    cut = beginnings(encoder.model, sample, encoder.max_length)
    tokenizer: Any = encoder.model.tokenizer
    counts = np.zeros(tokens)
    for ids in tokenizer(cut, add_special_tokens=False, truncation=True, max_length=encoder.max_length)["input_ids"]:
        np.add.at(counts, ids, 1)
    return counts / max(1.0, counts.sum())
