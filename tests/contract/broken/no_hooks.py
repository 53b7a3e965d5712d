"""Takes away the hooks that count steps."""

from __future__ import annotations

from typing import Any

from torch.optim import optimizer

from tests.contract.honest import Honest


class Broken(Honest):
    name = "broken"

    def on_step(self, tower: Any, step: int, total: int) -> None:
        optimizer._global_optimizer_pre_hooks.clear()
        optimizer._global_optimizer_post_hooks.clear()
