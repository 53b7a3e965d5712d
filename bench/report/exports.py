"""Exports of a run for other tools: CSV, Parquet, LaTeX tables, TREC runs, MTEB results."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from bench.errors import unknown
from bench.records import CellResult
from bench.report.document import Report, Table
from bench.report.load import LoadedRun
from bench.report.text import to_plain
from bench.store.store import RANKING

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""What a text begins with that spreadsheets take for a formula."""
_PLAIN_TABLES = ("development-", "answer-recall-", "answer-tests-", "reader-")
"""What the names of the tables begin with that are also written as CSV."""
_UNDETERMINED = "und-Zyyy"
"""Code for an unknown language and script (ISO 639-3, 15924). Without a code, mteb has nothing to average over."""
MTEB_TASKS: Mapping[str, str] = {
    "scifact": "SciFact", "nfcorpus": "NFCorpus", "fiqa": "FiQA2018", "arguana": "ArguAna", "scidocs": "SCIDOCS",
    "trec-covid": "TRECCOVID", "quora": "QuoraRetrieval", "nq": "NQ", "hotpotqa": "HotpotQA", "fever": "FEVER",
    "climate-fever": "ClimateFEVER", "dbpedia-entity": "DBPedia", "msmarco": "MSMARCO",
    "webis-touche2020": "Touche2020",
}  # fmt: skip
"""Our name of a dataset -> MTEB's name."""


def export(run: LoadedRun, report: Report, formats: Sequence[str], out: Path) -> list[Path]:
    """Write the run in each format (see `FORMATS`) under `out`, and return the files.

    Raises:
        BenchError: a format is unknown.
    """
    check_formats(formats)
    out.mkdir(parents=True, exist_ok=True)
    return [path for name in formats for path in FORMATS[name](run, report, out)]


def check_formats(formats: Sequence[str]) -> None:
    """Raise a BenchError for an unknown format."""
    for name in formats:
        if name not in FORMATS:
            raise unknown("export format", name, FORMATS)


def results_frame(run: LoadedRun) -> pd.DataFrame:
    """Return one row per target cell; nested values become columns such as `metrics.ndcg@10`."""
    left_out = {"files", "environment", "notes", "schema_version", "digest"}
    rows = [{name: value for name, value in cell.to_dict().items() if name not in left_out} for cell in run.results]
    return pd.json_normalize(rows).map(lambda value: json.dumps(value) if isinstance(value, list) else value)


def _csv(run: LoadedRun, report: Report, out: Path) -> list[Path]:
    path = out / "results.csv"
    frame = results_frame(run).rename(columns=without_formula)
    frame.map(without_formula).to_csv(path, index=False)
    return [path, *_tables_as_csv(report, out)]


def _tables_as_csv(report: Report, out: Path) -> list[Path]:
    """Write the tables of development and test gains, and those on answers, numbers unrounded."""
    paths = []
    for table in report.tables:
        if table.name.startswith(_PLAIN_TABLES):
            paths.append(out / f"{table.name}.csv")
            names = [column.name for column in table.columns]
            rows = [[to_plain(cell.text) if cell.value is None else cell.value for cell in row] for row in table.rows]
            pd.DataFrame(rows, columns=names).map(without_formula).to_csv(paths[-1], index=False)
    return paths


def without_formula(value: Any) -> Any:
    """Return a value that a spreadsheet shows and does not compute. A number stays as it is, also one in text."""
    if not isinstance(value, str) or not value.startswith(_FORMULA):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value


def _parquet(run: LoadedRun, report: Report, out: Path) -> list[Path]:
    """Write the results, and every value per query in one long table."""
    paths = [out / "results.parquet", out / "per_query.parquet"]
    frame = results_frame(run)
    # A hyperparameter may be a number for one strategy and a word for another. A Parquet column has one type.
    mixed = [name for name in frame if frame[name].dropna().map(type).nunique() > 1]
    frame.astype(dict.fromkeys(mixed, "string")).to_parquet(paths[0], index=False)
    frames = []
    for cell in run.results:
        if cell.usable:
            values = run.store.per_query(cell.cell)
            values.insert(0, "seed", cell.seed)
            for name in ("budget", "model", "dataset", "strategy"):
                value = getattr(cell, name)
                values.insert(0, name, json.dumps(value.get("limits", {})) if name == "budget" else value)
            frames.append(values.astype({"seed": "Int64"}))
    if not frames:
        return paths[:1]
    pd.concat(frames, ignore_index=True).to_parquet(paths[1], index=False)
    return paths


