"""Write measurements of speed into a page: `python tools/speed_table.py PAGE NAME FILE...`.

Each FILE holds the output of `bench speed --json` for some comparisons or for all. The text goes between the lines
`<!-- NAME: begin -->` and `<!-- NAME: end -->` of the page.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.report import numbers
from bench.report.markdown import put_between
from bench.speed.measuring import own_time_words
from bench.speed.rounds import OURS, PLAIN, PLAIN_BF16, Ratio

_SYSTEMS = (PLAIN, PLAIN_BF16, OURS)
_COLUMNS = (
    "",
    *(f"{system}, s" for system in _SYSTEMS),
    "times faster",
    "than its bf16",
    *(f"% of peak, {system}" for system in _SYSTEMS),
)

Measured = Mapping[str, Any]


def text(measured: Sequence[Measured]) -> str:
    """Return the table of all comparisons, their workloads, machine and libraries as Markdown.

    Raises:
        ValueError: the measurements differ in machine, number of threads, dataset or model.
    """
    where = measured[0]["environment"]
    for key in ("machine", "threads", "dataset", "model"):
        if len({each["environment"][key] for each in measured}) > 1:
            raise ValueError(f"the measurements differ in {key}: they cannot share a table")
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
        f'{where["model"]}, dataset {where["dataset"]}. Seconds are medians. "Times faster" is the median '
        "over rounds, with the smallest and largest. TFLOP/s of a large matrix product before each measurement: "
        f"{rates}.",
        "",
    ]
    lines += [line for each in measured for line in _details(each)]
    return "\n".join(lines)


def _row(row: Measured) -> tuple[str, ...]:
    seconds, shares, ratios = row["median_seconds"], row["share_of_peak"], row["times_faster"]
    return (
        row["what"],
        *(numbers.plain(seconds.get(system)) for system in _SYSTEMS),
        *(str(Ratio(**ratios[system])) if system in ratios else numbers.MISSING for system in (PLAIN, PLAIN_BF16)),
        *(numbers.percent(shares.get(system)) for system in _SYSTEMS),
    )


def _details(measured: Measured) -> list[str]:
    lines = []
    for row in measured["rows"]:
        rounds = len(row["seconds"][OURS])
        notes = "".join(f"; {note}" for note in row["notes"])
        lines.append(f"- {row['what']}: {row['n']}, {rounds} round{'s' * (rounds > 1)}{notes}")
    if measured["own_time"]:
        lines.append(f"- {own_time_words(measured['own_time'])}")
    named = ", ".join(row["what"] for row in measured["rows"])
    return lines + [f"- {named}: {note}" for note in measured["notes"]]


if __name__ == "__main__":
    files = [Path(name) for name in sys.argv[3:]]
    put_between(Path(sys.argv[1]), sys.argv[2], text([json.loads(path.read_text(encoding="utf-8")) for path in files]))
