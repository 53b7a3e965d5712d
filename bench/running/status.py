"""From an exception to a status and one line of reason. The traceback goes to the log of the job."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from bench.data.files import full_disk_hint
from bench.errors import BenchError, BudgetError, NotApplicableError

if TYPE_CHECKING:
    from bench.records import Status

_LOG = logging.getLogger("adaptbench")
_MEMORY_WORDS = ("out of memory", "can't allocate memory", "cannot allocate memory", "not enough memory")


def status_from_exception(error: Exception, job: str) -> tuple[Status, str]:
    """Return the status that an exception means, and one line for people. Logs the traceback of an unforeseen one."""
    if isinstance(error, NotApplicableError | BudgetError):
        return "not_applicable", str(error)
    if isinstance(error, BenchError):
        return "failed", str(error)
    _LOG.error("%s failed", job, exc_info=error)
    first = (str(error).strip().splitlines() or [""])[0][:300]
    reason = (f"{type(error).__name__}: {first}" if first else type(error).__name__) + full_disk_hint(error)
    out_of_memory = isinstance(error, MemoryError) or any(word in str(error).lower() for word in _MEMORY_WORDS)
    return ("oom" if out_of_memory else "failed"), reason
