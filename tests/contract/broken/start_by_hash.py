"""Begins at numbers that depend on the hash of a name, which differs between processes."""

from __future__ import annotations

from typing import Any

import torch

from tests.contract.honest import Honest


class Broken(Honest):
    name = "broken"

    def attach(self, tower: Any) -> Any:
        tower = super().attach(tower)
        generator = torch.Generator().manual_seed(abs(hash("broken")) % 2**31)
        for parameter in tower.parameters():
            if parameter.requires_grad:
                parameter.data += 1e-3 * torch.randn(parameter.shape, generator=generator)
        return tower
