"""Lowers a document's score by its mean over all queries of a search: it knows who else asks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.retrieval.ranking import Ranking
from tests.contract.honest import Honest


class Broken(Honest):
    name = "broken"

    def search(self, queries: Mapping[str, str], index: Any, top_k: int) -> Ranking:
        run = super().search(queries, index, top_k).as_run()
        hub = {
            doc: sum(found.get(doc, 0.0) for found in run.values()) / len(run) for each in run.values() for doc in each
        }
        return Ranking.from_run(
            {query: {doc: score - 0.1 * hub[doc] for doc, score in found.items()} for query, found in run.items()}
        )
