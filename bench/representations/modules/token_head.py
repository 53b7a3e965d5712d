"""The linear head of late interaction before training: drawn by seed, or from the tokens of a corpus."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import NotApplicableError
from bench.retrieval.encode import Encoder

if TYPE_CHECKING:
    import torch

HEADS = ("random", "svd")
FILE = "head.safetensors"
_DOCUMENTS = 256
"""Documents whose tokens the singular vectors come from, at equal steps: thousands of tokens for some 400 features."""


def drawn_head(width: int, dimension: int, seed: int) -> torch.Tensor:
    """Return normal numbers of variance 1 / width (dimension, width), which keep lengths in expectation."""
    import torch

    return torch.randn(dimension, width, generator=torch.Generator().manual_seed(seed)) / width**0.5


def svd_head(encoder: Encoder, texts: Sequence[str], dimension: int) -> torch.Tensor:
    """Return the top right singular vectors (dimension, width) of the token vectors of a sample of documents.

    They are the eigenvectors of the Gram matrix. Their signs make the largest number of each positive.

    Args:
        encoder: of the base model.
        texts: the corpus.
        dimension: number of singular vectors.

    Raises:
        NotApplicableError: there is no text, or a token has fewer features than the head has rows.
    """
    import torch

    if not texts:
        raise NotApplicableError("multi(head=svd) takes its head from the tokens of a corpus, and there is none")
    gram: torch.Tensor | None = None
    with encoder.ready():
        for _, features in encoder.features(list(texts[:: max(1, len(texts) // _DOCUMENTS)][:_DOCUMENTS]), "document"):
            output = encoder.model(features, task="document")
            tokens = output["token_embeddings"][output["attention_mask"].bool()].double().cpu()
            gram = tokens.T @ tokens if gram is None else gram + tokens.T @ tokens
    assert gram is not None
    if dimension > len(gram):
        raise NotApplicableError(f"multi(head=svd) has {len(gram)} singular vectors at most: dimension={dimension}")
    rows = torch.linalg.eigh(gram).eigenvectors.flip(1)[:, :dimension].T
    largest = rows.gather(1, rows.abs().argmax(dim=1, keepdim=True))
    return (rows * largest.sign()).float().contiguous().clone()


def save_head(head: torch.Tensor, folder: Path) -> None:
    """Write a head into a folder."""
    from safetensors.torch import save_file

    save_file({"weight": head.contiguous()}, folder / FILE)


def load_head(folder: Path) -> torch.Tensor:
    """Read a head from a folder."""
    from safetensors.torch import load_file

    return load_file(folder / FILE)["weight"]
