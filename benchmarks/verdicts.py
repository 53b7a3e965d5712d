"""How often each verdict is said: worlds with a known true difference, drawn from the records of a run.

    python benchmarks/verdicts.py [--worlds 4000]

A world takes a pair of strategies from the run of ten strategies on MedQuAD: a table of differences in nDCG@10, one row
a seed and one column a query. The simulation removes the mean of each row, draws queries with replacement, and adds a
seed effect of the measured size to each row. The true difference is then known exactly. `uncertainty` and `conclude`
of `bench.statistics` give the verdict, as they do in a report. A test stands alone here: Holm's correction in a family
makes every claim rarer.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import get_args

import numpy as np

from bench.report.load import load_run
from bench.report.markdown import put_between
from bench.statistics.pairwise import Verdict, conclude
from bench.statistics.power import MARGIN, unshown_margin
from bench.statistics.variance import Uncertainty, uncertainty
from bench.store.store import Store

ROOT = Path(__file__).resolve().parents[1]
DATASET = "medquad"
PAIRS = (
    ("frozen", "full"), ("frozen", "adapter"), ("frozen", "linear"), ("frozen", "prompt"),
    ("adapter", "prefix"), ("full", "lora"), ("lora", "hybrid(lora)"),
)  # fmt: skip
"""Baseline and other: with large and small spreads over queries and over seeds."""
QUERIES = (100, 300, 1446)
TRUTHS = (-0.02, 0.0, 0.01, 0.02, 0.04)
WORDS: tuple[Verdict, ...] = get_args(Verdict)


@dataclass(frozen=True)
class Source:
    """The differences of a pair, from which worlds are drawn."""

    baseline: str
    other: str
    residuals: np.ndarray
    """Shape (seeds, queries); the mean of each row is 0."""
    query_sd: float
    """Standard deviation over queries of the mean over seeds, nDCG@10."""
    seed_sd: float
    """Estimated standard deviation of the mean difference from seed to seed, nDCG@10."""


@dataclass(frozen=True)
class Row:
    """The rates of one pair, number of queries and true difference."""

    baseline: str
    other: str
    query_sd: float
    seed_sd: float
    queries: int
    truth: float
    rates: Mapping[str, float]
    """Verdict -> share of worlds."""


def sources(folder: Path) -> list[Source]:
    """Return the pairs' differences from the records of a run."""
    run = load_run(Store(folder))
    comparison = next(each for each in run.comparisons if each.dataset == DATASET)
    found = []
    for baseline, other in PAIRS:
        scores = comparison.scores(baseline), comparison.scores(other)
        known = uncertainty(*scores, paired_seeds=len(scores[0]) > 1)
        table = scores[1] - scores[0]
        residuals = table - table.mean(axis=1, keepdims=True)
        found.append(Source(baseline, other, residuals, known.query_sd, known.seed_sd or 0.0))
    return found


def draws(source: Source, queries: int, worlds: int, seed: int) -> Iterator[Uncertainty]:
    """Yield the estimate of each world whose true difference is 0."""
    rng = np.random.default_rng(seed)
    seeds, known = source.residuals.shape
    nothing = np.zeros((1, queries))
    for _ in range(worlds):
        table = source.residuals[:, rng.integers(known, size=queries)]
        yield uncertainty(nothing, table + rng.normal(0.0, source.seed_sd, (seeds, 1)), paired_seeds=False)


def verdict(known: Uncertainty, margin: float = MARGIN) -> Verdict:
    """Return what a report says of an estimate."""
    return conclude(known.mean, known.p(), known.equivalence_p(margin), unshown_margin(known.n) <= margin)


def measure(found: Sequence[Source], worlds: int) -> list[Row]:
    """Simulate every pair, number of queries and true difference. A true difference moves each estimate by itself."""
    rows = []
    for number, source in enumerate(found):
        for queries in QUERIES:
            estimates = list(draws(source, queries, worlds, seed=1_000 * number + queries))
            for truth in TRUTHS:
                counts = Counter(verdict(replace(known, mean=known.mean + truth)) for known in estimates)
                rates = {word: counts[word] / worlds for word in WORDS}
                named = source.baseline, source.other, source.query_sd, source.seed_sd
                rows.append(Row(*named, queries, truth, rates))
    return rows


def table(rows: Sequence[Row], worlds: int) -> str:
    """Return the rates as Markdown: a line for each pair and number of queries; a cell has a rate for each truth."""
    false = max(row.rates["equivalent"] for row in rows if abs(row.truth) >= MARGIN)
    error = math.sqrt(0.05 * 0.95 / worlds)
    lines = [
        f"{worlds:,} worlds a rate (standard error of 5%: {error:.1%}), 3 seeds, margin {MARGIN:g}. A cell has "
        f"the percentages for true differences of {' / '.join(map(str, TRUTHS))}. Where the true difference is at the "
        f"margin or beyond, *equivalent* occurs in at most {false:.1%} of the worlds. Python "
        f"{platform.python_version()}, numpy {np.__version__}, one core; "
        f"`python benchmarks/verdicts.py --worlds {worlds}`.",
        "",
        f"| pair | SD over queries | SD over seeds | queries | {' | '.join(WORDS)} |",
        f"|---|---:|---:|---:|{'---|' * len(WORDS)}",
    ]
    cells: dict[tuple[object, ...], dict[str, list[str]]] = {}
    for row in rows:
        key = f"`{row.other}` - `{row.baseline}`", f"{row.query_sd:.3f}", f"{row.seed_sd:.4f}", f"{row.queries:,}"
        for word in WORDS:
            cells.setdefault(key, {}).setdefault(word, []).append(f"{100 * row.rates[word]:.1f}")
    for key, rates in cells.items():
        lines.append(f"| {' | '.join([*map(str, key), *(' / '.join(rates[word]) for word in WORDS)])} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Simulate, write the figures as JSON and the table into the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--worlds", type=int, default=4000, help="worlds a cell")
    parser.add_argument(
        "--run", type=Path, default=ROOT / "docs/reports/ten-strategies", help="run that the spreads come from"
    )
    parser.add_argument("--figures", type=Path, default=ROOT / "docs/figures/verdicts.json")
    parser.add_argument("--page", type=Path, default=ROOT / "docs/statistics.md", help="page that holds the table")
    options = parser.parse_args()
    rows = measure(sources(options.run), options.worlds)
    content = {"worlds": options.worlds, "seeds": 3, "margin": MARGIN, "rows": [asdict(row) for row in rows]}
    options.figures.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    put_between(options.page, "verdicts", table(rows, options.worlds))


if __name__ == "__main__":
    main()
