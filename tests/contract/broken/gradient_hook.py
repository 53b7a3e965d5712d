"""Moves each parameter as soon as its gradient is there."""

from __future__ import annotations

from typing import Any

from tests.contract.honest import Honest


class Broken(Honest):
    name = "broken"

    def attach(self, tower: Any) -> Any:
        tower = super().attach(tower)
        for parameter in tower.parameters():
            if parameter.requires_grad:
                parameter.register_post_accumulate_grad_hook(_move)
        return tower


def _move(parameter: Any) -> None:
    parameter.data -= 1e-3 * parameter.grad
