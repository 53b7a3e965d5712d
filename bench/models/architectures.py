"""Per model family: which modules the parameter-efficient methods go to, and which methods cannot work there.

Strategies ask for a role (`value`, `attention_output`) and get module names; no strategy knows a family by name. A new
family is one entry in `FAMILIES`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from bench.errors import NotApplicableError, unknown

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from torch import nn

Role = Literal["query", "key", "value", "attention_output", "intermediate", "output"]
"""A linear layer of a block: three projections into attention, one out of it, and the two of the feed-forward part."""
ROLES: tuple[Role, ...] = ("query", "key", "value", "attention_output", "intermediate", "output")


@dataclass(frozen=True)
class Architecture:
    """Where things are in the encoder of one family. Names are relative to a block unless said otherwise."""

    family: str
    """`config.model_type`."""
    layers: str
    """The list of blocks, relative to the transformer."""
    attention: str
    """The module that computes attention."""
    query: str
    key: str
    value: str
    attention_output: str
    intermediate: str
    output: str
    norms: tuple[str, ...]
    """Layer norms of a block; the first block of ModernBERT lacks one (it is an identity there)."""
    outer_norms: tuple[str, ...]
    """Layer norms outside the blocks, relative to the transformer."""
    peft_prefix: Literal["works", "ignored", "raises"]
    """What becomes of PEFT's prefix tuning, which goes through `past_key_values` (transformers 5): where it is ignored
    the model is silently the base model (ModernBERT raises once a text is longer than its window). The strategies here
    do not go that way."""
    attends_through: Literal["interface", "own code"] = "interface"
    """How attention is computed: through transformers' attention interface, or by the family's own code."""
    position_offset: int = 0
    """Entries of the position table that no token uses: RoBERTa counts from the padding id + 1."""

    @property
    def fused(self) -> bool:
        """Whether query, key and value are one linear layer (in this order of its output features)."""
        return self.query == self.key

    def targets(self, roles: Sequence[str]) -> list[str]:
        """Return the module names of some roles, each once.

        Raises:
            BenchError: a role is unknown.
        """
        for role in roles:
            if role not in ROLES:
                raise unknown("module role", role, ROLES)
        return list(dict.fromkeys(getattr(self, role) for role in roles))

    def pattern(self, roles: Sequence[str]) -> str:
        """Return a regular expression that matches the full names of these roles' modules and nothing else.

        PEFT matches a list of names by suffix, and BERT's `output.dense` is a suffix of `attention.output.dense`.
        """
        names = "|".join(name.replace(".", r"\.") for name in self.targets(roles))
        layers = self.layers.replace(".", r"\.")
        return rf"(.*\.)?{layers}\.\d+\.({names})"

    def blocks(self, model: SentenceTransformer) -> list[nn.Module]:
        """Return the encoder's blocks, the one nearest the input first."""
        return list(transformer_of(model).get_submodule(self.layers))

    def linears(self, model: SentenceTransformer, role: Role) -> Iterator[nn.Linear]:
        """Yield the linear layer of a role in each block. Where projections are fused, three roles give the same."""
        for block in self.blocks(model):
            yield block.get_submodule(getattr(self, role))

    def slice_of(self, role: Role, width: int) -> slice:
        """Return the part of a linear layer's output features that belongs to a role; `width` is their number."""
        if self.fused and role in ("query", "key", "value"):
            part, third = ROLES.index(role), width // 3
            return slice(part * third, (part + 1) * third)
        return slice(0, width)

    def layer_norms(self, model: SentenceTransformer) -> Iterator[nn.Module]:
        """Yield all layer norms: those outside the blocks, then block by block."""
        transformer = transformer_of(model)
        for name in self.outer_norms:
            yield transformer.get_submodule(name)
        for block in self.blocks(model):
            for name in self.norms:
                norm = block.get_submodule(name)
                if any(True for _ in norm.parameters()):
                    yield norm


