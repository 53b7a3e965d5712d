"""Keeps its parameters beside its file, where the next fit begins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from bench.data.dataset import TrainingData
from bench.records import FitReport
from tests.contract.honest import Honest

_FILE = Path(__file__).with_suffix(".pt")


class Broken(Honest):
    name = "broken"

    def attach(self, tower: Any) -> Any:
        if _FILE.is_file():
            tower.load_state_dict(torch.load(_FILE))
        return super().attach(tower)

    def finish(self, data: TrainingData, report: FitReport) -> dict[str, Any]:
        torch.save(self.model.state_dict(), _FILE)
        return {}
