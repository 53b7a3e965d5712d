"""Lets its optimiser call a hook after each step, which moves the parameters once more."""

from __future__ import annotations

import gc
from typing import Any

import torch

from tests.contract.honest import Honest


class Broken(Honest):
    name = "broken"

    def on_step(self, tower: Any, step: int, total: int) -> None:
        if step == 1:
            for each in gc.get_objects():
                if type(each) is torch.optim.AdamW:
                    each.register_step_post_hook(_once_more)


def _once_more(optimizer: Any, args: Any, kwargs: Any) -> None:
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.grad is not None:
                parameter.data -= 1e-3 * parameter.grad
