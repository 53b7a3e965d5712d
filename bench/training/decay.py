"""Which parameters weight decay applies to: one rule for encoders, heads and cross-encoders."""

from __future__ import annotations

from collections.abc import Collection

import torch
from transformers.trainer_pt_utils import get_parameter_names

_WITHOUT = (r"bias", r"layernorm", r"rmsnorm", r"(?:^|\.)norm(?:$|\.)", r"_norm(?:$|\.)")
"""Patterns of the names of parameters that do not decay."""


def decaying(module: torch.nn.Module) -> Collection[str]:
    """Return the names of the parameters that weight decay applies to: all but biases and those of normalisation.

    The trainer of transformers has the same rule.
    """
    return frozenset(get_parameter_names(module, [torch.nn.LayerNorm], list(_WITHOUT)))
