"""Keeps what it has learned in the home folder."""

from __future__ import annotations

from pathlib import Path

from tests.contract.honest import Honest


class Broken(Honest):
    name = "broken"

    def save(self, folder: Path) -> None:
        _FOLDER.mkdir(parents=True, exist_ok=True)
        super().save(_FOLDER)

    def load(self, folder: Path) -> None:
        super().load(_FOLDER)


_FOLDER = Path.home() / ".adaptbench-broken"
