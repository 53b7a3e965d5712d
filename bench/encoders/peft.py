"""What the strategies built on PEFT's tuner layers share: wrapping, exact merging, switching off."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bench.encoders.strategy import EncoderStrategy
from bench.models.architectures import family, set_transformer, transformer_of
from bench.models.base import without_peft_warnings

if TYPE_CHECKING:
    from peft import PeftConfig
    from sentence_transformers import SentenceTransformer

    from bench.models.architectures import Architecture


class PeftStrategy(EncoderStrategy):
    """A strategy whose attachment is one of PEFT's tuner layers (LoRA and its kin, IA3). Subclasses give its config."""

    removable = True
    names_modules = True

    @abstractmethod
    def peft_config(self, architecture: Architecture) -> PeftConfig:
        """Return PEFT's configuration for the modules of this architecture."""

    def attach(self, tower: SentenceTransformer) -> SentenceTransformer:
        """Wrap the transformer. PEFT freezes the rest."""
        from peft import get_peft_model

        config = self.peft_config(family(tower))
        with without_peft_warnings():
            set_transformer(tower, get_peft_model(transformer_of(tower), config))
        return tower

    @contextmanager
    def fold(self, tower: SentenceTransformer) -> Iterator[None]:
        """Fold the attachment into the weights, so that encoding a token costs no extra work.

        PEFT unmerges by subtracting, which leaves rounding errors in the frozen weights. The originals are put back.
        """
        from peft.tuners.tuners_utils import BaseTunerLayer

        wrapped = transformer_of(tower)
        layers = [module.get_base_layer() for module in wrapped.modules() if isinstance(module, BaseTunerLayer)]
        originals = [(p, p.data) for layer in layers for p in layer.parameters(recurse=False)]
        for parameter, original in originals:
            parameter.data = original.clone()
        wrapped.merge_adapter()
        try:
            yield
        finally:
            wrapped.unmerge_adapter()
            for parameter, original in originals:
                parameter.data = original

    @contextmanager
    def detach(self, tower: SentenceTransformer) -> Iterator[None]:
        """Switch the attachment off."""
        with transformer_of(tower).disable_adapter():
            yield
