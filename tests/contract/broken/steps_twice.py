"""Replaces the step of torch's AdamW by two steps."""

from __future__ import annotations

from typing import Any

import torch

from tests.contract.honest import Honest

_step = torch.optim.AdamW.step


class Broken(Honest):
    name = "broken"


def _twice(self: Any, closure: Any = None) -> Any:
    _step(self, closure)
    return _step(self, closure)


torch.optim.AdamW.step = _twice  # type: ignore[method-assign]
