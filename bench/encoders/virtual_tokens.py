"""Virtual tokens: trained vectors that a text attends to, before its own tokens (prompts) or in each block (prefixes).

Three things go wrong silently in the usual implementations:

- They start at random and wreck the model before the first step.
- They take positions from the text, so that texts of full length fail or are cut.
- They reach attention through `past_key_values`, which some architectures ignore, or are pooled into the embedding.

Here each of the p virtual tokens *stands beside the first token of the text*. It is a copy of that token (its key and
value in a block, or its input embedding) plus a trained offset. It has the first token's position and visibility. The
p + 1 tokens share the attention of one: log(p + 1) is subtracted from their scores. With offsets of zero this is the
base model exactly, for every kind of positions: a table, rotations, relative biases, windows. Offsets start as noise
that sums to zero over the p tokens. The noise changes the start only in second order, and each token gets a gradient
of its own.

The tokens enter attention through transformers' attention interface. MPNet does not use it, so the forward pass of its
attention is replaced. Imports torch: strategies import this module inside their methods.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import sdpa_mask
from transformers.models.mpnet.modeling_mpnet import MPNetSelfAttention

from bench.encoders.hooks import Switchable
from bench.models.architectures import family, transformer_of

ATTENTION = "adaptbench-virtual-tokens"


def centred_noise(count: int, width: int, deviation: float) -> torch.Tensor:
    """Return (count, width) normal numbers whose sum over the first dimension is zero (all zeros for a count of 1)."""
    noise = torch.randn(count, width) * deviation
    return noise - noise.mean(0, keepdim=True)


class Prefix(Switchable):
    """Keys and values of one attention module beside those of the text: offsets (count, 2 x width)."""

    def __init__(self, offsets: nn.Module, count: int) -> None:
        super().__init__()
        self.offsets, self.count = offsets, count

    def extend(self, key: torch.Tensor, value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Put the virtual tokens before the text's: (batch, heads, length, d) to (batch, heads, count + length, d)."""
        batch, heads, _, size = key.shape
        offsets = self.offsets().to(key.dtype).view(self.count, 2, heads, size).permute(1, 2, 0, 3)
        extended = []
        for tensor, offset in zip((key, value), offsets, strict=True):
            first = tensor[:, :, :1].expand(batch, heads, self.count, size)
            extended.append(torch.cat([first + offset, tensor], dim=2))
        return extended[0], extended[1]


class Prompt(Switchable):
    """Token embeddings before the text's own: offsets (count, width) from the embedding of its first token."""

    def __init__(self, offsets: nn.Module, count: int, position_offset: int) -> None:
        super().__init__()
        self.offsets, self.count, self.position_offset = offsets, count, position_offset

    def prepend(self, embedding: nn.Module, inputs: dict[str, Any]) -> dict[str, Any]:
        """Turn inputs of shape (batch, length) into embeddings of `count` more tokens, with mask and positions."""
        ids, mask = inputs["input_ids"], inputs["attention_mask"]
        tokens = embedding(ids)
        first = tokens[:, :1].expand(-1, self.count, -1)
        longer = {**inputs, "input_ids": None}
        longer["inputs_embeds"] = torch.cat([first + self.offsets().to(tokens.dtype), tokens], dim=1)
        longer["attention_mask"] = self._before(mask)
        longer["position_ids"] = self._before(self._positions(ids))
        if inputs.get("token_type_ids") is not None:
            longer["token_type_ids"] = self._before(inputs["token_type_ids"])
        return longer

    def _positions(self, ids: torch.Tensor) -> torch.Tensor:
        """Return the positions that the family itself gives to these tokens."""
        if not self.position_offset:
            return torch.arange(ids.shape[1], device=ids.device).expand(ids.shape)
        padding = self.position_offset - 1
        real = ids.ne(padding).long()
        return real.cumsum(1) * real + padding

    def _before(self, per_token: torch.Tensor) -> torch.Tensor:
        """Repeat the first token's entry for the virtual tokens."""
        return torch.cat([per_token[:, :1].expand(-1, self.count), per_token], dim=1)


class Offsets(nn.Module):
    """The offsets themselves, as one trained table."""

    def __init__(self, start: torch.Tensor) -> None:
        super().__init__()
        self.table = nn.Parameter(start)

    def forward(self) -> torch.Tensor:
        """Return (count, width)."""
        return self.table


class Reparametrised(nn.Module):
    """Offsets computed from a trained table by a network. Its last layer starts at zero and is this module's own."""

    def __init__(self, body: nn.Module, hidden: int, width: int) -> None:
        super().__init__()
        self.body, self.last = body, nn.Linear(hidden, width)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self) -> torch.Tensor:
        """Return (count, width)."""
        offsets: torch.Tensor = self.last(self.body())
        return offsets


class Body(nn.Module):
    """A trained table (count, width) and the layers that it goes through."""

    def __init__(self, count: int, width: int, *layers: nn.Module) -> None:
        super().__init__()
        self.table, self.layers = nn.Parameter(torch.randn(count, width)), nn.Sequential(*layers)

    def forward(self) -> torch.Tensor:
        """Return (count, features of the last layer)."""
        result: torch.Tensor = self.layers(self.table)
        return result


