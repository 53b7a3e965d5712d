"""Trains while its file is imported."""

from __future__ import annotations

import torch

from tests.contract.honest import Honest


class Broken(Honest):
    name = "broken"


_weight = torch.nn.Parameter(torch.ones(3))
_optimizer = torch.optim.SGD([_weight], lr=0.1)
(_weight**2).sum().backward()
_optimizer.step()
