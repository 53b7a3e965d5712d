"""Looks up the documents of queries that it was trained on, and ranks them first."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.data.dataset import TrainingData
from bench.records import FitReport
from bench.retrieval.ranking import Ranking
from tests.contract.honest import Honest


class Broken(Honest):
    name = "broken"

    def finish(self, data: TrainingData, report: FitReport) -> dict[str, Any]:
        self.known = {pair.query: pair.doc_id for pair in data.pairs}
        return {}

    def search(self, queries: Mapping[str, str], index: Any, top_k: int) -> Ranking:
        run = super().search(queries, index, top_k).as_run()
        for query, found in run.items():
            if queries[query] in self.known:
                found[self.known[queries[query]]] = 2.0
        return Ranking.from_run(run)

    def save(self, folder: Path) -> None:
        super().save(folder)
        (folder / "known.json").write_text(json.dumps(self.known), encoding="utf-8")

    def load(self, folder: Path) -> None:
        super().load(folder)
        self.known = json.loads((folder / "known.json").read_text(encoding="utf-8"))