def _latex(run: LoadedRun, report: Report, out: Path) -> list[Path]:
    folder = out / "latex"
    folder.mkdir(exist_ok=True)
    paths = []
    for table in report.tables:
        paths.append(folder / f"{table.name}.tex")
        paths[-1].write_text(latex_table(table), encoding="utf-8")
    return paths


def latex_table(table: Table) -> str:
    """Return a table as LaTeX (needs the package booktabs)."""
    rows = [[f"\\textbf{{{_tex(cell.text)}}}" if cell.best else _tex(cell.text) for cell in row] for row in table.rows]
    body = (
        pd.DataFrame(rows, columns=[_tex(column.head) for column in table.columns])
        .style.hide(axis="index")
        .to_latex(
            hrules=True,
            position_float="centering",
            column_format="".join("r" if column.numeric else "l" for column in table.columns),
            caption=f"{_tex(table.caption)}. {' '.join(map(_tex, table.notes))}".strip(),
            label=f"tab:{table.name}",
        )
    )
    return f"% Needs \\usepackage{{booktabs}}.\n{body}"


_TEX = str.maketrans(
    {
        "\\": "\\textbackslash{}", "&": "\\&", "%": "\\%", "$": "\\$", "#": "\\#", "_": "\\_", "{": "\\{", "}": "\\}",
        "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "−": "$-$", "–": "--", "†": "\\dag{}", "‡": "\\ddag{}",
        "<": "$<$", ">": "$>$", "|": "\\textbar{}", "“": "``", "”": "''", "±": "$\\pm$",
    }
)  # fmt: skip
"""Characters that LaTeX reads as commands, or prints as others. pandas escapes only the first ten of them."""


def _tex(text: str) -> str:
    return to_plain(text).translate(_TEX)


def _trec(run: LoadedRun, report: Report, out: Path) -> list[Path]:
    """Write one plain TREC run per cell, named after the cell."""
    folder = out / "trec"
    folder.mkdir(exist_ok=True)
    paths = []
    for cell in run.store.cells():
        if not cell.usable or RANKING not in cell.files:
            continue
        paths.append(folder / f"{cell.cell}.trec")
        tag = re.sub(r"\s", "", cell.strategy)
        with paths[-1].open("w", encoding="utf-8", newline="\n") as stream:
            for query, hits in run.store.ranking(cell.cell).hits.items():
                for rank, (doc, score) in enumerate(hits, start=1):
                    stream.write(f"{query} Q0 {doc} {rank} {score:.9g} {tag}\n")
    return paths


def _mteb(run: LoadedRun, report: Report, out: Path) -> list[Path]:
    """Write `mteb/results/<org>__<model>/<revision>/<Task>.json`, which the `mteb` library's result cache reads."""
    paths = []
    for cell in run.results:
        if not cell.usable:
            continue
        name = f"adaptbench/{_plain(Path(cell.model).name)}-{_plain(cell.strategy)}"
        revision = _plain(cell.fit)
        folder = out / "mteb" / "results" / name.replace("/", "__") / revision
        folder.mkdir(parents=True, exist_ok=True)
        meta = {"name": name, "revision": revision, "release_date": None, "languages": None, "loader": None}
        (folder / "model_meta.json").write_text(json.dumps(meta, indent=2), encoding="utf-8")
        task = MTEB_TASKS.get(cell.dataset, _plain(cell.dataset))
        paths.append(folder / f"{task}.json")
        paths[-1].write_text(json.dumps(mteb_result(cell, task, run.primary), indent=2), encoding="utf-8")
    return paths


def mteb_result(cell: CellResult, task: str, primary: str) -> dict[str, Any]:
    """Return a cell in the form of MTEB's `TaskResult`, with the dataset's fingerprint as its revision."""
    scores: dict[str, Any] = {measure.replace("@", "_at_"): value for measure, value in cell.metrics.items()}
    scores |= {
        "main_score": cell.metrics[primary],
        "hf_subset": "default",
        "languages": ["eng-Latn" if cell.dataset in MTEB_TASKS else _UNDETERMINED],
    }
    return {
        "dataset_revision": f"adaptbench-{cell.fingerprints.get('dataset', 'unknown')}",
        "task_name": task,
        "mteb_version": None,
        "scores": {cell.split: [scores]},
        "evaluation_time": float(cell.cost.get("index_seconds") or 0.0),
        "kg_co2_emissions": None,
    }


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip("_") or "unnamed"


FORMATS: dict[str, Callable[[LoadedRun, Report, Path], list[Path]]] = {
    "csv": _csv,
    "parquet": _parquet,
    "latex": _latex,
    "trec": _trec,
    "mteb": _mteb,
}
"""Name of an export format -> the function that writes it."""
