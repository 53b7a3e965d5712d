"""How far a result in bf16 is from the one in fp32."""

from __future__ import annotations

import torch


def relative_error(found: torch.Tensor, truth: torch.Tensor) -> float:
    """Return the norm of the difference as a share of the true norm."""
    return float((found.float() - truth).norm() / truth.norm())
