"""Error rates of the comparison: simulated null comparisons, and intervals of a known difference.

    python benchmarks/false_positives.py [--comparisons 4000] [--figure docs/figures/false-positives.png]

A simulated strategy ranks one relevant document a query. Its log rank is the sum of the query's difficulty, an effect
of strategy and query, an effect of the seed, and noise. nDCG@10 follows from the rank, so scores are discrete, skewed
and full of ties, as real scores are. Strategies drawn in the same way are truly equal, so each reported difference is a
false positive. With a shift of the log rank, integration gives the true difference.
"""

from __future__ import annotations

import argparse
import itertools
import math
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import stats

from bench.report.canvas import save_png
from bench.report.markdown import put_between
from bench.statistics.variance import Uncertainty, uncertainty

QUERIES = (100, 300, 1446)
SEEDS = (1, 3, 5)
SEED_SDS = (0.0, 0.004, 0.008, 0.016)
DESIGNS = ("untrained", "paired", "independent")
"""The baseline does not train, is trained with the same seeds, or is trained with seeds of its own."""


@dataclass(frozen=True)
class World:
    """A model of scores. The defaults give a mean nDCG@10 of 0.68, and differences of SD 0.23 over queries."""

    n_queries: int = 300
    n_seeds: int = 3
    seed_sd: float = 0.006
    """Standard deviation of a strategy's mean nDCG@10 from seed to seed."""
    baseline: str = "untrained"
    difficulty: float = 1.6
    """Standard deviation over queries of the log rank, common to all strategies."""
    taste: float = 0.6
    """The same for one strategy's own part, common to its seeds."""
    noise: float = 0.3
    """The same for one trained model's own part."""
    easiness: float = 0.1
    """Mean log rank: at 0 the relevant document is first for half of the queries."""
    shift: float = 0.0
    """Added to the log rank of the strategy under test. Below 0 it is better."""


def gains(log_ranks: np.ndarray) -> np.ndarray:
    """Return nDCG@10 of queries with one relevant document at these log ranks (real numbers; ranks are rounded up)."""
    ranks = np.maximum(1.0, np.ceil(np.exp(log_ranks)))
    return np.where(ranks <= 10, 1 / np.log2(1 + ranks), 0.0)


def slope(world: World) -> float:
    """Return how much the mean nDCG@10 falls per unit of log rank, by numerical integration over queries."""
    spread = math.sqrt(world.difficulty**2 + world.taste**2 + world.noise**2)
    at = stats.norm.ppf((np.arange(200_000) + 0.5) / 200_000) * spread + world.easiness
    step = 0.05
    return float((gains(at - step).mean() - gains(at + step).mean()) / (2 * step))


def true_difference(world: World) -> float:
    """Return the true difference in mean nDCG@10 that the shift makes, over all queries and seeds."""
    spread = math.sqrt(world.difficulty**2 + world.taste**2 + world.noise**2)
    quantiles = stats.norm.ppf((np.arange(400_000) + 0.5) / 400_000)
    of_seeds = math.sqrt(spread**2 + (world.seed_sd / slope(world)) ** 2)
    baseline = spread if world.baseline == "untrained" else of_seeds
    return float(
        gains(quantiles * of_seeds + world.easiness + world.shift).mean()
        - gains(quantiles * baseline + world.easiness).mean()
    )


