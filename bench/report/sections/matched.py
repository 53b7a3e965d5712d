"""Parameter-matched comparisons: what each strategy reached of an allowance of trainable parameters."""

from __future__ import annotations

from collections.abc import Mapping

from bench.records import FitRecord
from bench.report import numbers
from bench.report.costs import cost_of, typical
from bench.report.document import Block, Cell, Column, Heading, Items, Table
from bench.report.findings import Analysis
from bench.report.frames import Entry, Setting
from bench.report.load import Run
from bench.report.matched import LEAST_SHARE, Size, on_own_model, sizes
from bench.report.text import code


def blocks(run: Run, analysis: Analysis) -> list[Block]:
    """Return a table for each setting under a budget of trainable parameters; nothing where there is none."""
    found: list[Block] = []
    for number, setting in enumerate(run.settings, start=1):
        if "trainable_params" in setting.limits and setting.compared:
            found += [Heading(f"Matched in parameters: {analysis.title(setting)}", setting.name)]
            found += _setting(setting, number, run.fits, analysis)
    return found


def reached(setting: Setting, fits: Mapping[str, FitRecord]) -> list[Size]:
    """Return the sizes of the strategies that train something, in the order of the setting's tables.

    A composite's is that of the whole: its parts are trained within the same budget, each for itself.
    """
    own = [label for label in setting.compared if _on_own_model(setting.entries[label], fits)]
    totals = [total for label in own if (total := typical(setting.entries[label], "total_params"))]
    limit = setting.limits["trainable_params"]
    if limit <= 1 and not totals:
        return []
    trained = {label: cost_of(setting.entries[label], "trainable_params", fits) or 0 for label in setting.compared}
    # an attachment adds to the model's parameters, so the smallest total is the untouched model's
    found = sizes(trained, limit, min(totals, default=0))
    return sorted(found, key=lambda size: setting.compared.index(size.label))


def _on_own_model(entry: Entry, fits: Mapping[str, FitRecord]) -> bool:
    return all(on_own_model(cell.fit, fits) for cell in entry.usable)


def _setting(setting: Setting, number: int, fits: Mapping[str, FitRecord], analysis: Analysis) -> list[Block]:
    rows, least = [], numbers.percent(LEAST_SHARE)
    small: list[str] = []
    large: list[str] = []
    for size in reached(setting, fits):
        label, used = size.label, size.params
        if not size.matched:
            left = large if size.over else small
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
    reasons = {f"use under {least} of the allowance": small, "train more than the allowance": large}
    left_out = [f"Left out, as they {reason}: {', '.join(left)}." for reason, left in reasons.items() if left]
    if left_out:
        found.append(Items(left_out))
    return found
