"""Tables, plots and pages from what a store holds. Never imports torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.report.comparison import RunStore
    from bench.store.store import Store


def write_report(
    store: RunStore,
    out: Path,
    baseline: str | None = None,
    min_gain: float = 0.02,
    texts: bool = True,
    exports: Sequence[str] = (),
) -> list[Path]:
    """Write `report.md`, `report.html` and `plots/*.png` of a run into the folder `out`.

    Args:
        store: the run, as `bench.store.store.Store` reads it.
        out: folder to write into; made where it does not exist.
        baseline: the strategy that the others are tested against; by default what the run was asked for.
        min_gain: the gain in nDCG@10 that answers "how many labels?".
        exports: formats to write under `exports/` as well (`bench.report.exports.FORMATS`).
        texts: whether `report.html` may hold texts of the data (queries, the beginnings of documents).

    Returns:
        The files written, the pages first.

    Raises:
        StoreError: the store holds no result.
        BenchError: `baseline` is not in the run.
    """
    from bench.report import html, markdown
    from bench.report.build import build
    from bench.report.explore import explore
    from bench.report.exports import check_formats, export
    from bench.report.findings import Analysis
    from bench.report.load import load_run
    from bench.report.plots import draw
    from bench.report.svg import inline_svg

    check_formats(exports)
    run = load_run(store, baseline)
    analysis = Analysis(run, min_gain)
    report = build(run, analysis)
    plots = out / markdown.PLOTS
    plots.mkdir(parents=True, exist_ok=True)
    alts = {figure.name: figure.alt for figure in report.figures}
    drawn, figures = [], {}
    for plot in draw(run, analysis):
        drawn.append(plots / f"{plot.name}.png")
        plot.save(drawn[-1])
        figures[plot.name] = inline_svg(plot, alts[plot.name])
    pages = [out / "report.md", out / "report.html"]
    markdown.write(report, pages[0])
    pages[1].write_text(html.render(report, figures, explore(run, analysis, texts)), encoding="utf-8", newline="\n")
    written = [*pages, *drawn]
    if exports:
        written += export(run, report, exports, out / "exports")
    return written


def open_run(folder: Path | None = None) -> Store:
    """Open the folder of a run; the default is where `run` writes.

    Raises:
        StoreError: the folder does not exist.
    """
    from bench.config.schema import DEFAULT_OUT
    from bench.errors import StoreError, did_you_mean
    from bench.store.store import Store

    chosen = Path(DEFAULT_OUT) if folder is None else folder
    if not chosen.is_dir():
        near = sorted(path.name for path in chosen.parent.iterdir() if path.is_dir()) if chosen.parent.is_dir() else []
        hint = did_you_mean(chosen.name, near)
        raise StoreError(f"{chosen} is not a folder{hint or '.'} 'run' writes one, and --out says where.")
    return Store(chosen)
