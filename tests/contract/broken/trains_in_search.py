"""Computes gradients when it searches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.retrieval.ranking import Ranking
from tests.contract.honest import Honest


class Broken(Honest):
    name = "broken"

    def search(self, queries: Mapping[str, str], index: Any, top_k: int) -> Ranking:
        features = self.model.preprocess(list(queries.values())[:4], task="query")
        self.model(features, task="query")["sentence_embedding"].sum().backward()
        self.model.zero_grad()
        return super().search(queries, index, top_k)
