"""The transformer inside an embedding model: where it is, how large it is, and what its modules are called.

A strategy asks for a role (`value`, `attention_output`) and gets module names. No strategy knows a family by name. A
new family is one entry in `FAMILIES`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from bench.errors import NotApplicableError, unknown
from bench.models.length import length_limit

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from torch import nn

Role = Literal["query", "key", "value", "attention_output", "intermediate", "gate", "output"]
"""A linear layer of a block: three projections into attention, one out of it, and the feed-forward layers.

Only gated feed-forward parts have a `gate`: its activations are multiplied with those of `intermediate`.
"""
ROLES: tuple[Role, ...] = ("query", "key", "value", "attention_output", "intermediate", "gate", "output")
_WRAPPERS = re.compile(r"base_model\.model\.|base_layer\.|original_module\.|modules_to_save\.default\.")
"""What PEFT puts into the names of the modules that it wraps."""


@dataclass(frozen=True)
class Architecture:
    """The module names of one model family. Names are relative to a block unless the field states otherwise."""

    family: str
    """`config.model_type`, with `-gated` behind it where the feed-forward part of the family may be gated or not."""
    layers: str
    """Name of the list of blocks, relative to the transformer."""
    attention: str
    """The module that computes attention."""
    query: str
    key: str
    value: str
    attention_output: str
    intermediate: str
    output: str
    norms: tuple[str, ...]
    """Layer norms of a block. The first block of ModernBERT lacks one: it has an identity there."""
    outer_norms: tuple[str, ...]
    """Layer norms outside the blocks, relative to the transformer."""
    peft_prefix: Literal["works", "ignored", "raises"]
    """What PEFT's prefix tuning does here. It passes `past_key_values`, which some families ignore: the model is then
    silently the base model. ModernBERT raises for a text longer than its window. AdaptBench has its own prefixes."""
    language_model_head: str
    """The first layer of the masked-language-model head, as checkpoints that hold the head name it. Empty: none."""
    gate: str = ""
    """The gate of the feed-forward part where it is a linear layer of its own. ModernBERT has it in `intermediate`."""
    attends_through: Literal["interface", "own code"] = "interface"
    """Whether attention goes through transformers' attention interface or through the family's own code."""
    position_offset: int = 0
    """Number of leading position embeddings that no token uses. RoBERTa counts from the padding id + 1."""
    is_decoder: bool = False
    """Whether a token attends to the tokens before it alone. Shorter texts of a batch are padded on the left."""
    has_biases: bool = True
    """Whether layers inside the transformer have biases, unless the configuration asks for some."""

    @property
    def fused(self) -> bool:
        """Whether query, key and value are one linear layer, with output features in this order."""
        return self.query == self.key

    def targets(self, roles: Sequence[str]) -> list[str]:
        """Return the module names of some roles, without duplicates.

        Raises:
            BenchError: a role is unknown.
        """
        for role in roles:
            if role not in ROLES:
                raise unknown("module role", role, ROLES)
        return list(dict.fromkeys(name for role in roles if (name := getattr(self, role))))

    def pattern(self, roles: Sequence[str]) -> str:
        """Return a regular expression that matches the full module names of these roles and nothing else.

        PEFT matches a list of names by suffix, and BERT's `output.dense` is a suffix of `attention.output.dense`.
        """
        names = "|".join(name.replace(".", r"\.") for name in self.targets(roles))
        layers = self.layers.replace(".", r"\.")
        return rf"(.*\.)?{layers}\.\d+\.({names})"

    def blocks(self, model: SentenceTransformer) -> list[nn.Module]:
        """Return the transformer's blocks, beginning at the input."""
        return list(transformer_of(model).get_submodule(self.layers))

    def linears(self, model: SentenceTransformer, role: Role) -> Iterator[nn.Linear]:
        """Yield the linear layer of a role in each block: none where the family has no such layer.

        Fused projections give three roles the same layer.
        """
        if name := getattr(self, role):
            for block in self.blocks(model):
                yield block.get_submodule(name)

    def slice_of(self, role: Role, width: int) -> slice:
        """Return the slice of a linear layer's `width` output features that belongs to a role."""
        if self.fused and role in ("query", "key", "value"):
            part, third = ROLES.index(role), width // 3
            return slice(part * third, (part + 1) * third)
        return slice(0, width)

    def layer_norms(self, model: SentenceTransformer) -> Iterator[nn.Module]:
        """Yield all layer norms: those outside the blocks, those of each block, then those behind the transformer."""
        transformer = transformer_of(model)
        for name in self.outer_norms:
            yield transformer.get_submodule(name)
        for block in self.blocks(model):
            for name in self.norms:
                norm = block.get_submodule(name)
                if any(True for _ in norm.parameters()):
                    yield norm
        for module in list(model)[1:]:
            if type(module).__name__ == "LayerNorm":
                yield module


def _bert(family: str, head: str = "cls.predictions.transform", position_offset: int = 0) -> Architecture:
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
        language_model_head=head,
        position_offset=position_offset,
    )


def _t5(family: str, intermediate: str, gate: str = "") -> Architecture:
    return Architecture(
        family=family,
        layers="encoder.block",
        attention="layer.0.SelfAttention",
        query="layer.0.SelfAttention.q",
        key="layer.0.SelfAttention.k",
        value="layer.0.SelfAttention.v",
        attention_output="layer.0.SelfAttention.o",
        intermediate=f"layer.1.DenseReluDense.{intermediate}",
        gate=gate and f"layer.1.DenseReluDense.{gate}",
        output="layer.1.DenseReluDense.wo",
        norms=("layer.0.layer_norm", "layer.1.layer_norm"),
        outer_norms=("encoder.final_layer_norm",),
        peft_prefix="ignored",
        language_model_head="",
        has_biases=False,
    )


