"""One measurement of speed: the comparisons asked for, what they were made on, and both as text and as JSON."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError, unknown
from bench.speed.rounds import OURS, PLAIN, PLAIN_BF16, Row
from bench.speed.subject import Sizes, Subject

if TYPE_CHECKING:
    from rich.table import Table

COMPARISONS = ("encode", "train", "evaluate", "bm25", "whole")


@dataclass
class Measurement:
    """What was measured."""

    rows: list[Row] = field(default_factory=list)
    peaks: dict[str, float] = field(default_factory=dict)
    """Number format -> operations a second of a large matrix product."""
    environment: dict[str, Any] = field(default_factory=dict)
    """Machine, threads, libraries, dataset, sizes."""
    own: dict[str, Any] = field(default_factory=dict)
    """How the harness spent the time of the whole job."""
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
    subject: Subject, wanted: Sequence[str], threads: int, tell: Callable[[str], None] = lambda text: None
) -> Measurement:
    """Measure.

    Args:
        subject: the work.
        wanted: which of `COMPARISONS`.
        threads: of every library, on both sides.
        tell: is told what is being measured.

    Raises:
        BenchError: a comparison is not known; a strategy has no counterpart in the plain library.
    """
    import torch

    from bench.evaluation.cost import Contention, environment
    from bench.speed import comparisons
    from bench.speed.whole import whole_job

    for name in wanted:
        if name not in COMPARISONS:
            raise unknown("comparison", name, COMPARISONS)
    _check(subject)
    torch.set_num_threads(threads)
    found = Measurement()
    found.environment = environment(subject.device) | _given(subject, threads)
    if not subject.bf16:
        found.notes.append(
            f"{subject.device} has no bf16 instructions here: ours computes in fp32 by itself, and the library's "
            "bf16=True is not measured, as it would be emulated"
        )
    contention = Contention()
    tell("matrix products")
    found.peaks = comparisons.peaks(subject)
    makers: dict[str, Callable[[Subject], Iterator[Row]]] = {
        "encode": comparisons.encoding,
        "train": comparisons.training,
        "evaluate": comparisons.evaluation,
        "bm25": comparisons.lexical,
    }
    for name, make in makers.items():
        if name in wanted:
            tell(name)
            found.rows += make(subject)
    load = contention.measure()
    found.environment["reference_slowdown"] = load["reference_slowdown"]
    if load["reference_slowdown"] > Contention.THRESHOLD:
        found.notes.append(
            f"other work slowed this machine down by up to {load['reference_slowdown']:.0%} while it was measured: "
            "ratios hold better than seconds, and both are better measured again"
        )
    if "whole" in wanted:
        tell("whole job")
        row, found.own = whole_job(subject, threads)
        found.rows.append(row)
    return found


def _check(subject: Subject) -> None:
    from bench.speed.plain import has_counterpart

    for name in subject.strategies:
        if not has_counterpart(subject.registry.get(name)(None, subject.resources())):
            raise BenchError(f"{name} has no counterpart in the plain library to be measured against: leave it out")


def _given(subject: Subject, threads: int) -> dict[str, Any]:
    sizes: Sizes = subject.sizes
    return {
        "threads": threads,
        "bf16_native": subject.bf16,
        "model": subject.base.name,
        "dataset": subject.dataset.name,
        "documents": len(subject.dataset.corpus),
        "strategies": list(subject.strategies),
        "sizes": vars(sizes),
    }


def table(found: Measurement) -> Table:
    """Return the comparisons as a table: median seconds of each side, how many times faster, shares of the peak."""
    from rich.table import Table

    shown = Table(
        "", *(f"{name}, s" for name in (PLAIN, PLAIN_BF16, OURS)), "faster", "than bf16", "% of peak", box=None
    )
    for column in shown.columns[1:]:
        column.justify = "right"
    for row in found.rows:
        shares = row.shares(found.peaks)
        shown.add_row(
            row.what,
            *(f"{row.median(name):.3g}" if name in row.seconds else "-" for name in (PLAIN, PLAIN_BF16, OURS)),
            *(f"{row.ratio(name).median:.2f}" if name in row.seconds else "-" for name in (PLAIN, PLAIN_BF16)),
            " / ".join(f"{shares[name]:.0%}"[:-1] for name in (PLAIN, PLAIN_BF16, OURS) if name in shares) or "-",
        )
    return shown


def sentences(found: Measurement) -> list[str]:
    """Return what stands under the table: machine, peaks, the harness's own time, notes."""
    where = found.environment
    libraries = ", ".join(f"{name} {version}" for name, version in where["libraries"].items())
    lines = [
        f"{where['machine']}; Python {where['python']}; {libraries}",
        f"model {where['model']}, dataset {where['dataset']} ({where['documents']:,} documents)",
        "seconds are medians; faster: the median over rounds of the library's seconds by ours",
        "peak, a large matrix product: "
        + ", ".join(f"{name} {rate / 1e12:.2f} TFLOP/s" for name, rate in found.peaks.items())
        + "; shares are those of the operations on tokens, in each side's own number format",
    ]
    if found.own:
        lines.append(own_time_words(found.own))
    for row in found.rows:
        ranges = [f"times faster than {name}: {row.ratio(name)}" for name in row.seconds if name != OURS]
        rounds = len(row.seconds[OURS])
        lines.append(f"{row.what}: {row.n}; {rounds} round{'s' * (rounds > 1)}; {'; '.join(ranges)}")
        lines += [f"  {note}" for note in row.notes]
    return [*lines, *found.notes]


def own_time_words(own: Mapping[str, Any]) -> str:
    """Return in words how the harness spent the time of the whole job (`bench.speed.whole.own_time`)."""
    return (
        f"our whole job: {own['wall']:.1f} s for {own['jobs']} fits and cells: {_listed(own['phases'])}; "
        f"the harness itself {own['harness']:.1f} s ({own['share']:.1%}): {_listed(own['own'])}"
    )


def _listed(seconds: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.1f} s" for name, value in seconds.items())
