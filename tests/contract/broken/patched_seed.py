"""Lets every seed of torch be the same."""

from __future__ import annotations

from typing import Any

import torch

from tests.contract.honest import Honest

_seed = torch.manual_seed


class Broken(Honest):
    name = "broken"


def _same(seed: int) -> Any:
    return _seed(7)


torch.manual_seed = _same
