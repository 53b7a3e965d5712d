"""How the run was made: failures with their reasons, hyperparameters, commands, machines and versions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from bench.records import CellResult, FitRecord
from bench.report import numbers
from bench.report.analysis import Analysis
from bench.report.document import Block, Cell, Column, Heading, Items, Paragraph, Section, Table
from bench.report.load import LoadedRun, machine_of
from bench.report.text import clean, code

_STATUS = {
    "over_budget": "over budget",
    "no_effect": "no effect: the embeddings did not change",
    "oom": "out of memory",
    "not_applicable": "not applicable",
}
_VARYING = {"contention", "model_source", "load", "pid", "started", "seconds", "hostname", "wall_seconds"}
"""Keys of a record's environment that differ between fits on one machine."""


def section(analysis: Analysis) -> Section:
    """Return the last section."""
    run = analysis.run
    blocks: list[Block] = [Heading("What is missing from the tables, and why"), *_failures(run)]
    blocks += [Heading("Hyperparameters of each strategy"), _hyperparameters(run)]
    blocks += [Heading("Commands"), *_invocations(run)]
    blocks += [Heading("Machines and versions"), *_environments(run)]
    return Section("run", "How it was run", blocks)


def _failures(run: LoadedRun) -> list[Block]:
    measured = {cell.fit for cell in run.results}
    components = {component for record in run.fits.values() for component in record.components}
    others = [fit for fit in run.fits.values() if fit.fit not in measured and fit.fit not in components]
    records: list[CellResult | FitRecord] = [*run.results, *others]
    rows = [
        [
            Cell(code(record.strategy), record.strategy),
            Cell(code(record.dataset), record.dataset),
            Cell(numbers.MISSING if record.seed is None else str(record.seed), record.seed),
            Cell(_STATUS.get(record.status, record.status)),
            Cell(clean(record.reason) or numbers.MISSING),
        ]
        for record in records
        if record.status != "ok"
    ]
    blocks: list[Block] = []
    if rows:
        columns = [Column(name, numeric=False) for name in ("strategy", "dataset", "seed", "status", "reason")]
        blocks.append(Table("troubles", "Fits and cells without the status ok", columns, rows))
    if problems := run.store.problems():
        blocks.append(Items([f"Damaged, so left out: {clean(problem)}" for problem in problems]))
    return blocks or [Paragraph("Every fit and every cell has the status ok.")]


def _hyperparameters(run: LoadedRun) -> Table:
    """Return one row per distinct set of options; seeds with the same options share a row."""
    fits: dict[tuple[str, str, str, str], list[FitRecord]] = {}
    for record in run.fits.values():
        chosen = record.report.get("chosen") or {}
        key = (record.strategy, record.dataset, _pairs(record.hyperparameters), _pairs(chosen))
        fits.setdefault(key, []).append(record)
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
        for (strategy, dataset, options, chosen), members in sorted(fits.items())
    ]
    shared = sorted({_pairs(record.training) for record in run.fits.values() if record.training})
    notes = [f"Shared training settings: {options}." for options in shared]
    return Table("settings", "Hyperparameters of the fits", columns, rows, notes)


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{clean(name)} = {_flat(value)}" for name, value in sorted(values.items())) or numbers.MISSING


def _invocations(run: LoadedRun) -> list[Block]:
    if not run.invocations:
        return [Paragraph("The run folder does not record its commands.")]
    lines = []
    for call in run.invocations:
        command = call.get("command") or call.get("argv")
        words = " ".join(map(str, command)) if isinstance(command, list) else str(command or "the Python interface")
        git = call.get("git") if isinstance(call.get("git"), Mapping) else {}
        commit = clean((git or {}).get("commit") or call.get("commit") or "")
        state = " with uncommitted changes" if (git or {}).get("dirty") or call.get("dirty") else ""
        when = clean(call.get("started") or call.get("time") or "")
        parts = [code(words), f"at commit {code(commit[:12])}{state}" if commit else "commit not recorded", when]
        lines.append(", ".join(part for part in parts if part))
    return [Items(lines)]


def _environments(run: LoadedRun) -> list[Block]:
    """Return each distinct environment of the records once."""
    distinct: dict[str, tuple[dict[str, Any], int]] = {}
    records: list[FitRecord | CellResult] = [*run.fits.values(), *run.results]
    for record in records:
        stable = {name: value for name, value in record.environment.items() if name not in _VARYING}
        if stable:
            key = json.dumps(stable, sort_keys=True, default=str)
            distinct[key] = (stable, distinct.get(key, (stable, 0))[1] + 1)
    if not distinct:
        return [Paragraph("The records do not name the machine that made them.")]
    blocks: list[Block] = []
    for stable, count in distinct.values():
        facts = [
            f"{clean(name).removesuffix('_bytes').replace('_', ' ')}: "
            + (numbers.size(value) if name.endswith("_bytes") else _flat(value))
            for name, value in stable.items()
        ]
        blocks += [Paragraph(f"{numbers.plural(count, 'record')}:"), Items(facts)]
    machines = {machine_of(cell) for cell in run.results} - {""}
    if len(machines) > 1 and any(comparison.machine for comparison in run.comparisons):
        text = "Results under a budget of time depend on the machine, so each machine class has its own tables."
        blocks.append(Paragraph(text, "warning"))
    return blocks


def _flat(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{clean(name)} {_flat(part)}" for name, part in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_flat(part) for part in value)
    return clean(value)
