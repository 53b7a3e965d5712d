"""Keeps what it has learned beside its own file."""

from __future__ import annotations

from pathlib import Path

from tests.contract.honest import Honest


class Broken(Honest):
    name = "broken"

    def save(self, folder: Path) -> None:
        super().save(folder)
        _FILE.write_bytes(b"1")

    def load(self, folder: Path) -> None:
        super().load(folder)
        _FILE.read_bytes()


_FILE = Path(__file__).with_suffix(".bin")
