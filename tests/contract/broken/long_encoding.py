"""Encodes with a longer limit than training and rivals have."""

from __future__ import annotations

from typing import Any

from tests.contract.honest import Honest


class Broken(Honest):
    name = "broken"

    @property
    def encoder(self) -> Any:
        encoder = super().encoder
        encoder.max_length = 8
        return encoder
