"""One bias of many is detached, so that no gradient reaches it."""

from __future__ import annotations

from typing import Any

from torch import nn

from tests.contract.honest import Honest


class Broken(Honest):
    name = "broken"

    def attach(self, tower: Any) -> Any:
        linear = tower[0].model.encoder.layer[1].output.dense
        linear.forward = lambda states: nn.functional.linear(states, linear.weight, linear.bias.detach())
        return super().attach(tower)