def _decoder(family: str, *norms: str, has_biases: bool = False) -> Architecture:
    return Architecture(
        family=family,
        layers="layers",
        attention="self_attn",
        query="self_attn.q_proj",
        key="self_attn.k_proj",
        value="self_attn.v_proj",
        attention_output="self_attn.o_proj",
        intermediate="mlp.up_proj",
        gate="mlp.gate_proj",
        output="mlp.down_proj",
        norms=("input_layernorm", "post_attention_layernorm", *norms),
        outer_norms=("norm",),
        peft_prefix="works",
        language_model_head="",
        is_decoder=True,
        has_biases=has_biases,
    )


FAMILIES: dict[str, Architecture] = {
    "bert": _bert("bert"),
    "roberta": _bert("roberta", "lm_head.dense", position_offset=2),
    "xlm-roberta": _bert("xlm-roberta", "lm_head.dense", position_offset=2),
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
        language_model_head="lm_head.dense",
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
        language_model_head="vocab_transform",
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
        language_model_head="head.dense",
        has_biases=False,
    ),
    "t5": _t5("t5", "wi"),
    "t5-gated": _t5("t5-gated", "wi_1", "wi_0"),
    "mt5-gated": _t5("mt5-gated", "wi_1", "wi_0"),
    "llama": _decoder("llama"),
    "mistral": _decoder("mistral"),
    "qwen2": _decoder("qwen2", has_biases=True),
    "qwen3": _decoder("qwen3", "self_attn.q_norm", "self_attn.k_norm"),
}
"""Architectures by `family_name`. RoBERTa and XLM-R use the module names of BERT."""


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


def set_transformer(model: SentenceTransformer, wrapped: nn.Module) -> None:
    """Replace the transformer inside a sentence-transformers model, usually by a wrapper around it.

    Its attribute is `model[0].model`. sentence-transformers 6 accepts `model[0].auto_model` and ignores it.
    """
    model[0].model = wrapped


def plain_name(name: str) -> str:
    """Return a parameter's name without what PEFT's wrappers put into it."""
    return _WRAPPERS.sub("", name)


class ModelSizes:
    """The sizes of a base model, each read on access: a strategy without a transformer needs the dimension alone."""

    def __init__(self, model: SentenceTransformer) -> None:
        self._model = model

    @property
    def width(self) -> int:
        """Number of features of a token inside the transformer. No rank exceeds it."""
        return int(transformer_of(self._model).config.hidden_size)

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        dimension = self._model.get_embedding_dimension()
        assert dimension is not None
        return int(dimension)

    @property
    def blocks(self) -> int:
        """Number of blocks of the transformer."""
        return len(family(self._model).blocks(self._model))

    @property
    def tokens(self) -> int:
        """Number of tokens that the model cuts a text to. It bounds the number of virtual tokens."""
        return int(length_limit(self._model) or 0)


def family(model: SentenceTransformer) -> Architecture:
    """Return the architecture of a model.

    Raises:
        NotApplicableError: the family is unknown. The message lists the known ones.
    """
    return known_family(family_of_config(transformer_of(model).config))


def family_of_config(config: Any) -> str:
    """Return the name of the family of a transformer with this configuration."""
    return family_name(str(getattr(config, "model_type", "unknown")), getattr(config, "is_gated_act", False))


def family_name(model_type: str, is_gated: bool) -> str:
    """Return the name of a family in `FAMILIES`.

    Args:
        model_type: of the configuration.
        is_gated: whether the feed-forward part is gated, where the configuration says so (T5).
    """
    return f"{model_type}-gated" if is_gated else model_type


def known_family(name: str) -> Architecture:
    """Return the architecture of a family.

    Raises:
        NotApplicableError: the family is unknown. The message lists the known ones.
    """
    if name not in FAMILIES:
        raise NotApplicableError(
            f"the model is of family {name!r}, whose modules AdaptBench does not know; it knows "
            f"{', '.join(sorted(FAMILIES))} (bench/models/architectures.py)"
        )
    return FAMILIES[name]


def refuse(strategy: str, architecture: Architecture, reason: str, working: Sequence[str]) -> NotApplicableError:
    """Return the error for a method that cannot work on a family. It names the families where the method works."""
    return NotApplicableError(
        f"{strategy} cannot work on {architecture.family}: {reason}. It works on {', '.join(sorted(working))}."
    )


def no_biases(strategy: str, architecture: Architecture) -> NotApplicableError:
    """Return the error for a method that trains biases, on a family without any."""
    return refuse(strategy, architecture, "its layers have no biases", [n for n, f in FAMILIES.items() if f.has_biases])


def require_virtual_tokens(strategy: str, architecture: Architecture) -> None:
    """Refuse a method of virtual tokens on a decoder.

    Raises:
        NotApplicableError: the family is a decoder.
    """
    if architecture.is_decoder:
        reason = "virtual tokens stand beside the first token of a text, and a decoder's batch begins with padding"
        raise refuse(strategy, architecture, reason, [name for name, each in FAMILIES.items() if not each.is_decoder])


def freeze_unreachable(model: SentenceTransformer) -> None:
    """Freeze the parameters that no gradient can reach: BERT's pooler in a model that pools tokens.

    Otherwise they would count as trainable and be saved, but never change.
    """
    if not any(module.__class__.__name__ == "Pooling" for module in model):
        return
    for name, parameter in transformer_of(model).named_parameters():
        if ".pooler." in f".{name}":
            parameter.requires_grad = False
