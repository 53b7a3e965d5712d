"""How well does the small development pool predict the full measure?

    python benchmarks/pool.py [--datasets pydocs] [--strategies full,lora] [--seeds 1] [--steps 60] [--device auto]

Each fit is trained as in a run. At every development evaluation its checkpoint is also scored on pools of other sizes,
on the development queries over the whole corpus, and on the test queries over the whole corpus. Only this script looks
at test scores, and nothing is chosen by them. It reports two figures for each pool size: the correlation with the full
measure over checkpoints, and the loss of choosing by the pool instead of by the full measure. A second table has that
loss for fewer evaluations, beside the share of documents that they encode.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bench.data.dataset import Dataset, Qrels, TrainingData
from bench.records import PRIMARY_MEASURE
from bench.report.canvas import save_png
from bench.strategy.base import Strategy
from bench.strategy.resources import Resources
from bench.strategy.settings import TrainingSettings
from bench.training.selection import DevelopmentPools, Pool, pool_of

TOP_K = 10
FULL_DEV, FULL_TEST = "development, whole corpus", "test, whole corpus"
SCHEDULES = (
    (1, 2, 3, 4, 5, 6, 7, 8, 9, 10),
    (2, 4, 6, 8, 10),
    (6, 7, 8, 9, 10),
    (4, 6, 8, 10),
    (3, 6, 10),
    (5, 10),
    (10,),
)
"""Tenths of the budget after which to evaluate."""
Row = dict[str, Any]


def score(strategy: Strategy, index: Any, queries: Mapping[str, str], qrels: Qrels) -> float:
    """Return the mean nDCG@10 of queries over an indexed corpus."""
    from bench.evaluation.measures import evaluate

    ranking = strategy.search(queries, index, TOP_K)
    return evaluate(ranking, qrels, [PRIMARY_MEASURE]).mean(PRIMARY_MEASURE)


def follow(
    kind: type[Strategy],
    resources: Resources,
    dataset: Dataset,
    data: TrainingData,
    steps: int,
    sizes: Sequence[int],
    max_queries: int,
) -> list[Row]:
    """Train one strategy and score every checkpoint on every pool and in full.

    Returns:
        One row a checkpoint: `step`, `pool` (documents -> nDCG@10), and the two full measures.
    """
    from bench.budget import Budget

    settings = resources.training
    pools: dict[int, Pool] = {
        size: pool_of(data.dev_queries, data.dev_qrels, data, resources, settings.dev_queries, size) for size in sizes
    }
    tested = dataset.judged("test")[:max_queries]
    test = {query: dataset.queries[query] for query in tested}, {q: dataset.qrels("test")[q] for q in tested}
    rows: list[Row] = []

    def record_checkpoint(event: str, values: dict[str, Any]) -> None:
        if event != "dev":
            return
        with resources.meter.excluded():
            index = strategy.index(data.corpus)
            rows.append(
                {
                    "step": values["step"],
                    "pool": {size: float(pool.scores(strategy).mean()) for size, pool in pools.items()},
                    FULL_DEV: score(strategy, index, data.dev_queries, data.dev_qrels),
                    FULL_TEST: score(strategy, index, *test),
                }
            )

    strategy = kind(None, replace(resources, progress=record_checkpoint))
    strategy.fit(data, Budget(steps=steps), data.seed)
    return rows


def lost(rows: Sequence[Row], evaluated: Sequence[Row], size: int, full: str) -> float:
    """Return what a fit loses in a full measure if a pool chooses among the checkpoints that were evaluated on it."""
    chosen = max(evaluated, key=lambda row: float(row["pool"][size]))
    return float(max(row[full] for row in rows) - chosen[full])


def summary(fits: Sequence[Sequence[Row]], size: int, full: str) -> dict[str, float]:
    """Return how well a pool of this size predicts a full measure.

    Returns:
        `pearson` and `spearman` over all checkpoints, after subtracting each fit's mean, because a checkpoint is
        selected among those of its own fit. `regret`, the mean loss in the full measure of choosing each fit's
        checkpoint by the pool instead of by the full measure. `last`, the loss of taking the last checkpoint.
    """
    from scipy import stats

    pairs, regrets, lasts = [], [], []
    for rows in fits:
        pool, whole = np.array([[row["pool"][size], row[full]] for row in rows]).T
        pairs.append(np.stack([pool - pool.mean(), whole - whole.mean()]))
        regrets.append(lost(rows, rows, size, full))
        lasts.append(lost(rows, rows[-1:], size, full))
    pool, whole = np.concatenate(pairs, axis=1)
    varied = len(pool) > 1 and min(np.ptp(pool), np.ptp(whole)) > 0  # a constant has no correlation
    return {
        "checkpoints": len(pool),
        "pearson": float(stats.pearsonr(pool, whole).statistic) if varied else float("nan"),
        "spearman": float(stats.spearmanr(pool, whole).statistic) if varied else float("nan"),
        "regret": float(np.mean(regrets)),
        "last": float(np.mean(lasts)),
    }


def table(fits: Sequence[Sequence[Row]], sizes: Sequence[int]) -> str:
    """Return the summaries as Markdown."""
    lines = [
        "| pool, documents | full measure | checkpoints | Pearson | Spearman | loss by the pool | by the last |",
        "|---|---|---|---|---|---|---|",
    ]
    for size in sizes:
        for full in (FULL_DEV, FULL_TEST):
            row = summary(fits, size, full)
            lines.append(
                f"| {size:,} | {full} | {row['checkpoints']} | {row['pearson']:.3f} | {row['spearman']:.3f} "
                f"| {row['regret']:.4f} | {row['last']:.4f} |"
            )
    return "\n".join(lines) + "\n"


def loss(fits: Sequence[Sequence[Row]], size: int, tenths: Sequence[int], full: str = FULL_DEV) -> list[float]:
    """Return what each fit loses in a full measure if it is evaluated on one pool, after some tenths of its steps.

    Args:
        fits: the checkpoints of each fit.
        size: documents of the pool.
        tenths: of the budget, after which to evaluate.
        full: the measure, as its rows name it.
    """
    losses = []
    for rows in fits:
        last = rows[-1]["step"]
        steps = {min(rows, key=lambda row: abs(row["step"] - last * tenth / 10))["step"] for tenth in tenths}
        losses.append(lost(rows, [row for row in rows if row["step"] in steps], size, full))
    return losses


def schedules_table(fits: Sequence[Sequence[Row]], sizes: Sequence[int]) -> str:
    """Return what fewer evaluations on smaller pools lose, as Markdown."""
    lines = [
        "| pool, documents | evaluated after, % of the steps | encoded | loss, development | largest | loss, test |",
        "|---|---|---|---|---|---|",
    ]
    most = max(sizes) * len(SCHEDULES[0])
    for size in sorted(sizes, reverse=True):
        for tenths in SCHEDULES:
            losses, tested = loss(fits, size, tenths), loss(fits, size, tenths, FULL_TEST)
            when = ", ".join(f"{10 * tenth}" for tenth in tenths)
            lines.append(
                f"| {size:,} | {when} | {size * len(tenths) / most:.0%} | {np.mean(losses):.4f} | {max(losses):.4f} "
                f"| {np.mean(tested):.4f} |"
            )
    return "\n".join(lines) + "\n"


def draw(named: Sequence[tuple[str, Sequence[Row]]], size: int, path: Path) -> None:
    """Draw the full measures over the pool's measure, one line a fit."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(9, 4), sharex=True)
    for panel, full in zip(axes, (FULL_DEV, FULL_TEST), strict=True):
        for name, rows in named:
            panel.plot([row["pool"][size] for row in rows], [row[full] for row in rows], "o-", ms=3, lw=0.7, label=name)
        panel.set(xlabel=f"nDCG@10, pool of {size:,} documents", ylabel=f"nDCG@10, {full}")
        panel.spines[["top", "right"]].set_visible(False)
    axes[0].legend(frameon=False, fontsize=7)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    save_png(figure, path, dpi=130)
    pyplot.close(figure)


