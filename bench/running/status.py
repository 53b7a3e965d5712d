"""From an exception to a status and one line of reason; the traceback goes to the log of the job."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from bench.errors import BenchError, BudgetError, NotApplicableError

if TYPE_CHECKING:
    from bench.records import FitRecord, Status

_LOG = logging.getLogger("adaptbench")
_MEMORY_WORDS = ("out of memory", "can't allocate memory", "cannot allocate memory", "not enough memory")


class ComponentFailedError(BenchError):
    """A fit cannot be made, as something it is composed of has no usable artefact."""

    def __init__(self, part: FitRecord) -> None:
        super().__init__(f"its part {part.strategy} ended as {part.status}: {part.reason or 'no reason recorded'}")
        self.status: Status = "not_applicable" if part.status == "not_applicable" else "failed"


def status_from_exception(error: Exception, job: str) -> tuple[Status, str]:
    """Return the status that an exception means, and one line for people; log the traceback of the unforeseen."""
    if isinstance(error, ComponentFailedError):
        return error.status, str(error)
    if isinstance(error, NotApplicableError | BudgetError):
        return "not_applicable", str(error)
    if isinstance(error, BenchError):
        return "failed", str(error)
    _LOG.error("%s failed", job, exc_info=error)
    first = (str(error).strip().splitlines() or [""])[0][:300]
    reason = f"{type(error).__name__}: {first}" if first else type(error).__name__
    short_of_memory = isinstance(error, MemoryError) or any(word in str(error).lower() for word in _MEMORY_WORDS)
    return ("oom" if short_of_memory else "failed"), reason