def draw(world: World, unit: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return the scores of a baseline and another strategy, (seeds, queries) each; `unit` is `slope(world)`."""
    shared = rng.normal(world.easiness, world.difficulty, world.n_queries)

    def strategy(n_seeds: int, seed_sd: float) -> np.ndarray:
        own = rng.normal(0, world.taste, world.n_queries)
        of_seed = rng.normal(0, seed_sd / unit, (n_seeds, 1))
        return shared + own + of_seed + rng.normal(0, world.noise, (n_seeds, world.n_queries))

    trained = world.baseline != "untrained"
    baseline = strategy(world.n_seeds if trained else 1, world.seed_sd if trained else 0.0)
    return gains(baseline), gains(strategy(world.n_seeds, world.seed_sd) + world.shift)


def comparisons(world: World, n: int, seed: int, known_seed_sd: bool = False) -> list[Uncertainty]:
    """Return n independent comparisons in this world.

    Args:
        world: the model of scores.
        n: number of comparisons.
        seed: of the random numbers.
        known_seed_sd: give the comparison the seed-to-seed standard deviation, which one seed cannot show.
    """
    rng = np.random.default_rng(seed)
    unit = slope(world)
    paired = world.baseline == "paired" and world.n_seeds > 1
    seed_sd = world.seed_sd * (1 if world.baseline == "untrained" else math.sqrt(2)) if known_seed_sd else None
    return [uncertainty(*draw(world, unit, rng), paired, seed_sd=seed_sd) for _ in range(n)]


def false_positive_rate(results: Sequence[Uncertainty], alpha: float = 0.05) -> float:
    """Return the share of comparisons that find a difference."""
    return float(np.mean([result.p() < alpha for result in results]))


def naive_rate(results: Sequence[Uncertainty], n_queries: int, alpha: float = 0.05) -> float:
    """Return the rate of the t-test over queries on means over seeds, which ignores variance over seeds."""
    ts = [result.mean / (result.query_sd / math.sqrt(n_queries)) for result in results]
    return float(np.mean(2 * stats.t.sf(np.abs(ts), n_queries - 1) < alpha))


def satterthwaite_rate(results: Sequence[Uncertainty], n_queries: int, alpha: float = 0.05) -> float:
    """Return the rate with Satterthwaite's degrees of freedom, which square the shares of the variance."""
    rejected = 0
    for result in results:
        share = result.seed_share
        of_seeds = (1 / result.df - (1 - share) / (n_queries - 1)) * share
        df = 1 / (of_seeds + (1 - share) ** 2 / (n_queries - 1))
        rejected += 2 * stats.t.sf(abs(result.mean) / result.standard_error, df) < alpha
    return rejected / len(results)


def coverage(results: Sequence[Uncertainty], truth: float) -> float:
    """Return the share of 95% intervals that contain the true difference."""
    return float(np.mean([low <= truth <= high for low, high in (result.interval() for result in results)]))


@dataclass(frozen=True)
class Row:
    """The rates of one world."""

    world: World
    rate: float
    satterthwaite: float
    naive: float
    covered: float
    seed_share: float


def measure(n: int, progress: bool = True) -> list[Row]:
    """Simulate every world: n null comparisons, and n intervals of a difference of about 0.02."""
    grid = list(itertools.product(DESIGNS, SEEDS, QUERIES, SEED_SDS))
    rows = []
    for number, (baseline, n_seeds, n_queries, seed_sd) in enumerate(grid):
        if progress:
            sys.stderr.write(f"\r{number + 1}/{len(grid)} ")
        world = World(n_queries, n_seeds, seed_sd, baseline)
        results = comparisons(world, n, seed=2 * number)
        shifted = World(n_queries, n_seeds, seed_sd, baseline, shift=-0.02 / slope(world))
        rows.append(
            Row(
                world,
                false_positive_rate(results),
                satterthwaite_rate(results, n_queries),
                naive_rate(results, n_queries),
                coverage(comparisons(shifted, n, seed=2 * number + 1), true_difference(shifted)),
                float(np.mean([result.seed_share for result in results])),
            )
        )
    return rows


def table(rows: Sequence[Row], n: int) -> str:
    """Return the range of each rate over queries and seed deviations, by design, as Markdown."""
    lines = [
        f"{n:,} comparisons a world (standard error of a rate of 0.05: {math.sqrt(0.05 * 0.95 / n):.4f}). A cell is "
        f"the range over {' / '.join(map(str, QUERIES))} queries and SDs of {' / '.join(map(str, SEED_SDS))}; every "
        f"world is a row of `figures/false-positives.csv`. Python {platform.python_version()}, numpy {np.__version__}, "
        f"one core; `python benchmarks/false_positives.py --comparisons {n}`.",
        "",
        "| baseline | seeds | false positives | by Satterthwaite's d.f. | over queries alone | interval covers |",
        "|---|---|---|---|---|---|",
    ]
    for baseline, n_seeds in itertools.product(DESIGNS, SEEDS):
        here = [row for row in rows if (row.world.baseline, row.world.n_seeds) == (baseline, n_seeds)]
        spans = [
            f"{min(values):.3f} to {max(values):.3f}"
            for values in zip(*((row.rate, row.satterthwaite, row.naive, row.covered) for row in here), strict=True)
        ]
        lines.append(f"| {baseline} | {n_seeds} | {' | '.join(spans)} |")
    return "\n".join(lines) + "\n"


def csv(rows: Sequence[Row]) -> str:
    """Return one line of comma-separated values for each world."""
    lines = [
        "baseline,seeds,queries,seed_sd,seed_share,false_positives,false_positives_satterthwaite,"
        "false_positives_over_queries,coverage"
    ]
    lines += [
        f"{row.world.baseline},{row.world.n_seeds},{row.world.n_queries},{row.world.seed_sd},{row.seed_share:.4f},"
        f"{row.rate:.4f},{row.satterthwaite:.4f},{row.naive:.4f},{row.covered:.4f}"
        for row in rows
    ]
    return "\n".join(lines) + "\n"


def draw_figure(rows: Sequence[Row], n: int, path: Path) -> None:
    """Draw false-positive rates over the seed-to-seed SD: a panel for each design and number of seeds."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(len(DESIGNS), len(SEEDS), figsize=(9, 7.5), sharex=True, sharey=True)
    for (down, baseline), (across, n_seeds) in itertools.product(enumerate(DESIGNS), enumerate(SEEDS)):
        panel = axes[down][across]
        panel.axhspan(0.03, 0.07, color="0.9", lw=0)
        for n_queries, colour in zip(QUERIES, ("#0072B2", "#D55E00", "#009E73"), strict=True):
            here = [
                row for row in rows
                if (row.world.baseline, row.world.n_seeds, row.world.n_queries) == (baseline, n_seeds, n_queries)
            ]  # fmt: skip
            sds = [row.world.seed_sd for row in here]
            panel.plot(sds, [row.rate for row in here], "o-", color=colour, ms=4, label=f"{n_queries:,} queries")
            panel.plot(sds, [row.naive for row in here], "x:", color=colour, ms=4)
        panel.set_title(f"baseline {baseline}, {n_seeds} seed{'s' if n_seeds > 1 else ''}", fontsize=9)
        panel.spines[["top", "right"]].set_visible(False)
    for panel in axes[-1]:
        panel.set_xticks(SEED_SDS, [f"{sd:g}" for sd in SEED_SDS])
        panel.set_xlabel("SD of mean nDCG@10 between seeds", fontsize=9)
    for panel in axes[:, 0]:
        panel.set_ylabel("false positives at 0.05", fontsize=9)
    axes[0][0].legend(frameon=False, fontsize=8)
    figure.suptitle(
        f"Null comparisons called different ({n:,} a point). Solid: over queries and seeds; dotted: over queries alone",
        fontsize=10,
    )
    figure.tight_layout()
    save_png(figure, path, dpi=130)


def main() -> None:
    """Simulate, draw the figure and write the table into the page."""
    root = Path(__file__).resolve().parents[1]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--comparisons", type=int, default=4000, help="null comparisons a row")
    parser.add_argument("--figure", type=Path, default=root / "docs/figures/false-positives.png")
    parser.add_argument("--page", type=Path, default=root / "docs/statistics.md", help="page that holds the table")
    options = parser.parse_args()
    rows = measure(options.comparisons)
    options.figure.parent.mkdir(parents=True, exist_ok=True)
    draw_figure(rows, options.comparisons, options.figure)
    options.figure.with_suffix(".csv").write_text(csv(rows), encoding="utf-8")
    put_between(options.page, "simulation", table(rows, options.comparisons))


if __name__ == "__main__":
    main()
