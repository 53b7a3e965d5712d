"""The loss of a denoising autoencoder: a decoder writes a text from one vector. Imports torch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from torch import nn

from bench.models.architectures import transformer_of
from bench.models.length import length_limit
from bench.training.score_loss import recomputed, rows_of
from bench.training.task import Features

_POSITIONS = 512
"""Tokens that the decoder writes at most, where the model has no limit."""


class DenoisingLoss(nn.Module):
    """Encodes damaged texts and decodes the whole ones, token after token (teacher forcing).

    The decoder is no part of the model, so no artefact holds it. Its activations are computed again for the backward
    pass, a few texts at a time, because logits over a vocabulary take much memory.

    Args:
        model: the adapted model. Training goes on with its parameters as they are.
        layers: of the decoder.
        decoder_lr: peak learning rate of the decoder.
        piece: texts that are encoded and decoded at a time; 0 encodes the batch at once.
        seed: of the decoder's weights.
    """

    decoded = "positive"
    """The column that the decoder writes; the model does not encode it."""
    _DECODED_AT_ONCE = 8

    def __init__(self, model: SentenceTransformer, layers: int, decoder_lr: float, piece: int, seed: int) -> None:
        super().__init__()
        self.model, self.piece = model, piece
        self.learning_rates = {r"^decoder\.": decoder_lr}
        words: torch.Tensor = transformer_of(model).get_input_embeddings().weight.detach()
        self.register_buffer("words", words, persistent=False)  # shares its memory with the model
        self.vocabulary, width = words.shape
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.decoder = _Decoder(
                model.get_embedding_dimension() or width, width, layers, length_limit(model) or _POSITIONS
            )
        self.decoder.to(words.device)

    def forward(self, sentence_features: Iterable[Features], labels: torch.Tensor | None = None) -> torch.Tensor:
        """Return the mean cross-entropy of a token in nats. The first column is damaged, the second one whole."""
        damaged, whole = sentence_features
        mask = whole["attention_mask"]
        order = mask.argsort(dim=1, descending=True, stable=True)  # a decoder's padding may stand on the left
        tokens, mask = whole["input_ids"].gather(1, order), mask.gather(1, order)
        tokens, mask = tokens[:, : self.decoder.length + 1], mask[:, : self.decoder.length + 1]
        inputs, targets = tokens[:, :-1], tokens[:, 1:].masked_fill(mask[:, 1:] == 0, -100)
        vectors = self._encode(damaged)
        size = self._DECODED_AT_ONCE
        total = sum(
            recomputed(self._cross_entropy, *(each[begin : begin + size] for each in (vectors, inputs, targets)))
            for begin in range(0, len(inputs), size)
        )
        mean: torch.Tensor = total / (targets >= 0).sum().clamp(min=1)
        return mean

    def _encode(self, column: Features) -> torch.Tensor:
        """Return the vectors (n, d) of a column, in pieces whose activations are computed again where asked."""
        rows = len(column["input_ids"])

        def encode(part: Features) -> torch.Tensor:
            vectors: torch.Tensor = self.model(dict(part), task="document")["sentence_embedding"]
            return vectors

        if not self.piece or self.piece >= rows:
            return encode(column)
        pieces = [list(range(begin, min(begin + self.piece, rows))) for begin in range(0, rows, self.piece)]
        return torch.cat([recomputed(encode, rows_of(column, piece)) for piece in pieces])

    def _cross_entropy(self, vectors: torch.Tensor, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the cross-entropy summed over the tokens of some texts."""
        words: Any = self.words
        logits = self.decoder(vectors, nn.functional.embedding(inputs, words)) @ words.T.to(vectors.dtype)
        return nn.functional.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), reduction="sum")

    def decoding_flops(self, texts: int, longest: float) -> float:
        """Return the operations that decoding takes beside the encoder's: forward twice, and backward.

        Args:
            texts: how many.
            longest: tokens of the longest one, to which all are padded.
        """
        length, width = min(longest, self.decoder.length + 1) - 1, self.words.shape[1]
        tokens, layers = texts * length, len(self.decoder.blocks.layers)
        squares = 4 + 2 + 8  # of the width, a layer: attention to words, to the vector (one key a text), two inputs
        trained = tokens * layers * (2 * squares * width**2 + 4 * width * length)
        vocabulary = tokens * 2 * self.vocabulary * width  # the word vectors themselves get no gradient
        return 4 * trained + 3 * vocabulary


class _Decoder(nn.Module):
    """Transformer blocks that attend to the words before and to one vector."""

    def __init__(self, dimension: int, width: int, layers: int, length: int) -> None:
        super().__init__()
        self.length = length
        heads = max(1, width // 64)
        while width % heads:
            heads -= 1
        self.bridge = nn.Linear(dimension, width)
        self.positions = nn.Parameter(torch.randn(length, width) * 0.02)
        self.norm_in, self.norm_out = nn.LayerNorm(width), nn.LayerNorm(width)
        block = nn.TransformerDecoderLayer(width, heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True)
        self.blocks = nn.TransformerDecoder(block, layers)

    def forward(self, vectors: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
        """Return what predicts each next word (n, length, width) from vectors (n, d) and the words before."""
        length = words.shape[1]
        causal = torch.ones(length, length, dtype=torch.bool, device=words.device).triu(1)
        inputs = self.norm_in(words.to(self.positions.dtype) + self.positions[:length])
        found: torch.Tensor = self.norm_out(self.blocks(inputs, self.bridge(vectors).unsqueeze(1), tgt_mask=causal))
        return found
