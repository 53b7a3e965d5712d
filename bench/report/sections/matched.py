"""Parameter-matched comparisons: what each strategy reached of an allowance of trainable parameters."""

from __future__ import annotations

from bench.report import numbers
from bench.report.costs import typical
from bench.report.document import Block, Cell, Column, Heading, Items, Table
from bench.report.findings import Analysis
from bench.report.frames import Setting
from bench.report.load import Run
from bench.report.matched import LEAST_SHARE, Size, sizes
from bench.report.text import code


def blocks(run: Run, analysis: Analysis) -> list[Block]:
    """Return a table for each setting under a budget of trainable parameters; nothing where there is none."""
    found: list[Block] = []
    for number, setting in enumerate(run.settings, start=1):
        if "trainable_params" in setting.limits and setting.compared:
            found += [Heading(f"Matched in parameters: {analysis.title(setting)}", setting.name)]
            found += _setting(setting, number, analysis)
    return found


def reached(setting: Setting) -> list[Size]:
    """Return the sizes of the strategies that train something, in the order of the setting's tables."""
    totals = [total for label in setting.compared if (total := typical(setting.entries[label], "total_params"))]
    trained = {label: typical(setting.entries[label], "trainable_params") or 0 for label in setting.compared}
    # an attachment adds to the model's parameters, so the smallest total is the untouched model's
    found = sizes(trained, setting.limits["trainable_params"], min(totals)) if totals else []
    return sorted(found, key=lambda size: setting.compared.index(size.label))


def _setting(setting: Setting, number: int, analysis: Analysis) -> list[Block]:
    rows, left, least = [], [], numbers.percent(LEAST_SHARE)
    for size in reached(setting):
        label, used = size.label, size.params
        if not size.matched:
            left.append(f"{code(label)} ({numbers.count(used)}, {numbers.percent(size.share)})")
            continue
        finding = analysis.finding(setting, label)
        mean = setting.mean(label, stratum=setting.headline)
        rows.append(
            [
                Cell(code(label), label),
                Cell(numbers.count(used), used),
                Cell(numbers.percent(size.share), size.share),
                Cell(numbers.score(mean), mean),
                Cell(numbers.signed(finding.difference) if finding else numbers.MISSING),
                Cell(numbers.interval(finding.low, finding.high) if finding else numbers.MISSING),
            ]
        )
    columns = [
        Column("strategy", numeric=False),
        Column("trainable", "parameters"),
        Column("of the allowance", "share"),
        Column("nDCG@10", analysis.queries(setting)),
        Column("difference", f"over {setting.baseline}"),
        Column("95% interval"),
    ]
    found: list[Block] = []
    if rows:
        caption = f"Strategies that use at least {least} of their allowance on {code(setting.dataset)}"
        found.append(Table(f"matched-{number}", caption, columns, rows))
    if left:
        found.append(Items([f"Left out, as they use under {least} of the allowance: {', '.join(left)}."]))
    return found