def measure(options: argparse.Namespace) -> list[tuple[str, list[Row]]]:
    """Train every strategy on every dataset for every seed, and return (name, rows) of each fit."""
    from bench.data.locate import load_dataset
    from bench.data.splits import training_data
    from bench.models.locate import base_model
    from bench.planning.registry import Registry
    from bench.retrieval.cache import VectorCache, default_folder

    base, registry, cache, fits = base_model(options.model), Registry(), VectorCache(default_folder()), []
    for name in options.datasets.split(","):
        dataset = load_dataset(name, options.data_dir)
        if not isinstance(dataset, Dataset):
            raise SystemExit(f"{name} holds sentence pairs, not a corpus to search")
        length = options.max_length or dataset.info.max_length or 0
        settings = TrainingSettings(max_length=length, evaluations=options.evaluations)
        for seed in range(options.seeds):
            data = training_data(dataset, seed)
            if options.dev_queries:
                chosen = sorted(data.dev_queries)[: options.dev_queries]
                data = replace(
                    data,
                    dev_queries={query: data.dev_queries[query] for query in chosen},
                    dev_qrels={query: data.dev_qrels[query] for query in chosen},
                )
            for strategy in options.strategies.split(","):
                resources = Resources(base, options.device, settings, cache=cache, pools=DevelopmentPools())
                sys.stderr.write(f"{strategy} on {dataset.name}, seed {seed}\n")
                rows = follow(
                    registry.get(strategy), resources, dataset, data, options.steps, options.pools, options.test_queries
                )
                if not rows:
                    raise SystemExit(
                        f"{strategy} on {dataset.name} had no development evaluation: too few labels, or no fit"
                    )
                fits.append((f"{strategy}, {dataset.name}, seed {seed}", rows))
    return fits


