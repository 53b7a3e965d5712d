"""Write measurements of speed into a page: `python tools/speed_table.py PAGE NAME MEASURED...`.

Each MEASURED is what `bench speed --json` printed, of some comparisons or of all. The text goes between the lines
`<!-- NAME: begin -->` and `<!-- NAME: end -->` of the page.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.report.markdown import put_between
from bench.speed.rounds import OURS, PLAIN, PLAIN_BF16

_SIDES = (PLAIN, PLAIN_BF16, OURS)
_COLUMNS = (
    "", *(f"{side}, s" for side in _SIDES), "times faster", "than its bf16", *(f"% of peak, {side}" for side in _SIDES)
)  # fmt: skip

Measured = Mapping[str, Any]


def text(measured: Sequence[Measured]) -> str:
    """Return the table of all comparisons, what each was made of, and where, as Markdown.

    Raises:
        ValueError: the measurements are of different machines, numbers of threads or datasets.
    """
    where = measured[0]["environment"]
    for key in ("machine", "threads", "dataset", "model"):
        if len({each["environment"][key] for each in measured}) > 1:
            raise ValueError(f"the measurements differ in {key}: they make no one table")
    lines = [f"| {' | '.join(row)} |" for row in (_COLUMNS, ("---", *("---:" for _ in _COLUMNS[1:])))]
    lines += [f"| {' | '.join(_row(row))} |" for each in measured for row in each["rows"]]
    rates = "; ".join(
        ", ".join(f"{kind} {rate / 1e12:.2f}" for kind, rate in each["peak_flops_per_second"].items())
        for each in measured
    )
    libraries = ", ".join(f"{name} {version}" for name, version in where["libraries"].items())
    lines += [
        "",
        f"{where['machine']}; Python {where['python']}; {libraries}. Model "
        f"{where['model']}, dataset {where['dataset']}. Seconds are medians; times faster, the median over rounds and "
        f"the smallest and largest. A large matrix product, TFLOP/s, at the start of each measurement: {rates}.",
        "",
    ]
    lines += [line for each in measured for line in _details(each)]
    return "\n".join(lines)


def _row(row: Measured) -> tuple[str, ...]:
    seconds, shares = row["median_seconds"], row["share_of_peak"]
    return (
        row["what"],
        *(f"{seconds[side]:.3g}" if side in seconds else "-" for side in _SIDES),
        *(_ratio(row["times_faster"].get(side)) for side in (PLAIN, PLAIN_BF16)),
        *(f"{shares[side]:.0%}" if side in shares else "-" for side in _SIDES),
    )


def _ratio(found: Measured | None) -> str:
    return f"{found['median']:.2f} ({found['low']:.2f} to {found['high']:.2f})" if found else "-"


def _details(measured: Measured) -> list[str]:
    lines = []
    for row in measured["rows"]:
        rounds = len(row["seconds"][OURS])
        notes = "".join(f"; {note}" for note in row["notes"])
        lines.append(f"- {row['what']}: {row['n']}, {rounds} round{'s' * (rounds > 1)}{notes}")
    own = measured["own_time"]
    if own:
        phases, rest = (
            ", ".join(f"{name} {seconds:.1f}" for name, seconds in own[key].items()) for key in ("phases", "own")
        )
        lines.append(
            f"- of the {own['wall']:.1f} s of our whole job ({own['jobs']} fits and cells): {phases}; "
            f"the harness itself {own['harness']:.1f} s ({own['share']:.1%}): {rest}"
        )
    named = ", ".join(row["what"] for row in measured["rows"])
    return lines + [f"- {named}: {note}" for note in measured["notes"]]


if __name__ == "__main__":
    files = [Path(name) for name in sys.argv[3:]]
    put_between(Path(sys.argv[1]), sys.argv[2], text([json.loads(path.read_text(encoding="utf-8")) for path in files]))
