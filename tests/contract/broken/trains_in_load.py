"""Computes gradients when it is loaded."""

from __future__ import annotations

from pathlib import Path

from tests.contract.honest import Honest


class Broken(Honest):
    name = "broken"

    def load(self, folder: Path) -> None:
        super().load(folder)
        features = self.model.preprocess(["the kiln of the pottery"], task="document")
        self.model(features, task="document")["sentence_embedding"].sum().backward()
        self.model.zero_grad()
