"""`adaptbench inspect`: what a dataset is like, what leaks between its splits, and what could be gained on it."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.data.dataset import Dataset
    from bench.data.inspection import Inspection

SUMMARY = "look at a dataset: sizes, duplicates, leaks, templates, headroom, power"
QUERY_SD = 0.234
"""Standard deviation over queries of a difference in nDCG@10: full fine-tuning against frozen on SciFact, n = 300."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which dataset, how closely."""
    from bench.commands._numbers import above_zero

    parser.add_argument("dataset", help="a name or a folder, as `run --datasets` takes it")
    parser.add_argument("--data-dir", metavar="DIR", help="folder that holds dataset folders")
    parser.add_argument("--split", default="test", help="the split to be tested on (test)")
    parser.add_argument("--model", metavar="NAME", help="the base model; the default is all-MiniLM-L6-v2")
    parser.add_argument("--no-model", action="store_true", help="load no model: lengths in words, BM25 alone")
    parser.add_argument(
        "--gain", type=above_zero, default=0.02, help="the gain in nDCG@10 that is to be detected (.02)"
    )
    parser.add_argument(
        "--query-sd", type=above_zero, default=QUERY_SD, metavar="SD",
        help="standard deviation of a gain over queries (.234, measured on SciFact)",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print all facts as JSON")


def run(args: argparse.Namespace) -> int:
    """Inspect, and print what was found."""
    from bench.data.dataset import Dataset
    from bench.data.inspection import inspect
    from bench.data.locate import load_dataset
    from bench.retrieval.lexical import tokenize
    from bench.tasks.baseline_scores import base_scores, lexical_scores, open_context, token_counter

    dataset = load_dataset(args.dataset, Path(args.data_dir) if args.data_dir else None)
    if not isinstance(dataset, Dataset):
        _tell_similarity(args, dataset)
        return 0
    dataset.qrels(args.split)
    resources = None if args.no_model else open_context(args.model, dataset.info.max_length)
    count, limit = token_counter(resources) if resources else (None, None)
    facts = inspect(dataset, tokenize, count, limit, args.split)
    scores = {"BM25": lexical_scores(dataset, args.split)}
    if resources:
        scores[resources.model.name] = base_scores(dataset, args.split, resources)
    power = _power(facts.splits[args.split].queries, args.gain, args.query_sd)
    if args.json:
        _emit(dataset, facts, scores, power)
    else:
        _tell(args, dataset, facts, scores, power)
    return 0


def _power(queries: int, gain: float, query_sd: float) -> dict[str, float]:
    """Return what a test set of this size detects, and what it would take to detect the gain asked for."""
    import math

    from bench.statistics.power import ALPHA, POWER, detectable, queries_needed

    return {
        "queries": queries,
        "query_sd": query_sd,
        "detectable": detectable(query_sd / math.sqrt(queries), queries - 1) if queries > 1 else float("nan"),
        "gain": gain,
        "queries_needed": queries_needed(gain, query_sd),
        "alpha": ALPHA,
        "power": POWER,
    }


def _emit(dataset: Dataset, facts: Inspection, scores: dict[str, dict[str, float]], power: dict[str, float]) -> None:
    from bench.commands._console import emit_json

    emit_json(
        {
            "dataset": dataset.name, "fingerprint": dataset.fingerprint, "pseudo": dataset.info.pseudo,
            **dataclasses.asdict(facts), "headroom": scores, "power": power,
        }
    )  # fmt: skip


def _tell_similarity(args: argparse.Namespace, dataset: Any) -> None:
    from bench.commands._console import console, emit_json

    low, high = min(dataset.scores), max(dataset.scores)
    if args.json:
        emit_json({"dataset": dataset.name, "pairs": len(dataset.scores), "lowest": low, "highest": high})
    else:
        console().print(
            f"{dataset.name}: {len(dataset.scores)} sentence pairs, graded {low:g} to {high:g}", markup=False
        )


def _tell(
    args: argparse.Namespace,
    dataset: Dataset,
    facts: Inspection,
    scores: dict[str, dict[str, float]],
    power: dict[str, float],
) -> None:
    """Print the facts, those that call for a decision last."""
    from rich.table import Table

    from bench.commands._console import console

    out = console()

    def say(text: str) -> None:
        out.print(text, markup=False)

    say(f"{dataset.name}: {facts.documents} documents. {dataset.info.title}".rstrip())
    splits = Table("split", "queries", "relevant", "per query", "most", "grades", "pseudo", box=None)
    for name, split in facts.splits.items():
        grades = ", ".join(f"{grade}: {n}" for grade, n in split.grades.items())
        splits.add_row(name, str(split.queries), str(split.relevant), f"{split.labels_per_query:.2f}",
                       str(split.most_labels), grades, str(split.pseudo or "-"))  # fmt: skip
    out.print(splits)
    for kind, lengths in facts.lengths.items():
        cut = f"; {lengths.truncated:.1%} are over the limit of {lengths.limit}" if lengths.limit else ""
        spread = f"median {lengths.median:g} {lengths.unit}, 95% up to {lengths.p95:g}, longest {lengths.longest}"
        say(f"{kind}: {spread}{cut}")
    _tell_scores(args, scores, say)
    if facts.lexical_overlap:
        shared = facts.lexical_overlap
        say(f"lexical overlap: a relevant document has {shared['mean']:.0%} of a query's terms on average; "
            f"{shared['none']:.1%} of the queries share none with theirs")  # fmt: skip
    say(f"power: {power['queries']} judged queries detect a difference of {power['detectable']:.3f} nDCG@10 "
        f"(80% power, alpha .05; standard deviation over queries {power['query_sd']:g}); "
        f"to detect {power['gain']:g} takes {power['queries_needed']} queries")  # fmt: skip
    _tell_duplicates(args, facts, say)
    for warning in facts.warnings:
        say(f"warning: {warning}")


def _tell_scores(args: argparse.Namespace, scores: dict[str, dict[str, float]], say: Any) -> None:
    for name, values in scores.items():
        shown = ", ".join(f"{measure} {value:.4f}" for measure, value in values.items())
        reachable = values["recall@100"] - values["recall@10"]
        say(f"{name} on {args.split}: {shown}; a re-ranker of its first 100 can lift recall@10 by {reachable:.4f}")


def _tell_duplicates(args: argparse.Namespace, facts: Inspection, say: Any) -> None:
    say(f"duplicates: {facts.copied_documents} documents are copies; {facts.near_documents} resemble another, in "
        f"{facts.near_clusters} groups")  # fmt: skip
    for split, shared in facts.overlaps.items():
        say(f"overlap of {split} with {args.split}: {shared.sentence(split, args.split)}")
    for leak in facts.leaks:
        example = ", ".join(f"{one} and {other}" for one, other in leak.examples[:2])
        say(f"leak: {leak.same} {leak.kind} of {leak.second} are in {leak.first} too, {leak.near} only resemble one "
            f"there: {example}")  # fmt: skip
    if not facts.leaks and len(facts.splits) > 1:
        say("leaks between splits: none found")
    if facts.templates:
        say(f"templates: {facts.templated:.0%} of the questions follow {len(facts.templates)} templates; average over "
            "them as well")  # fmt: skip
        for template in facts.templates[:10]:
            say(f"  {len(template.members):6d}  {template.pattern}")
    else:
        say("templates: none found")