def main() -> None:
    """Measure, print the table, draw the figure and write every checkpoint's scores beside it."""
    root = Path(__file__).resolve().parents[1]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--datasets", default="pydocs", help="names or folders, separated by commas")
    parser.add_argument("--data-dir", type=Path, help="folder that holds dataset folders")
    parser.add_argument("--model", help="base model (default: all-MiniLM-L6-v2)")
    parser.add_argument("--strategies", default="full,lora", help="names, separated by commas")
    parser.add_argument("--seeds", type=int, default=1, help="number of seeds, from 0")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--evaluations", type=int, default=10, help="checkpoints of a fit")
    parser.add_argument("--pools", type=lambda text: [int(part) for part in text.split(",")], default=[100, 400])
    parser.add_argument("--max-length", type=int, default=0, help="tokens a text is cut to (0: as in a run)")
    parser.add_argument("--dev-queries", type=int, default=0, help="development queries (0: all)")
    parser.add_argument("--test-queries", type=int, default=300)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--figure", type=Path, default=root / "docs/figures/pool.png")
    options = parser.parse_args()
    if options.device == "auto":
        import torch

        options.device = "cuda" if torch.cuda.is_available() else "cpu"
    fits = measure(options)
    options.figure.parent.mkdir(parents=True, exist_ok=True)
    record = {"options": {key: str(value) for key, value in vars(options).items() if key not in ("figure", "data_dir")}}
    record |= {"fits": [{"fit": name, "checkpoints": rows} for name, rows in fits]}  # type: ignore[dict-item]
    options.figure.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    draw(fits, max(options.pools, key=lambda size: (size == TrainingSettings.dev_docs, size)), options.figure)
    followed = [rows for _, rows in fits]
    sys.stdout.write(f"{table(followed, options.pools)}\n{schedules_table(followed, options.pools)}")


if __name__ == "__main__":
    main()
