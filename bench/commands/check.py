"""`adaptbench check`: published scores measured again, or the contract on a strategy."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError

if TYPE_CHECKING:
    from bench.data.catalogue import CatalogueEntry
    from bench.store.store import Store

SUMMARY = "measure published scores again, or run the contract on a strategy"

WITHIN = 0.002
"""Difference up to which a score counts as reproduced."""
CLOSE = 0.01


@dataclass(frozen=True)
class Golden:
    """One expected score and what was measured."""

    dataset: str
    strategy: str
    measure: str
    expected: float
    measured: float | None
    n: int
    """Judged queries, or sentence pairs."""
    source: str
    reason: str = ""
    """Why there is no measurement."""

    @property
    def verdict(self) -> str:
        """`OK` within .002, `close` within .01, else `FAIL`."""
        if self.measured is None:
            return "FAIL"
        difference = round(abs(self.measured - self.expected), 6)
        return "OK" if difference <= WITHIN else "close" if difference <= CLOSE else "FAIL"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of both forms."""
    golden = parser.add_argument_group("scores", "datasets found under --data-dir, against what the catalogue expects")
    golden.add_argument("--data-dir", metavar="DIR", type=Path, help="folder that holds dataset folders")
    golden.add_argument("--datasets", metavar="A,B,...", default="", help="only these")
    golden.add_argument("--precision", default="fp32", help="fp32 (as the scores were published), bf16 or auto")
    golden.add_argument("--pooling", help="override the model's pooling (cls, max): shows that a wrong one is noticed")
    contract = parser.add_argument_group("contract", "a strategy that trains what it says, keeps the rest, and reloads")
    contract.add_argument("--strategy-file", action="append", default=[], type=Path, metavar="FILE", help="your own")
    contract.add_argument("--strategies", default="", metavar="A,B,...", help="only these, such as hybrid(lora)")
    parser.add_argument("--model", metavar="NAME", help="base model; published scores are those of the default")
    parser.add_argument("--json", action="store_true", help="print as JSON")


def run(args: argparse.Namespace) -> int:
    """Check; returns 1 where something does not pass."""
    return _contract(args) if args.strategy_file or args.strategies else _golden(args)


# --- published scores -----------------------------------------------------------------------------------------------


def _golden(args: argparse.Namespace) -> int:
    from bench.commands._console import emit_json

    rows: list[Golden] = []
    for entry, folder in _found(args):
        rows += _measured(entry, folder, args)
    if args.json:
        emit_json([asdict(row) | {"verdict": row.verdict} for row in rows])
    else:
        _show(rows)
    return int(any(row.verdict == "FAIL" for row in rows))


def _found(args: argparse.Namespace) -> list[tuple[CatalogueEntry, Path]]:
    """Return the datasets with expected scores that are on this machine."""
    from bench.data.catalogue import catalogue
    from bench.data.folders import is_dataset
    from bench.data.locate import search_places
    from bench.errors import unknown

    expecting = {name: entry for name, entry in catalogue().items() if entry.info.expected}
    names = [name for name in args.datasets.split(",") if name] or list(expecting)
    found = []
    for name in names:
        if name not in expecting:
            raise unknown("dataset with expected scores", name, expecting)
        places = [args.data_dir / name] if args.data_dir else search_places(name, expecting[name])
        folder = next((place for place in places if is_dataset(place)), None)
        if folder is not None:
            found.append((expecting[name], folder))
        elif args.datasets:
            raise BenchError(f"dataset {name!r} was not found: {', '.join(map(str, places))}")
    if not found:
        where = args.data_dir or "$BENCH_DATA, ./datasets and the cache"
        raise BenchError(f"no dataset with expected scores in {where}: known are {', '.join(expecting)} (--data-dir)")
    return found


