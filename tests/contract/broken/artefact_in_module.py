"""Keeps what it has learned in its module."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.contract.honest import Honest


class Broken(Honest):
    name = "broken"

    def save(self, folder: Path) -> None:
        _STATE[self.name] = {name: value.clone() for name, value in self.model.state_dict().items()}

    def load(self, folder: Path) -> None:
        self._model = None
        if self.name in _STATE:
            self.model.load_state_dict(_STATE[self.name])


_STATE: dict[str, Any] = {}
