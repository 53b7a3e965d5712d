"""Replaces torch's normalisation, for itself and for whoever else works in the process."""

from __future__ import annotations

from typing import Any

import torch

from tests.contract.honest import Honest

_normalize = torch.nn.functional.normalize


class Broken(Honest):
    name = "broken"


def _shrunk(*args: Any, **options: Any) -> Any:
    return _normalize(*args, **options) * 0.99


torch.nn.functional.normalize = _shrunk
