"""Describe a dataset: sizes, duplicates, leaks, baseline scores, power."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.commands._options import ABOVE_ZERO, DATASET, command, data_dir, flag, json_flag, option

if TYPE_CHECKING:
    from bench.data.dataset import Dataset
    from bench.data.inspection import Inspection

QUERY_SD = 0.234
"""Standard deviation over queries of a difference in nDCG@10: full fine-tuning against frozen on SciFact, n = 300."""


@command(__doc__)
@click.argument("dataset", type=DATASET, help="a name or a folder, as 'run --datasets' takes it")
@data_dir
@option("--split", metavar="NAME", default="test", help="the split to test on")
@option("--model", metavar="NAME", help="the base model  [default: all-MiniLM-L6-v2]")
@flag("--no-model", help="load no model: count lengths in words, and score BM25 only")
@option("--gain", type=ABOVE_ZERO, default=0.02, help="the gain in nDCG@10 to detect")
@option(
    "--query-sd", type=ABOVE_ZERO, default=QUERY_SD,
    help="standard deviation of a gain over queries, as measured on SciFact",
)  # fmt: skip
@json_flag("print everything as JSON")
def main(
    dataset: str, data_dir: Path | None, split: str, model: str | None, no_model: bool, gain: float, query_sd: float,
    as_json: bool,
) -> int:  # fmt: skip
    """Inspect a dataset and print what it is like."""
    from bench.data.dataset import Dataset
    from bench.data.inspection import inspect
    from bench.data.locate import load_dataset
    from bench.retrieval.lexical_terms import tokenizer_of
    from bench.tasks.baseline_scores import base_scores, lexical_scores, open_resources, token_counter

    loaded = load_dataset(dataset, data_dir)
    if not isinstance(loaded, Dataset):
        _show_similarity(loaded, as_json)
        return 0
    loaded.qrels(split)
    resources = None if no_model else open_resources(model, loaded.info.max_length)
    count, limit = token_counter(resources) if resources else (None, None)
    facts = inspect(loaded, tokenizer_of(loaded.corpus.texts), count, limit, split)
    scores = {}
    scores["BM25"], (terms, *warnings) = lexical_scores(loaded, split)
    facts = dataclasses.replace(facts, warnings=(*facts.warnings, *warnings))
    if resources:
        scores[resources.model.name] = base_scores(loaded, split, resources)
    power = _power(facts.splits[split].queries, gain, query_sd)
    if as_json:
        _emit(loaded, facts, scores, terms, power)
    else:
        _show(loaded, split, facts, scores, terms, power)
    return 0


def _power(queries: int, gain: float, query_sd: float) -> dict[str, float]:
    """Return the difference that a test set of this size detects, and the size that detects the given gain."""
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


def _emit(
    dataset: Dataset, facts: Inspection, scores: dict[str, dict[str, float]], terms: str, power: dict[str, float]
) -> None:
    from bench.commands._console import emit_json

    emit_json(
        {
            "dataset": dataset.name, "fingerprint": dataset.fingerprint, "pseudo": dataset.info.pseudo,
            **dataclasses.asdict(facts), "baseline_scores": scores, "lexical_terms": terms, "power": power,
        }
    )  # fmt: skip


def _show_similarity(dataset: Any, as_json: bool) -> None:
    from bench.commands._console import console, emit_json

    low, high = min(dataset.scores), max(dataset.scores)
    if as_json:
        emit_json({"dataset": dataset.name, "pairs": len(dataset.scores), "lowest": low, "highest": high})
    else:
        console().print(
            f"{dataset.name}: {len(dataset.scores)} sentence pairs, graded {low:g} to {high:g}", markup=False
        )


def _show(
    dataset: Dataset, split: str, facts: Inspection, scores: dict[str, dict[str, float]], terms: str,
    power: dict[str, float],
) -> None:  # fmt: skip
    """Print what the dataset is like; what calls for a decision comes last."""
    from rich.table import Table

    from bench.commands._console import console

    out = console()

    def show(text: str) -> None:
        out.print(text, markup=False)

    show(f"{dataset.name}: {facts.documents} documents. {dataset.info.title}".rstrip())
    splits = Table("split", "queries", "relevant", "per query", "most", "grades", "pseudo", box=None)
    for name, sizes in facts.splits.items():
        grades = ", ".join(f"{grade}: {n}" for grade, n in sizes.grades.items())
        splits.add_row(name, str(sizes.queries), str(sizes.relevant), f"{sizes.labels_per_query:.2f}",
                       str(sizes.most_labels), grades, str(sizes.pseudo or "-"))  # fmt: skip
    out.print(splits)
    if dataset.answers:
        answered = ", ".join(f"{name} {sizes.answered}" for name, sizes in facts.splits.items())
        show(f"answers: queries with a gold answer: {answered}")
    for kind, lengths in facts.lengths.items():
        cut = f"; {lengths.truncated:.1%} are over the limit of {lengths.limit}" if lengths.limit else ""
        spread = f"median {lengths.median:g} {lengths.unit}, 95% up to {lengths.p95:g}, longest {lengths.longest}"
        show(f"{kind}: {spread}{cut}")
    _show_scores(split, scores, show)
    show(terms)
    if facts.lexical_overlap:
        shared = facts.lexical_overlap
        show(f"lexical overlap: on average a relevant document holds {shared['mean']:.0%} of a query's terms; "
            f"{shared['none']:.1%} of the queries share no term with theirs")  # fmt: skip
    show(f"power: {power['queries']} judged queries detect a difference of {power['detectable']:.3f} nDCG@10 "
        f"(80% power, alpha 0.05, standard deviation over queries {power['query_sd']:g}); "
        f"a difference of {power['gain']:g} needs {power['queries_needed']} queries")  # fmt: skip
    _show_duplicates(split, facts, show)
    for warning in facts.warnings:
        show(f"warning: {warning}")


def _show_scores(split: str, scores: dict[str, dict[str, float]], show: Any) -> None:
    for name, values in scores.items():
        shown = ", ".join(f"{measure} {value:.4f}" for measure, value in values.items())
        reachable = values["recall@100"] - values["recall@10"]
        show(f"{name} on {split}: {shown}; a re-ranker of the first 100 can raise recall@10 by {reachable:.4f} at most")


def _show_duplicates(split: str, facts: Inspection, show: Any) -> None:
    show(f"duplicates: {facts.copied_documents} documents are copies; {facts.near_documents} resemble another, in "
        f"{facts.near_clusters} groups")  # fmt: skip
    for other, shared in facts.overlaps.items():
        show(f"overlap of {other} with {split}: {shared.sentence(other, split)}")
    for leak in facts.leaks:
        example = ", ".join(f"{one} and {copy}" for one, copy in leak.examples[:2])
        show(f"leak: {leak.same} {leak.kind} of {leak.second} are also in {leak.first}, and {leak.near} resemble one "
            f"there, such as {example}")  # fmt: skip
    if not facts.leaks and len(facts.splits) > 1:
        show("leaks between splits: none found")
    if facts.templates:
        show(f"templates: {facts.templated:.0%} of the questions follow {len(facts.templates)} templates; report an "
            "average over templates too")  # fmt: skip
        for template in facts.templates[:10]:
            show(f"  {len(template.members):6d}  {template.pattern}")
    else:
        show("templates: none found")
