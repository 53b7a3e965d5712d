"""How it was run: what failed and why, commands, versions, machines."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from bench.records import CellResult, FitRecord
from bench.report import numbers
from bench.report.document import Block, Cell, Column, Heading, Items, Paragraph, Section, Table
from bench.report.findings import Analysis
from bench.report.load import Run, machine_class
from bench.report.text import clean, code

_WORDS = {
    "over_budget": "over budget",
    "no_effect": "no effect: the embeddings did not move",
    "oom": "out of memory",
    "not_applicable": "not applicable",
}


def section(run: Run, analysis: Analysis) -> Section:
    """Return the last section."""
    blocks: list[Block] = [Heading("What is not in the tables, and why"), *_troubles(run)]
    blocks += [Heading("Settings of each strategy"), _hyperparameters(run)]
    blocks += [Heading("Commands"), *_invocations(run)]
    blocks += [Heading("Machines and versions"), *_environments(run)]
    return Section("run", "How it was run", blocks)


def _troubles(run: Run) -> list[Block]:
    rows = []
    for cell in run.results:
        if cell.status != "ok":
            rows.append((cell.strategy, cell.dataset, cell.seed, cell.status, cell.reason))
    known = {cell.fit for cell in run.results}
    needed = {part for record in run.fits.values() for part in record.components}
    for record in run.fits.values():
        if record.status != "ok" and record.fit not in known and record.fit not in needed:
            rows.append((record.strategy, record.dataset, record.seed, record.status, record.reason))
    problems = run.store.problems()
    blocks: list[Block] = []
    if rows:
        columns = [Column(name, numeric=False) for name in ("strategy", "dataset", "seed", "status", "reason")]
        blocks.append(
            Table(
                "troubles",
                "Fits and cells that did not end as ok",
                columns,
                [
                    [
                        Cell(code(strategy), strategy),
                        Cell(code(dataset), dataset),
                        Cell(numbers.MISSING if seed is None else str(seed), seed),
                        Cell(_WORDS.get(status, status)),
                        Cell(clean(reason) or numbers.MISSING),
                    ]
                    for strategy, dataset, seed, status, reason in rows
                ],
            )
        )
    if problems:
        blocks.append(Items([f"Damaged, left out: {clean(problem)}" for problem in problems]))
    return blocks or [Paragraph("Every fit and every cell ended as ok.")]


def _hyperparameters(run: Run) -> Table:
    """One row a distinct set of options; seeds that share it stand together."""
    seen: dict[tuple[str, str, str, str], list[FitRecord]] = {}
    for record in run.fits.values():
        chosen = record.report.get("chosen") or {}
        key = (record.strategy, record.dataset, _pairs(record.hyperparameters), _pairs(chosen))
        seen.setdefault(key, []).append(record)
    columns = [
        Column(name, numeric=False)
        for name in ("strategy", "dataset", "fits", "hyperparameters", "chosen on development data")
    ]
    rows = [
        [
            Cell(code(strategy), strategy),
            Cell(code(dataset)),
            Cell(str(len(members)), len(members)),
            Cell(options),
            Cell(chosen),
        ]
        for (strategy, dataset, options, chosen), members in sorted(seen.items())
    ]
    shared = sorted({_pairs(record.training) for record in run.fits.values() if record.training})
    notes = [f"Shared training settings: {settings}." for settings in shared]
    return Table("settings", "Hyperparameters as run", columns, rows, notes)


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{clean(name)} = {_flat(value)}" for name, value in sorted(values.items())) or numbers.MISSING


def _invocations(run: Run) -> list[Block]:
    if not run.invocations:
        return [Paragraph("The run folder does not say which commands were given.")]
    lines = []
    for call in run.invocations:
        command = call.get("command") or call.get("argv")
        words = (
            " ".join(map(str, command)) if isinstance(command, list) else str(command or "from the Python interface")
        )
        git = call.get("git") if isinstance(call.get("git"), Mapping) else {}
        commit = clean((git or {}).get("commit") or call.get("commit") or "")
        state = " with uncommitted changes" if (git or {}).get("dirty") or call.get("dirty") else ""
        when = clean(call.get("started") or call.get("time") or "")
        parts = [code(words), f"at commit {code(commit[:12])}{state}" if commit else "commit not recorded", when]
        lines.append(", ".join(part for part in parts if part))
    return [Items(lines)]


def _environments(run: Run) -> list[Block]:
    """What the records say of the machines, each distinct environment once."""
    volatile = {"contention", "model_source", "load", "pid", "started", "seconds", "hostname", "wall_seconds"}
    distinct: dict[str, tuple[dict[str, Any], int]] = {}
    records: list[FitRecord | CellResult] = [*run.fits.values(), *run.results]
    for record in records:
        stable = {name: value for name, value in record.environment.items() if name not in volatile}
        if stable:
            key = json.dumps(stable, sort_keys=True, default=str)
            distinct[key] = (stable, distinct.get(key, (stable, 0))[1] + 1)
    if not distinct:
        return [Paragraph("The records do not say on which machine they were made.")]
    blocks: list[Block] = []
    for stable, members in distinct.values():
        facts = [
            f"{clean(name).removesuffix('_bytes').replace('_', ' ')}: "
            + (numbers.size(value) if name.endswith("_bytes") else _flat(value))
            for name, value in stable.items()
        ]
        blocks += [Paragraph(f"{numbers.plural(members, 'record')}:"), Items(facts)]
    classes = {machine_class(cell) for cell in run.results} - {""}
    if len(classes) > 1 and any(comparison.machine for comparison in run.comparisons):
        blocks.append(
            Paragraph(
                "Results under a budget in time depend on the machine: each class has its own tables, and no figure "
                "of one stands beside a figure of another.",
                "warning",
            )
        )
    return blocks


def _flat(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{clean(name)} {_flat(part)}" for name, part in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_flat(part) for part in value)
    return clean(value)