def _bert(family: str, position_offset: int = 0) -> Architecture:
    return Architecture(
        family=family,
        layers="encoder.layer",
        attention="attention.self",
        query="attention.self.query",
        key="attention.self.key",
        value="attention.self.value",
        attention_output="attention.output.dense",
        intermediate="intermediate.dense",
        output="output.dense",
        norms=("attention.output.LayerNorm", "output.LayerNorm"),
        outer_norms=("embeddings.LayerNorm",),
        peft_prefix="works",
        position_offset=position_offset,
    )


FAMILIES: dict[str, Architecture] = {
    "bert": _bert("bert"),
    "roberta": _bert("roberta", position_offset=2),
    "xlm-roberta": _bert("xlm-roberta", position_offset=2),
    "mpnet": Architecture(
        family="mpnet",
        layers="encoder.layer",
        attention="attention.attn",
        query="attention.attn.q",
        key="attention.attn.k",
        value="attention.attn.v",
        attention_output="attention.attn.o",
        intermediate="intermediate.dense",
        output="output.dense",
        norms=("attention.LayerNorm", "output.LayerNorm"),
        outer_norms=("embeddings.LayerNorm",),
        peft_prefix="ignored",
        attends_through="own code",
        position_offset=2,
    ),
    "distilbert": Architecture(
        family="distilbert",
        layers="transformer.layer",
        attention="attention",
        query="attention.q_lin",
        key="attention.k_lin",
        value="attention.v_lin",
        attention_output="attention.out_lin",
        intermediate="ffn.lin1",
        output="ffn.lin2",
        norms=("sa_layer_norm", "output_layer_norm"),
        outer_norms=("embeddings.LayerNorm",),
        peft_prefix="raises",
    ),
    "modernbert": Architecture(
        family="modernbert",
        layers="layers",
        attention="attn",
        query="attn.Wqkv",
        key="attn.Wqkv",
        value="attn.Wqkv",
        attention_output="attn.Wo",
        intermediate="mlp.Wi",
        output="mlp.Wo",
        norms=("attn_norm", "mlp_norm"),
        outer_norms=("embeddings.norm", "final_norm"),
        peft_prefix="ignored",
    ),
}
"""By `config.model_type`. XLM-R and RoBERTa are BERT's modules under another name."""


def transformer_of(model: SentenceTransformer) -> nn.Module:
    """Return the Hugging Face transformer inside a sentence-transformers model.

    Raises:
        NotApplicableError: the first module is not a transformer (static embeddings, a router).
    """
    transformer = getattr(model[0], "model", None)
    if transformer is None or not hasattr(transformer, "config"):
        raise NotApplicableError(
            f"the model's first module is a {type(model[0]).__name__}, not a transformer: nothing can be attached to it"
        )
    return transformer


def family(model: SentenceTransformer) -> Architecture:
    """Return the architecture of a model.

    Raises:
        NotApplicableError: the family is not known here; the text lists those that are.
    """
    name = str(getattr(transformer_of(model).config, "model_type", "unknown"))
    if name not in FAMILIES:
        raise NotApplicableError(
            f"the model is of family {name!r}, whose modules AdaptBench does not know; it knows "
            f"{', '.join(sorted(FAMILIES))} (bench/models/architectures.py)"
        )
    return FAMILIES[name]


def refuse(strategy: str, found: Architecture, reason: str, working: Sequence[str]) -> NotApplicableError:
    """Return the error for a method that cannot work on a family, with those it can work on."""
    return NotApplicableError(
        f"{strategy} cannot work on {found.family}: {reason}. It works on {', '.join(sorted(working))}."
    )


def freeze_unreachable(model: SentenceTransformer) -> None:
    """Take `requires_grad` from parameters that no gradient can reach: BERT's pooler, when the model pools tokens.

    They would be counted as trainable, saved, and never move.
    """
    transformer = model[0].model
    if not any(module.__class__.__name__ == "Pooling" for module in model):
        return
    for name, parameter in transformer.named_parameters():
        if ".pooler." in f".{name}":
            parameter.requires_grad = False
