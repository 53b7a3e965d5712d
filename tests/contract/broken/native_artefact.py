"""Keeps its parameters elsewhere, in a file that no Python code opens."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import load_file, save_file

from tests.contract.honest import Honest

_FILE = Path(__file__).with_suffix(".safetensors")


class Broken(Honest):
    name = "broken"

    def save(self, folder: Path) -> None:
        super().save(folder)
        save_file({name: tensor.contiguous() for name, tensor in self.model.state_dict().items()}, _FILE)

    def load(self, folder: Path) -> None:
        super().load(folder)
        self.model.load_state_dict(load_file(_FILE))
