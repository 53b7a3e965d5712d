"""SPLADE: full fine-tuning of the terms that a masked-language-model head predicts (Formal et al., 2021)."""

from __future__ import annotations

from bench.strategy.preset import Preset


class Splade(Preset):
    """Full fine-tuning with a weight for each term of the vocabulary, searched by an inverted index."""

    name = "splade"
    summary = "as `full`, with a weight for each term of the vocabulary, searched by an inverted index"
    expression = "full(representation=sparse)"
