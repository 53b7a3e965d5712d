"""Answers a second search otherwise than the first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.retrieval.ranking import Ranking
from tests.contract.honest import Honest


class Broken(Honest):
    name = "broken"

    searches = 0

    def search(self, queries: Mapping[str, str], index: Any, top_k: int) -> Ranking:
        self.searches += 1
        run = super().search(queries, index, top_k).as_run()
        return Ranking.from_run(
            {query: {doc: score + 0.01 * self.searches for doc, score in found.items()} for query, found in run.items()}
        )
