"""Takes a second optimiser step in `on_step`."""

from __future__ import annotations

from typing import Any

import torch

from tests.contract.honest import Honest


class Broken(Honest):
    name = "broken"

    def on_step(self, tower: Any, step: int, total: int) -> None:
        torch.optim.SGD(self.trained, lr=1e-3).step()
