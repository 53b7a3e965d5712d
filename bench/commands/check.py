"""Measure published scores again, or run the contract on a strategy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.commands._options import DATASETS, DIR, FILE, STRATEGIES, command, json_flag, option
from bench.errors import BenchError

if TYPE_CHECKING:
    from bench.data.catalogue import CatalogueEntry
    from bench.planning.registry import Registry
    from bench.records import CellResult
    from bench.store.store import Store

WITHIN = 0.002
"""The largest difference at which a score counts as reproduced."""
CLOSE = 0.01


@dataclass(frozen=True)
class Golden:
    """One expected score and the measured one."""

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
    beir: float | None = None
    """The score of the same ranking by the scorer of the `beir` library, for the measures that it has."""

    @property
    def verdict(self) -> str:
        """`OK` within 0.002, `close` within 0.01, else `FAIL`."""
        if self.measured is None:
            return "FAIL"
        difference = round(abs(self.measured - self.expected), 6)
        return "OK" if difference <= WITHIN else "close" if difference <= CLOSE else "FAIL"


_scores = partial(option, section="Published scores (measured again, and compared with the catalogue)")
_contract = partial(option, section="Contract (what a strategy trains, keeps, saves and reloads)")


@command(__doc__)
@_scores("--data-dir", type=DIR, help="folder that holds dataset folders")
@_scores("--datasets", type=DATASETS, help="check only these datasets")
@_scores("--precision", metavar="NAME", default="fp32", help="fp32 (as the scores were published), bf16 or auto")
@_scores("--pooling", metavar="NAME", help="use cls or max pooling, to see that a wrong one is noticed")
@_contract("--strategy-file", multiple=True, type=FILE, help="check the strategies of this file")
@_contract("--strategies", type=STRATEGIES, help="check these, such as hybrid(lora)")
@option("--device", metavar="NAME", help="auto, cpu, cuda, cuda:1 or mps  [default: auto; cpu for the contract]")
@option("--model", metavar="NAME", help="base model; published scores are those of the default, all-MiniLM-L6-v2")
@json_flag("print the checks as JSON")
def main(
    data_dir: Path | None, datasets: str | None, precision: str, pooling: str | None, strategy_file: tuple[Path, ...],
    strategies: str | None, device: str | None, model: str | None, as_json: bool,
) -> int:  # fmt: skip
    """Check; returns 1 where something does not pass."""
    if strategy_file or strategies:
        return _check_contract(strategy_file, strategies, device or "cpu", model, as_json)
    rows = [
        row
        for entry, folder in _on_this_machine(data_dir, datasets.split(",") if datasets else [])
        for row in _measured(entry, folder, device or "auto", model, precision, pooling, as_json)
    ]
    if as_json:
        from bench.commands._console import emit_json

        emit_json([asdict(row) | {"verdict": row.verdict} for row in rows])
    else:
        _show(rows)
    return int(any(row.verdict == "FAIL" for row in rows))


# --- published scores -----------------------------------------------------------------------------------------------


def _on_this_machine(data_dir: Path | None, names: Sequence[str]) -> list[tuple[CatalogueEntry, Path]]:
    """Return the datasets with expected scores that are on this machine, or those that are named.

    Raises:
        BenchError: a dataset has no expected scores, or is not on this machine.
    """
    from bench.data.catalogue import catalogue
    from bench.data.folders import is_dataset
    from bench.data.locate import search_places
    from bench.errors import unknown

    expecting = {name: entry for name, entry in catalogue().items() if entry.info.expected}
    folders = []
    for name in names or expecting:
        if name not in expecting:
            raise unknown("dataset with expected scores", name, expecting)
        places = [data_dir / name] if data_dir else search_places(name, expecting[name])
        folder = next((place for place in places if is_dataset(place)), None)
        if folder is not None:
            folders.append((expecting[name], folder))
        elif names:
            raise BenchError(f"dataset {name!r} is not in {', '.join(map(str, places))}")
    if not folders:
        where = data_dir or "$BENCH_DATA, ./datasets and the cache"
        raise BenchError(f"no dataset with expected scores in {where} (--data-dir). Known: {', '.join(expecting)}.")
    return folders


def _measured(
    entry: CatalogueEntry,
    folder: Path,
    device: str,
    model: str | None,
    precision: str,
    pooling: str | None,
    quiet: bool,
) -> list[Golden]:
    """Measure one dataset as a run does: planned, fitted and scored in processes of their own."""
    from bench.commands._console import err_console
    from bench.config.schema import from_mapping
    from bench.records import MEASURES, PRIMARY_MEASURE
    from bench.running.progress import display
    from bench.running.run import Run
    from bench.scratch import scratch_folder

    expected = entry.info.expected
    expected_measures = {measure for scores in expected.values() for measure in scores if "@" in measure}
    with scratch_folder() as scratch:
        config = from_mapping(
            {
                "strategies": list(expected),
                "baseline": next(iter(expected)),
                "datasets": [str(folder)],
                "device": device,
                "model": model or "",
                "measures": [measure for measure in MEASURES if measure in expected_measures | {PRIMARY_MEASURE}],
                "precision": precision,
                "out": str(scratch),
            }
        )
        run = Run.prepare(config, role="probe", pooling=pooling)
        with display(err_console(), len(run.pending()), quiet=quiet) as shown:
            result = run.execute(shown)
        if result.interrupted:
            raise KeyboardInterrupt
        return _rows(entry, result.store, folder)


def _rows(entry: CatalogueEntry, store: Store, folder: Path) -> list[Golden]:
    cells = {cell.strategy: cell for cell in store.cells()}
    opinions = {
        strategy: _second_opinion(entry, store, cell, folder) for strategy, cell in cells.items() if cell.metrics
    }
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
            beir=opinions.get(strategy, {}).get(measure),
        )
        for strategy, scores in entry.info.expected.items()
        for measure, score in scores.items()
    ]


def _second_opinion(entry: CatalogueEntry, store: Store, cell: CellResult, folder: Path) -> dict[str, float]:
    """Return measure -> score of a cell's ranking by beir's scorer. Empty for a similarity dataset."""
    from bench.data.beir import is_beir, read_beir
    from bench.evaluation.beir_scorer import beir_means

    if not is_beir(folder):
        return {}
    qrels = read_beir(folder, entry.info, [cell.split]).qrels(cell.split)
    return beir_means(store.ranking(cell.cell), qrels, list(cell.metrics), entry.info.drop_same_id)


def _show(rows: Sequence[Golden]) -> None:
    from rich.table import Table

    from bench.commands._console import console, print_table

    table = Table("dataset", "strategy", "measure", "expected", "measured", "difference", "beir", "n", "", box=None)
    for column in (3, 4, 5, 6, 7):
        table.columns[column].justify = "right"
    colours = {"OK": "green", "close": "yellow", "FAIL": "bold red"}
    for row in rows:
        measured = "-" if row.measured is None else f"{row.measured:.4f}"
        difference = "-" if row.measured is None else f"{row.measured - row.expected:+.4f}"
        verdict = f"[{colours[row.verdict]}]{row.verdict}[/]"
        beir = "-" if row.beir is None else f"{row.beir:.4f}"
        cells = (row.dataset, row.strategy, row.measure, f"{row.expected:.4f}", measured, difference, beir)
        table.add_row(*cells, f"{row.n:,}", verdict)
    screen = console()
    print_table(table, markup=True)
    for row in rows:
        if row.reason:
            screen.print(f"{row.dataset}, {row.strategy}: {row.reason}", markup=False)
    for source in dict.fromkeys(f"{row.dataset}, {row.strategy}: {row.source}" for row in rows if row.source):
        screen.print(f"expected score of {source}", markup=False, style="dim")
    counts = {verdict: sum(row.verdict == verdict for row in rows) for verdict in colours}
    screen.print(
        f"{counts['OK']} of {len(rows)} reproduced within {WITHIN}, {counts['close']} within {CLOSE}, "
        f"{counts['FAIL']} FAILED",
        style="bold red" if counts["FAIL"] else "green",
    )


# --- the contract ---------------------------------------------------------------------------------------------------


def _check_contract(
    files: Sequence[Path], strategies: str | None, device: str, model: str | None, as_json: bool
) -> int:
    """Run the contract on the named strategies, or else on every strategy of the files."""
    from bench.models.device import require, resolved
    from bench.planning.registry import Registry
    from bench.training.process_state import unspoiled

    require(device)
    with unspoiled():  # from before the files are imported
        return _checked_names(Registry(files), files, strategies, resolved(device), model, as_json)


def _checked_names(
    registry: Registry, files: Sequence[Path], strategies: str | None, device: str, model: str | None, as_json: bool
) -> int:
    from bench.commands._console import console, emit_json
    from bench.contract import check
    from bench.errors import NotApplicableError
    from bench.expression import parse_list
    from bench.models.locate import base_model

    origins = {str(file) for file in files}
    own = [name for name, entry in registry.entries.items() if entry.origin in origins]
    names = [str(expression) for expression in parse_list(strategies)] if strategies else own
    base = base_model(model) if model else None
    report: list[dict[str, Any]] = []
    broken = 0
    screen = console()
    for name in names:
        try:
            results = check(name, base, files=files, device=device)
        except NotApplicableError as error:
            report.append({"strategy": name, "not_applicable": str(error)})
            if not as_json:
                screen.print(f"{name}: not applicable: {error}", markup=False)
            continue
        broken += sum(not result.ok for result in results)
        report.append({"strategy": name, "clauses": [asdict(result) for result in results]})
        if not as_json:
            passed = sum(result.ok for result in results)
            screen.print(f"{name}: {passed} of {len(results)} clauses kept", markup=False)
            for result in results:
                screen.print(f"  {result}", markup=False, style="" if result.ok else "red")
    if as_json:
        emit_json(report)
    return int(broken > 0)
