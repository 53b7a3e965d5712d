"""Saves other parameters than those that were measured."""

from __future__ import annotations

from pathlib import Path

from tests.contract.honest import Honest


class Broken(Honest):
    name = "broken"

    def save(self, folder: Path) -> None:
        features = self.model.preprocess(["the kiln of the pottery", "the tide of the harbour"], task="document")
        self.model(features, task="document")["sentence_embedding"].sum().backward()
        before = [parameter.detach().clone() for parameter in self.trained]
        for parameter in self.trained:
            if parameter.grad is not None:
                parameter.data -= 1e-3 * parameter.grad
        super().save(folder)
        for parameter, value in zip(self.trained, before, strict=True):
            parameter.data.copy_(value)
            parameter.grad = None
