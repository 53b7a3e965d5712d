"""The report of a run: tables, plots and pages from a store. Never imports torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.report.analysis import Analysis
    from bench.store.places import Place
    from bench.store.store import Store


def write_report(
    store: Store,
    out: Path,
    baseline: str | None = None,
    min_gain: float = 0.02,
    texts: bool = True,
    exports: Sequence[str] = (),
    margin: float | None = None,
) -> list[Path]:
    """Analyse a run and write its report (`write_pages`).

    Args:
        store: the run.
        out: the folder to write into; it is made where it does not exist.
        baseline: the strategy that all others are tested against; None is the baseline in the run's configuration.
        min_gain: the gain in the primary measure that answers "how many labels?".
        texts: whether `report.html` may contain texts of the data (queries, the beginnings of documents).
        exports: formats to write under `exports/` as well (`bench.report.exports.FORMATS`).
        margin: an equivalence margin chosen after the run, labelled post hoc; None is the one that the run declared.

    Returns:
        The files written, the pages first.

    Raises:
        StoreError: the store holds no result.
        BenchError: `baseline` is not in the run.
    """
    from bench.report.analysis import Analysis
    from bench.report.exports import check_formats
    from bench.report.load import load_run

    check_formats(exports)
    return write_pages(Analysis(load_run(store, baseline, margin), min_gain), out, texts, exports)


def write_pages(analysis: Analysis, out: Path, texts: bool = True, exports: Sequence[str] = ()) -> list[Path]:
    """Write `report.md`, `report.html` and `plots/*.png` of an analysed run, and return the files, the pages first.

    Args:
        analysis: the findings of the run.
        out: the folder to write into; it is made where it does not exist.
        texts: whether `report.html` may contain texts of the data.
        exports: formats to write under `exports/` as well.
    """
    from bench.data.files import write_atomically
    from bench.report import html, markdown
    from bench.report.build import build
    from bench.report.explore import explore
    from bench.report.exports import export
    from bench.report.plots import draw
    from bench.report.svg import inline_svg

    report = build(analysis)
    plots = out / markdown.PLOTS
    plots.mkdir(parents=True, exist_ok=True)
    alts = {figure.name: figure.alt for figure in report.figures}
    drawn, figures = [], {}
    for plot in draw(analysis):
        drawn.append(plots / f"{plot.name}.png")
        plot.save(drawn[-1])
        figures[plot.name] = inline_svg(plot, alts[plot.name])
    pages = [out / "report.md", out / "report.html"]
    markdown.write(report, pages[0])
    write_atomically(pages[1], html.render(report, figures, explore(analysis, texts)).encode())
    written = [*pages, *drawn]
    if exports:
        written += export(analysis.run, report, exports, out / "exports")
    return written


def open_run(folder: Place | None = None) -> Store:
    """Return the store of a run.

    Args:
        folder: the folder or URL of the run; None is the default of `run`.

    Raises:
        BenchError: it looks like a URL with one slash missing.
        StoreError: the folder does not exist, or no run is at the URL.
    """
    from bench.config.schema import DEFAULT_OUT
    from bench.errors import StoreError, did_you_mean
    from bench.store.places import is_url, open_store, require_both_slashes

    if folder is not None and is_url(folder):
        store = open_store(folder)
        if not store.invocations():
            raise StoreError(f"{folder} holds no run. `run` makes one there, and --out names it.")
        return store
    path = Path(folder if folder is not None else DEFAULT_OUT)
    if not path.is_dir():
        require_both_slashes(path)
        near = sorted(each.name for each in path.parent.iterdir() if each.is_dir()) if path.parent.is_dir() else []
        hint = did_you_mean(path.name, near)
        raise StoreError(f"{path} is not a folder{hint or '.'} `run` writes such a folder, and --out sets its name.")
    return open_store(path)
