"""The strategy leaves the process as it finds it: functions, settings, threads, files, and time by another clock.

A process of its own imports the strategy's file and fits it. The harness remembers that process from before the import,
and a second process, which runs no code of the strategy, measures the time.
"""

from __future__ import annotations

from bench.contract.clause import Clause, ClockViolation, Violation
from bench.contract.evidence import Evidence
from bench.training.process_state import described

_CLOCK_SECONDS, _CLOCK_SHARE = 0.25, 0.25
"""What two processes may measure apart: one may wait for a processor while the other looks at the clock."""


def replaced(evidence: Evidence) -> str:
    """No function, setting or hook of the harness or of its libraries is another one than before."""
    if changes := evidence.fitted_elsewhere.changes:
        raise Violation(f"changes the process that it runs in: {described(changes)}")
    return "functions and settings as before"


def threads(evidence: Evidence) -> str:
    """No thread that it began still runs after `fit`."""
    if running := evidence.fitted_elsewhere.threads:
        raise Violation(f"a thread still runs after `fit`, and may change what is measured: {described(running)}")
    return ""


def reach(evidence: Evidence) -> str:
    """From the import of its file to its answers it opens no file of others, starts no program, connects to nothing."""
    elsewhere = evidence.fitted_elsewhere
    if elsewhere.processes:
        raise Violation(f"starts other programs, whose work nobody charges: {described(elsewhere.processes)}")
    if elsewhere.files:
        raise Violation(
            f"opens {described(elsewhere.files)}: what it may read comes with `data` and `resources`, and what it "
            "keeps goes into the folder of `save`. Other inputs are named by `inputs`"
        )
    if elsewhere.connections:
        raise Violation(f"connects to {described(elsewhere.connections)}")
    return "no files of others, no programs, no connections"


def clock(evidence: Evidence) -> str:
    """The meter's seconds are those of a clock in another process, which the strategy cannot reach."""
    elsewhere = evidence.fitted_elsewhere
    metered = elsewhere.charged_seconds + elsewhere.excluded_seconds
    if metered < (1 - _CLOCK_SHARE) * elsewhere.wall_seconds - _CLOCK_SECONDS:
        raise ClockViolation(
            f"`fit` took {elsewhere.wall_seconds:.2f} s by the clock of another process, and {metered:.2f} s by its own"
        )
    return f"{elsewhere.wall_seconds:.2f} s of `fit` by another process's clock"


CLAUSE = Clause(
    "process",
    (replaced, threads, reach, clock),
    "change nothing outside of your own objects, and work only in `fit`, on what the harness hands over",
)
