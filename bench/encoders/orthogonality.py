"""The term of AdaLoRA's loss that keeps its factors orthogonal. Imports torch."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class WithOrthogonality(nn.Module):
    """A loss plus weight x the mean over factors of ||F F^T - I||, F being P^T or Q (Zhang et al., 2023, eq. 4).

    The paper squares the norms and PEFT does not. PEFT adds this term to a model's own loss, which encoders lack.
    """

    def __init__(self, loss: nn.Module, model: nn.Module, weight: float) -> None:
        super().__init__()
        self.loss, self.model, self.weight = loss, model, weight

    def forward(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Return the sum, a scalar."""
        total: torch.Tensor = self.loss(*args, **kwargs)
        return total + self.weight * self.orthogonality()

    def orthogonality(self) -> torch.Tensor:
        """Return the mean Frobenius norm of the factors' deviation from orthogonality, a scalar."""
        terms = []
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad and ".lora_A." in name:
                terms.append(parameter @ parameter.T - torch.eye(len(parameter), device=parameter.device))
            elif parameter.requires_grad and ".lora_B." in name:
                terms.append(parameter.T @ parameter - torch.eye(parameter.shape[1], device=parameter.device))
        return torch.stack([term.norm() for term in terms]).mean()
