"""The masked-language-model head of a checkpoint: from token vectors to a weight for each term of the vocabulary.

Imports torch: representations import this module inside their methods.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from sentence_transformers import SentenceTransformer, SparseEncoder
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sparse_encoder.modules import SpladePooling
from torch import nn
from transformers import AutoModelForMaskedLM
from transformers.modeling_outputs import BaseModelOutput
from transformers.utils import logging

from bench.errors import NotApplicableError
from bench.models.architectures import transformer_of

TERM_WEIGHTS = "term_weights"
"""The model's output that holds the weights of the terms (n, vocabulary)."""
_TOKENS = 1024
"""Tokens whose logits are in memory at once: 125 MB of 30,522 terms in fp32."""


class LanguageModelHead(nn.Module):
    """Gives each text a weight for each term: log(1 + ReLU(the term's largest logit over the tokens of the text)).

    The logarithm and the ReLU rise with the logit, so the maximum may be taken first. Only one logit for each text and
    term is then kept for the backward pass.

    Args:
        folder: of a checkpoint that has the head.
        transformer: the model whose token vectors the head gets. Where the checkpoint ties the last layer to the word
            embeddings, it is tied to those of this transformer.
        device: where the head computes.

    Raises:
        NotApplicableError: weights of the head are not in the checkpoint. Drawn ones would give nonsense.
    """

    def __init__(self, folder: str, transformer: Any, device: torch.device) -> None:
        super().__init__()
        self.folder = folder
        with _quiet():
            self.model, loading = AutoModelForMaskedLM.from_pretrained(
                folder, output_loading_info=True, local_files_only=True, use_safetensors=True, dtype=torch.float32
            )
        prefix = self.model.base_model_prefix
        missing = sorted(name for name in loading["missing_keys"] if not name.startswith(f"{prefix}."))
        if missing:
            raise NotApplicableError(
                f"representation sparse needs the masked-language-model head of a checkpoint, and {folder} lacks its "
                f"weights ({missing[0]} ...)"
            )
        setattr(self.model, prefix, _TokenVectors())
        self.model.to(device).eval().requires_grad_(True)
        words, last = transformer.get_input_embeddings().weight, self.model.get_output_embeddings()
        if self.model.config.tie_word_embeddings:
            last.weight = words
        else:
            last.weight.requires_grad_(words.requires_grad)

    def forward(self, features: dict[str, Any]) -> dict[str, Any]:
        """Add the weights of the terms to the features."""
        vectors, is_token = features["token_embeddings"], features["attention_mask"].bool()
        length = max(1, _TOKENS // len(vectors))
        largest: torch.Tensor | None = None
        for part, there in zip(vectors.split(length, dim=1), is_token.split(length, dim=1), strict=True):
            logits = self._logits(part).masked_fill_(~there.unsqueeze(2), float("-inf"))
            # `amax` is faster, and would keep all logits for the backward pass
            here = logits.max(dim=1).values if logits.requires_grad else logits.amax(dim=1)
            largest = here if largest is None else torch.maximum(largest, here)
        assert largest is not None
        features[TERM_WEIGHTS] = torch.log1p(torch.relu(largest.float()))
        return features

    def _logits(self, vectors: torch.Tensor) -> torch.Tensor:
        """Return a logit for each token and term (n, tokens, vocabulary)."""
        tied = self.model.get_output_embeddings().weight.dtype
        with self._computing_in(tied, vectors.device):
            logits: torch.Tensor = self.model(inputs_embeds=vectors).logits
        return logits

    @staticmethod
    def _computing_in(dtype: torch.dtype, device: torch.device) -> AbstractContextManager[Any]:
        """Compute as the word embeddings are kept, which an encoder converts for the length of a block."""
        return nullcontext() if dtype == torch.float32 else torch.autocast(device.type, dtype)


def sparse_encoder(tower: SentenceTransformer, head: LanguageModelHead) -> SparseEncoder:
    """Return the library's own model of a transformer and a head, on the CPU.

    Args:
        tower: its first module holds the transformer.
        head: the trained head behind it.
    """
    with _quiet():
        module = Transformer(head.folder, transformer_task="fill-mask", model_kwargs={"dtype": torch.float32})
    module.max_seq_length = tower.max_seq_length
    prefix = head.model.base_model_prefix
    trained = {f"{prefix}.{name}": tensor for name, tensor in transformer_of(tower).state_dict().items()}
    trained |= head.model.state_dict()
    own = module.model.state_dict()
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(trained[name])
    return SparseEncoder(
        modules=[module, SpladePooling("max")],
        device="cpu",
        prompts=tower.prompts,
        default_prompt_name=tower.default_prompt_name,
    ).eval()


class _TokenVectors(nn.Module):
    """Stands where a masked language model has its transformer, and passes on the token vectors that it is given."""

    def forward(self, *args: Any, inputs_embeds: torch.Tensor, **kwargs: Any) -> BaseModelOutput:
        return BaseModelOutput(last_hidden_state=inputs_embeds)


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide the library's report on missing weights: they are refused."""
    before = logging.get_verbosity()
    logging.set_verbosity(logging.CRITICAL)
    try:
        yield
    finally:
        logging.set_verbosity(before)
