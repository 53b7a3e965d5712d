"""The comparison under a budget of trainable parameters: the counts reached, and who is left out of it."""

from __future__ import annotations

from statistics import median

from bench.report import numbers
from bench.report.document import Block, Cell, Column, Heading, Items, Table
from bench.report.findings import Analysis
from bench.report.frames import Setting
from bench.report.load import Run
from bench.report.matched import LEAST_SHARE, Size, sizes
from bench.report.text import code

LIMIT = "trainable_params"


def blocks(run: Run, analysis: Analysis) -> list[Block]:
    """Return one table a setting whose budget limits trainable parameters."""
    found: list[Block] = []
    for number, setting in enumerate(run.settings, start=1):
        reached = _sizes(setting)
        if not reached:
            continue
        found += [
            Heading(f"At the same number of trainable parameters: {analysis.title(setting)}", setting.name),
            _table(setting, analysis, [size for size in reached if size.matched], number),
        ]
        left_out = [size for size in reached if not size.matched]
        if left_out:
            found.append(Items([_left_out(size) for size in left_out]))
    return found


def _sizes(setting: Setting) -> list[Size]:
    if LIMIT not in setting.limits:
        return []
    cells = {label: setting.entries[label].usable for label in setting.compared}
    totals = [float(total) for found in cells.values() for cell in found if (total := cell.cost.get("total_params"))]
    trained = {
        label: float(median(cell.cost.get(LIMIT) or 0 for cell in found)) for label, found in cells.items() if found
    }
    # an attachment adds to the model's parameters, so the smallest total is the untouched model's
    return sizes(trained, setting.limits[LIMIT], min(totals)) if totals else []


def _table(setting: Setting, analysis: Analysis, reached: list[Size], number: int) -> Table:
    rows = []
    for size in reached:
        score = setting.mean(size.label, stratum=setting.headline)
        finding = analysis.finding(setting, size.label)
        rows.append(
            [
                Cell(code(size.label), size.label),
                Cell(numbers.count(size.params), size.params),
                Cell(numbers.percent(size.share), size.share),
                Cell(numbers.score(score), score),
                Cell(numbers.signed(finding.difference), finding.difference) if finding else Cell(numbers.MISSING),
                Cell(numbers.interval(finding.low, finding.high)) if finding else Cell(numbers.MISSING),
            ]
        )
    columns = [
        Column("strategy", numeric=False),
        Column("trainable", "parameters"),
        Column("of the allowance", "share"),
        Column("quality", f"nDCG@10, {analysis.queries(setting)}"),
        Column("difference", f"from {setting.baseline}"),
        Column("95% interval", numeric=False),
    ]
    allowance = numbers.count(round(reached[0].allowance)) if reached else ""
    notes = [
        f"Each strategy was turned to its largest size within {allowance or 'the'} parameters"
        f"{'' if allowance else ' allowed'}; one that uses less than {numbers.percent(LEAST_SHARE)} of them, as its "
        "sizes are too coarse or end below, is no match for the others and is left out."
    ]
    return Table(f"matched-{number}", f"Matched by size on {code(setting.dataset)}", columns, rows, notes)


def _left_out(size: Size) -> str:
    return (
        f"{code(size.label)} is left out: it trains {numbers.count(size.params)} parameters, "
        f"{numbers.percent(size.share)} of the {numbers.count(round(size.allowance))} allowed."
    )
