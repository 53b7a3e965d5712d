"""Turns the clock back at the end of the fit, and lets it go right again as soon as it indexes."""

from __future__ import annotations

import time
from typing import Any

from bench.budget import Budget
from bench.data.dataset import Corpus, TrainingData
from bench.records import FitReport
from tests.contract.honest import Honest

_clock = time.perf_counter


class Broken(Honest):
    name = "broken"

    def fit(self, data: TrainingData, budget: Budget, seed: int) -> FitReport:
        began = _clock()
        report = super().fit(data, budget, seed)
        spent = _clock() - began
        time.perf_counter = lambda: _clock() - spent / 2
        return report

    def index(self, corpus: Corpus) -> Any:
        time.perf_counter = _clock
        return super().index(corpus)
