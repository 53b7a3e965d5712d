"""Applies the gradients of the last step once more, by hand."""

from __future__ import annotations

from typing import Any

from tests.contract.honest import Honest


class Broken(Honest):
    name = "broken"

    def on_step(self, tower: Any, step: int, total: int) -> None:
        for parameter in self.trained if step == total else ():
            if parameter.grad is not None:
                parameter.data -= 1e-3 * parameter.grad