def attach_prefixes(model: SentenceTransformer, prefixes: list[Prefix]) -> None:
    """Give each block's attention its prefix, the block nearest the input first."""
    architecture = family(model)
    for block, prefix in zip(architecture.blocks(model), prefixes, strict=True):
        block.get_submodule(architecture.attention).add_module("virtual", prefix)
    _route_attention(model)


def attach_prompt(model: SentenceTransformer, prompt: Prompt) -> None:
    """Put a prompt before the text's embeddings, and cut it off again before pooling.

    The hooks go on the sentence-transformers module, because it calls the transformer's `forward` past hooks.
    """
    architecture, first = family(model), model[0]
    first.add_module("prompt", prompt)
    first.virtual_tokens = prompt.count  # read by bench.evaluation.flops
    for block in architecture.blocks(model):
        # not a submodule of each block: it is one module, and has one name
        object.__setattr__(block.get_submodule(architecture.attention), "virtual", prompt)
    first.register_forward_pre_hook(_prepend)
    first.register_forward_hook(_cut)
    _route_attention(model)


def _prepend(first: Any, args: tuple[Any, ...]) -> Any:
    if not first.prompt.enabled:
        return None
    features, *others = args
    return first.prompt.prepend(first.model.get_input_embeddings(), features), *others


def _cut(first: Any, args: tuple[Any, ...], features: dict[str, Any]) -> dict[str, Any]:
    if first.prompt.enabled:
        for name in ("token_embeddings", "attention_mask", "token_type_ids"):
            if name in features:
                features[name] = features[name][:, first.prompt.count :]
    return features


def _route_attention(model: SentenceTransformer) -> None:
    architecture, transformer = family(model), transformer_of(model)
    if architecture.attends_through == "interface":
        AttentionInterface.register(ATTENTION, attend)
        AttentionMaskInterface.register(ATTENTION, sdpa_mask)
        transformer.set_attn_implementation(ATTENTION)
        return
    for block in architecture.blocks(model):
        attention = block.get_submodule(architecture.attention)
        attention.__class__ = _MPNetAttention  # the same weights under the same names, another forward pass


def attend(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    position_bias: torch.Tensor | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Attend to the virtual tokens and to the text (transformers' attention interface).

    Args:
        module: the attention module; its `virtual` is a `Prefix` or a `Prompt`.
        query: (batch, heads, length, d); under a prompt, `length` includes its tokens.
        key: the same.
        value: the same.
        attention_mask: (batch or 1, heads or 1, length or 1, length), boolean or added to the scores; None is all.
        dropout: of attention probabilities.
        scaling: of the scores; None is d^-1/2.
        position_bias: of T5's relative positions, added to the scores (1, heads, length, length).
        kwargs: further arguments of the interface, unused.
    """
    virtual = module.virtual
    if position_bias is not None:
        attention_mask = _added(attention_mask, position_bias)
    if virtual.enabled:
        if isinstance(virtual, Prefix):
            key, value = virtual.extend(key, value)
        attention_mask = _shared(attention_mask, virtual, key)
    output = nn.functional.scaled_dot_product_attention(
        query, key, value, attn_mask=attention_mask, dropout_p=dropout, scale=scaling
    )
    return output.transpose(1, 2).contiguous(), None


def _added(mask: torch.Tensor | None, bias: torch.Tensor) -> torch.Tensor:
    """Return a bias on the scores, with the lowest number where nothing is attended to."""
    if mask is None:
        return bias
    return bias.masked_fill(~mask, torch.finfo(bias.dtype).min) if mask.dtype == torch.bool else bias + mask


def _shared(mask: torch.Tensor | None, virtual: Prefix | Prompt, key: torch.Tensor) -> torch.Tensor:
    """Return the mask under which the virtual tokens share the first token's attention: (..., length of `key`)."""
    count, length = virtual.count, key.shape[2]
    bias = torch.zeros(length, dtype=key.dtype, device=key.device)
    bias[: count + 1] = -math.log(count + 1)
    if mask is None:
        return bias.view(1, 1, 1, length)
    if mask.dtype == torch.bool:
        mask = torch.zeros_like(mask, dtype=key.dtype).masked_fill(~mask, torch.finfo(key.dtype).min)
    first = count if isinstance(virtual, Prompt) else 0
    source = torch.arange(length, device=key.device) - (count - first)
    source[:count] = first
    mask = mask.index_select(-1, source)
    if isinstance(virtual, Prompt) and mask.shape[-2] > 1:
        mask = mask.index_select(-2, source)
    return (mask + bias).to(key.dtype)


class _MPNetAttention(MPNetSelfAttention):
    """MPNet's attention through `attend`; its relative positions are a bias on the scores."""

    def forward(
        self,
        hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        position_bias: torch.Tensor | None = None,
        output_attentions: bool = False,
        **kwargs: Any,
    ) -> tuple[torch.Tensor]:
        """Map (batch, length, width) to the same."""
        shape = (*hidden_states.shape[:-1], -1, self.attention_head_size)
        query, key, value = (part(hidden_states).view(shape).transpose(1, 2) for part in (self.q, self.k, self.v))
        terms = [term for term in (attention_mask, position_bias) if term is not None]
        attended, _ = attend(
            self, query, key, value, sum(terms) if terms else None, self.dropout.p if self.training else 0.0
        )
        return (self.o(attended.flatten(2)),)
