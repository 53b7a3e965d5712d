"""Writes and reads the trained parameters of a model: safetensors, and nothing of the base model."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import BenchError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

FILE = "trained.safetensors"


def save_trained(model: SentenceTransformer, folder: Path) -> None:
    """Write the parameters with `requires_grad`."""
    from safetensors.torch import save_file

    state = {name: p.detach().cpu().contiguous() for name, p in model.named_parameters() if p.requires_grad}
    save_file(state, folder / FILE)


def load_trained(model: SentenceTransformer, folder: Path) -> str:
    """Put the parameters back into a model with the same attachment. Returns the SHA-256 of the file.

    Raises:
        BenchError: the file lacks a trained parameter, or has one that the model does not.
    """
    import torch
    from safetensors.torch import load_file

    path = folder / FILE
    saved = load_file(path)
    trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if saved.keys() != trainable.keys():
        odd = sorted(saved.keys() ^ trainable.keys())[:3]
        raise BenchError(f"{folder}: not an artefact of this strategy on this model: {', '.join(odd)} ...")
    with torch.no_grad():
        for name, parameter in trainable.items():
            parameter.copy_(saved[name])
    return hashlib.sha256(path.read_bytes()).hexdigest()
