"""Changes the parameters whenever the loss is computed."""

from __future__ import annotations

from typing import Any

from torch import nn

from bench.strategy.settings import TrainingSettings
from tests.contract.honest import Honest


class Broken(Honest):
    name = "broken"

    def loss(self, settings: TrainingSettings) -> nn.Module:
        module = super().loss(settings)
        module.register_forward_pre_hook(self._update)
        return module

    def _update(self, module: Any, arguments: Any) -> None:
        for parameter in self.trained:
            parameter.data += 1e-4