def _measured(entry: CatalogueEntry, folder: Path, args: argparse.Namespace) -> list[Golden]:
    """Measure one dataset the way a run does: planned, fitted and scored in processes of their own."""
    from bench.commands._console import err_console
    from bench.config.execution import ExecutionSettings
    from bench.config.schema import RunConfig
    from bench.planning.jobs import jobs_of
    from bench.planning.plan import plan
    from bench.records import MEASURES, PRIMARY_MEASURE
    from bench.running.executors import executor
    from bench.running.progress import display
    from bench.store.store import Store

    expected = entry.info.expected
    wanted = {measure for scores in expected.values() for measure in scores if "@" in measure}
    config = RunConfig(
        strategies=tuple(expected),
        baseline=next(iter(expected)),
        datasets=(str(folder),),
        model=(args.model or "",),
        measures=tuple(measure for measure in MEASURES if measure in wanted | {PRIMARY_MEASURE}),
        precision=args.precision,
    )
    planned = plan(config, role="probe", pooling=args.pooling)
    jobs = jobs_of(planned, [*(fit.name for fit in planned.fits), *(cell.name for cell in planned.cells)])
    execution = replace(ExecutionSettings.of(config), pooling=args.pooling)
    with tempfile.TemporaryDirectory(prefix="adaptbench-check-") as scratch:
        store = Store(Path(scratch))
        with display(err_console(), len(jobs), quiet=args.json) as shown:
            executor("local").run(jobs, store, execution, shown)
        return _rows(entry, store)


def _rows(entry: CatalogueEntry, store: Store) -> list[Golden]:
    cells = {cell.strategy: cell for cell in store.cells()}
    return [
        Golden(
            dataset=entry.name,
            strategy=strategy,
            measure=measure,
            expected=float(score),
            measured=cells[strategy].metrics.get(measure),
            n=cells[strategy].n_queries,
            source=entry.expected_source.get(strategy, ""),
            reason=cells[strategy].reason,
        )
        for strategy, scores in entry.info.expected.items()
        for measure, score in scores.items()
    ]


def _show(rows: Sequence[Golden]) -> None:
    from rich.table import Table

    from bench.commands._console import console

    table = Table("dataset", "strategy", "measure", "expected", "measured", "difference", "n", "", box=None)
    for column in (3, 4, 5, 6):
        table.columns[column].justify = "right"
    colours = {"OK": "green", "close": "yellow", "FAIL": "bold red"}
    for row in rows:
        measured = "-" if row.measured is None else f"{row.measured:.4f}"
        difference = "-" if row.measured is None else f"{row.measured - row.expected:+.4f}"
        verdict = f"[{colours[row.verdict]}]{row.verdict}[/]"
        cells = (row.dataset, row.strategy, row.measure, f"{row.expected:.4f}", measured, difference, f"{row.n:,}")
        table.add_row(*cells, verdict)
    screen = console()
    screen.print(table)
    for row in rows:
        if row.reason:
            screen.print(f"{row.dataset}, {row.strategy}: {row.reason}", markup=False)
    for source in dict.fromkeys(f"{row.dataset}, {row.strategy}: {row.source}" for row in rows if row.source):
        screen.print(f"expected of {source}", markup=False, style="dim")
    counts = {verdict: sum(row.verdict == verdict for row in rows) for verdict in colours}
    screen.print(
        f"{counts['OK']} of {len(rows)} reproduced within {WITHIN}, {counts['close']} within {CLOSE}, "
        f"{counts['FAIL']} FAILED",
        style="bold red" if counts["FAIL"] else "green",
    )


# --- the contract ---------------------------------------------------------------------------------------------------


def _contract(args: argparse.Namespace) -> int:
    """Run the contract on every strategy of the files given, or on those named."""
    from bench.commands._console import console, emit_json
    from bench.contract import check
    from bench.errors import NotApplicableError
    from bench.expression import parse_list
    from bench.models.locate import base_model
    from bench.planning.registry import Registry

    registry = Registry(args.strategy_file)
    files = {str(file) for file in args.strategy_file}
    own = [name for name, entry in registry.entries.items() if entry.origin in files]
    names = [str(found) for found in parse_list(args.strategies)] if args.strategies else own
    model = base_model(args.model) if args.model else None
    report: list[dict[str, Any]] = []
    broken = 0
    screen = console()
    for name in names:
        try:
            findings = check(name, model, files=args.strategy_file)
        except NotApplicableError as error:
            report.append({"strategy": name, "not_applicable": str(error)})
            if not args.json:
                screen.print(f"{name}: not applicable: {error}", markup=False)
            continue
        broken += sum(not finding.ok for finding in findings)
        report.append({"strategy": name, "findings": [asdict(finding) for finding in findings]})
        if not args.json:
            passed = sum(finding.ok for finding in findings)
            screen.print(f"{name}: {passed} of {len(findings)} clauses kept", markup=False)
            for finding in findings:
                screen.print(f"  {finding}", markup=False, style="" if finding.ok else "red")
    if args.json:
        emit_json(report)
    return int(broken > 0)
