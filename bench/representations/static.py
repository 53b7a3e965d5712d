"""A table of token vectors instead of a transformer (Model2Vec; Tulkens and van Dongen, 2024)."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from bench.data.dataset import Corpus
from bench.errors import unknown
from bench.models.architectures import transformer_of
from bench.representations.modules.distilled_table import WEIGHTINGS, distilled_table
from bench.representations.single import Single
from bench.strategy.hyperparameters import StrategyConfig
from bench.strategy.resources import Resources

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer

_FILE = "table.safetensors"
_LEARNING_RATE = 3e-3
"""Of a table: the best of four on the development queries of `pydocs:tune` (docs/strategies.md)."""


def table_defaults(representation: str) -> Mapping[str, float]:
    """Return the defaults of a method that trains a table: it learns at a higher rate than a transformer.

    Args:
        representation: as an expression. Another one changes no default.
    """
    return {"lr": _LEARNING_RATE} if representation.partition("(")[0].strip() == Static.name else {}


class Static(Single):
    """A text is the mean of the vectors of its tokens, compared by cosine. No transformer runs.

    The table is distilled from the base model before a fit, without labels. A method that trains all of the base model
    trains the table. A text is read whole unless the run sets a maximum length.
    """

    name = "static"
    summary = "the mean of token vectors from a table that is distilled from the base model (Model2Vec)"
    starts_at_base = False
    replaces_base = True
    needs_tokens = True
    methods = ("full", "full-merge")

    @dataclass(frozen=True)
    class Config(StrategyConfig):
        """How the table is distilled. The defaults are those of Model2Vec."""

        dimension: int = 256
        """Principal components of the token vectors."""
        weighting: str = "zipf"
        """Which tokens count little: `zipf`, those early in the vocabulary; `corpus`, the frequent ones; or `none`."""
        smoothing: float = 1e-4
        """A token of probability p has the weight smoothing / (smoothing + p)."""
        positive: ClassVar[tuple[str, ...]] = ("dimension", "smoothing")

        def __post_init__(self) -> None:
            if self.weighting not in WEIGHTINGS:
                raise unknown("static.weighting", self.weighting, WEIGHTINGS)

    def __init__(self, config: StrategyConfig | None = None) -> None:
        super().__init__(config)
        self.table: torch.Tensor | None = None
        """The table before training (vocabulary, dimension). None before `prepare` and `load`."""

    def prepare(self, resources: Resources, corpus: Corpus, seed: int) -> None:
        """Distil the table.

        Raises:
            NotApplicableError: the base model's vectors have fewer dimensions, or there is no text to count tokens in.
        """
        with resources.meter.excluded():  # it may have to be loaded
            encoder = resources.encoder
        config = self.config
        self.table = distilled_table(encoder, corpus.texts, config.dimension, config.weighting, config.smoothing)

    def save(self, folder: Path) -> None:
        """Write the untrained table. The strategy saves the trained table with its other parameters."""
        from safetensors.torch import save_file

        if self.table is not None:
            save_file({"weight": self.table}, folder / _FILE)

    def load(self, folder: Path) -> None:
        """Read the untrained table."""
        from safetensors.torch import load_file

        self.table = load_file(folder / _FILE)["weight"]

    def plain_model(
        self, towers: Sequence[SentenceTransformer], model: SentenceTransformer, max_length: int | None
    ) -> SentenceTransformer:
        """Return a copy of the table's model, which cuts texts where the run does."""
        plain = copy.deepcopy(model).cpu().eval()
        if max_length is not None:
            plain.tokenizer.enable_truncation(max_length)
        return plain

    def assemble(self, towers: Sequence[SentenceTransformer]) -> SentenceTransformer:
        """Return a model of the table alone. It is trained where the tower's word embeddings are.

        Before `prepare` and `load`, its numbers are drawn.

        Raises:
            NotApplicableError: the model is no transformer.
        """
        import torch
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.base.modules import Normalize
        from sentence_transformers.sentence_transformer.modules import StaticEmbedding

        (tower,) = towers
        is_trained = transformer_of(tower).get_input_embeddings().weight.requires_grad
        given: Any = tower.tokenizer
        tokenizer = copy.deepcopy(given.backend_tokenizer)  # the module changes its settings
        tokenizer.no_truncation()
        table = self.table
        if table is None:
            table = torch.randn(len(given), self.config.dimension, generator=torch.Generator().manual_seed(0))
        module = StaticEmbedding(tokenizer, embedding_weights=table.clone())
        module.embedding.weight.requires_grad_(is_trained)
        return SentenceTransformer(
            modules=[module, Normalize()], device=str(tower.device), similarity_fn_name="cosine"
        ).eval()
