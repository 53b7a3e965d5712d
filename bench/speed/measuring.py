"""One measurement of speed: runs the comparisons and gives them as a table, as sentences and as JSON."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError, unknown
from bench.evaluation.cost import Contention, environment
from bench.speed import comparisons
from bench.speed.plain import has_counterpart
from bench.speed.rounds import OURS, PLAIN, PLAIN_BF16, Timing
from bench.speed.whole import whole_job
from bench.speed.workload import Workload

if TYPE_CHECKING:
    from rich.table import Table

COMPARISONS = ("encode", "train", "evaluate", "bm25", "whole")


@dataclass
class Measurement:
    """The timings of one measurement, and the conditions under which they were made."""

    rows: list[Timing] = field(default_factory=list)
    peaks: dict[str, float] = field(default_factory=dict)
    """Number format -> operations a second of a large matrix product."""
    environment: dict[str, Any] = field(default_factory=dict)
    """Machine, threads, libraries, dataset, sizes."""
    own: dict[str, Any] = field(default_factory=dict)
    """How the harness spent the time of the whole job (`bench.speed.whole.own_time`)."""
    notes: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values: seconds of every round, medians, ratios, shares of the peak."""
        rows = []
        for row in self.rows:
            ratios = {name: vars(row.ratio(name)) for name in row.seconds if name != OURS}
            medians = {name: statistics.median(values) for name, values in row.seconds.items()}
            rows.append(
                {"what": row.what, "n": row.n, "seconds": row.seconds, "median_seconds": medians}
                | {"times_faster": ratios, "share_of_peak": row.shares(self.peaks), "notes": row.notes}
            )
        return {
            "environment": self.environment,
            "peak_flops_per_second": self.peaks,
            "rows": rows,
            "own_time": self.own,
            "notes": self.notes,
        }


def measure(
    workload: Workload, names: Sequence[str], threads: int, progress: Callable[[str], None] = lambda text: None
) -> Measurement:
    """Measure the speed of the harness and of the plain library on the same work.

    Args:
        workload: the work.
        names: the comparisons to make, of `COMPARISONS`.
        threads: of every library, on both sides.
        progress: called with the name of each part before it is measured.

    Raises:
        BenchError: a comparison is unknown, or a strategy has no counterpart in the plain library.
    """
    import torch

    for name in names:
        if name not in COMPARISONS:
            raise unknown("comparison", name, COMPARISONS)
    for name in workload.strategies:
        if not has_counterpart(workload.registry.get(name)(None, workload.resources())):
            raise BenchError(f"{name} has no counterpart in the plain library to compare with: leave it out")
    torch.set_num_threads(threads)
    measurement = Measurement(environment=environment(workload.device) | _conditions(workload, threads))
    if not workload.bf16:
        measurement.notes.append(
            f"{workload.device} has no bf16 instructions on this machine: the harness computes in fp32, and the "
            "library's bf16=True is not measured because it would be emulated"
        )
    contention = Contention()
    progress("matrix products")
    measurement.peaks = comparisons.peaks(workload)
    makers: dict[str, Callable[[Workload], Iterator[Timing]]] = {
        "encode": comparisons.encoding,
        "train": comparisons.training,
        "evaluate": comparisons.evaluation,
        "bm25": comparisons.lexical,
    }
    for name, make in makers.items():
        if name in names:
            progress(name)
            measurement.rows += make(workload)
    slowdown = contention.measure()["reference_slowdown"]
    measurement.environment["reference_slowdown"] = slowdown
    if slowdown > Contention.THRESHOLD:
        measurement.notes.append(
            f"other work slowed this machine down by up to {slowdown:.0%} during the measurement: ratios are more "
            "reliable than seconds, and a second measurement on a quiet machine is better than both"
        )
    if "whole" in names:
        progress("whole job")
        row, measurement.own = whole_job(workload, threads)
        measurement.rows.append(row)
    return measurement


def _conditions(workload: Workload, threads: int) -> dict[str, Any]:
    return {
        "threads": threads,
        "bf16_native": workload.bf16,
        "model": workload.base.name,
        "dataset": workload.dataset.name,
        "documents": len(workload.dataset.corpus),
        "strategies": list(workload.strategies),
        "sizes": vars(workload.sizes),
    }


def table(measurement: Measurement) -> Table:
    """Return the comparisons as a table: median seconds of each system, ratios, shares of the peak."""
    from rich.table import Table

    systems = (PLAIN, PLAIN_BF16, OURS)
    shown = Table("", *(f"{name}, s" for name in systems), "faster", "than bf16", "% of peak", box=None)
    for column in shown.columns[1:]:
        column.justify = "right"
    for row in measurement.rows:
        shares = row.shares(measurement.peaks)
        shown.add_row(
            row.what,
            *(f"{row.median(name):.3g}" if name in row.seconds else "-" for name in systems),
            *(f"{row.ratio(name).median:.2f}" if name in row.seconds else "-" for name in (PLAIN, PLAIN_BF16)),
            " / ".join(f"{shares[name]:.0%}"[:-1] for name in systems if name in shares) or "-",
        )
    return shown


def sentences(measurement: Measurement) -> list[str]:
    """Return the lines under the table: machine, peaks, the harness's own time, notes."""
    conditions = measurement.environment
    libraries = ", ".join(f"{name} {version}" for name, version in conditions["libraries"].items())
    lines = [
        f"{conditions['machine']}; Python {conditions['python']}; {libraries}",
        f"model {conditions['model']}, dataset {conditions['dataset']} ({conditions['documents']:,} documents)",
        "seconds are medians; faster: median over rounds of the library's seconds divided by ours",
        "peak, a large matrix product: "
        + ", ".join(f"{name} {rate / 1e12:.2f} TFLOP/s" for name, rate in measurement.peaks.items())
        + "; shares count the operations on tokens, in each system's own number format",
    ]
    if measurement.own:
        lines.append(own_time_words(measurement.own))
    for row in measurement.rows:
        ranges = [f"times faster than {name}: {row.ratio(name)}" for name in row.seconds if name != OURS]
        rounds = len(row.seconds[OURS])
        lines.append(f"{row.what}: {row.n}; {rounds} round{'s' * (rounds > 1)}; {'; '.join(ranges)}")
        lines += [f"  {note}" for note in row.notes]
    return [*lines, *measurement.notes]


def own_time_words(own: Mapping[str, Any]) -> str:
    """Return in words how the harness spent the time of the whole job (`bench.speed.whole.own_time`)."""
    return (
        f"our whole job: {own['wall']:.1f} s for {own['jobs']} fits and cells: {_listed(own['phases'])}; "
        f"the harness itself {own['harness']:.1f} s ({own['share']:.1%}): {_listed(own['own'])}"
    )


def _listed(seconds: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.1f} s" for name, value in seconds.items())
