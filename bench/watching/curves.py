"""Learning curves of a run so far: those of complete fits, and those of fits that train now."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from bench.errors import StoreError
from bench.records import FitRecord
from bench.report.load import budget_label
from bench.store.live import LiveJob
from bench.store.store import CURVE, Store

if TYPE_CHECKING:
    import pandas as pd

Points = list[tuple[int, float]]

_POINTS = 100
"""Points of a curve at most."""


@dataclass(frozen=True)
class FitCurve:
    """The learning curve of one fit."""

    fit: str
    strategy: str
    dataset: str
    model: str
    budget: str
    """In words: `60 steps`."""
    seed: int | None
    status: str
    """`running`, or the status of the fit's record."""
    loss: Points = field(default_factory=list)
    """Step and training loss."""
    dev: Points = field(default_factory=list)
    """Step and nDCG@10 on the development pool."""

    @property
    def is_running(self) -> bool:
        """Whether the fit trains now."""
        return self.status == "running"

    @property
    def group(self) -> tuple[str, str, str]:
        """Dataset, model and budget: the curves that belong into one plot."""
        return self.dataset, self.model, self.budget

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


class CurveReader:
    """Reads the curves of a store's fits, each once, within the time that a page may take."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, tuple[FitRecord, FitCurve | None]] = {}

    def read(
        self, fits: Iterable[FitRecord], running: Sequence[LiveJob], seconds: float = 0.3
    ) -> tuple[list[FitCurve], int]:
        """Return the curves of running fits, then those of records, and how many were left for the next call.

        Args:
            fits: the records of fits, each the same object as in the last call where it has not changed.
            running: the running jobs.
            seconds: no further file is opened after so long.
        """
        curves = [_of_job(job) for job in running if job.kind == "fit" and (job.loss or job.dev)]
        deadline, left = time.monotonic() + seconds, 0
        for record in fits:
            known = self._known.get(record.fit)
            if known is None or known[0] is not record:
                if time.monotonic() > deadline:
                    left += CURVE in record.files
                    continue
                self._known[record.fit] = known = record, self._of_record(record)
            if known[1] is not None:
                curves.append(known[1])
        return curves, left

    def _of_record(self, record: FitRecord) -> FitCurve | None:
        if CURVE not in record.files:
            return None
        try:
            frame = self._store.curve(record.fit)
            loss, dev = _points(frame, "loss"), _points(frame, "dev")
        except (StoreError, OSError, ValueError, LookupError, TypeError):
            return None  # the fit is being made again, or the file holds no curve
        limits: Mapping[str, float] = record.budget.get("limits") or {}
        return FitCurve(
            record.fit, record.strategy, record.dataset, record.model, budget_label(limits), record.seed,
            record.status, loss, dev,
        )  # fmt: skip


def _of_job(job: LiveJob) -> FitCurve:
    return FitCurve(
        job.name, job.strategy, job.dataset, job.model, budget_label(job.limits), job.seed, "running",
        _thinned(job.loss), _thinned(job.dev),
    )  # fmt: skip


def _points(frame: pd.DataFrame, column: str) -> Points:
    """Return a column of a curve by step, without missing and infinite values."""
    points = zip(frame["step"], frame[column], strict=True)
    return _thinned([(int(step), float(value)) for step, value in points if math.isfinite(value)])


def _thinned(points: Points) -> Points:
    """Return points at equal distances, the last one among them."""
    every = max(1, math.ceil(len(points) / _POINTS))
    return points[::-1][::every][::-1]
