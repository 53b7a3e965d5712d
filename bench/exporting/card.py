"""The model card of an exported model: use, measured quality, forgetting, cost, origin and licences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from bench.data.dataset import DatasetInfo
from bench.exporting.refit import Refit
from bench.records import COST_UNITS, PRIMARY_MEASURE, CellResult, FitRecord
from bench.report import numbers
from bench.statistics.grouping import dependent
from bench.statistics.pairwise import PairwiseTest
from bench.statistics.resampling import bootstrap_means, interval
from bench.statistics.significance import Design, compare
from bench.store.store import Store

_SHOWN = ("ndcg@10", "mrr@10", "recall@10", "recall@100")
_COSTS = (
    "fit_seconds", "train_seconds", "steps", "train_flops", "peak_memory_bytes", "trainable_params", "total_params",
    "artifact_bytes", "query_ms_p50", "encode_docs_per_second", "reindex",
)  # fmt: skip
_BYTES = ("peak_memory_bytes", "artifact_bytes")

Comparisons = dict[str, tuple[PairwiseTest, tuple[float, float]]]
"""Measure -> comparison with the baseline, and the interval of the model's own score over queries."""


@dataclass(frozen=True)
class CardContent:
    """The facts that a card is written from."""

    fit: FitRecord
    cell: CellResult | None
    """The measurement on the fit's own dataset; None where there is none."""
    baseline: CellResult | None
    """The measurement of the run's baseline on the same queries."""
    base_name: str
    """The name under which others can load the base model."""
    licence: str
    max_length: int | None
    asymmetric: bool
    """Whether queries and documents go through different weights."""
    form: str = "merged"
    """`merged` or `adapter`."""
    library_class: str = "SentenceTransformer"
    """The class of sentence-transformers that loads the folder."""
    dataset: DatasetInfo | None = None
    refit: Refit | None = None

    @property
    def title(self) -> str:
        """The card's heading."""
        return f"{self.base_name.rpartition('/')[2]} adapted to {self.fit.dataset} with {self.fit.strategy}"


def model_card(content: CardContent, store: Store) -> str:
    """Return the text of `README.md`."""
    sections = [
        _front_matter(content),
        f"# {content.title}",
        _lead(content),
        "## Use\n\n" + _usage(content),
        "## Measured\n\n" + _quality(content, _comparisons(content, store)),
        "## Forgotten\n\n" + _forgetting(content),
        "## Cost\n\n" + _cost(content),
        "## How it was made\n\n" + _making(content, store),
        "## Licence\n\n" + _licences(content),
    ]
    return "\n\n".join(section.strip() for section in sections) + "\n"


def _front_matter(content: CardContent) -> str:
    facts: dict[str, Any] = {
        "library_name": "peft" if content.form == "adapter" else "sentence-transformers",
        "pipeline_tag": "sentence-similarity",
        "base_model": content.base_name,
        "tags": ["sentence-transformers", "sentence-similarity", "feature-extraction", "adaptbench"],
    }
    if content.licence != "unknown":
        facts["license"] = content.licence
    if content.cell is not None and content.cell.metrics and content.refit is None:
        metrics = [
            {"type": name.replace("@", "_at_"), "value": round(value, 5)}
            for name, value in content.cell.metrics.items()
            if name in _SHOWN
        ]
        dataset = {"name": content.cell.dataset, "type": content.cell.dataset, "split": content.cell.split}
        result = {"task": {"type": "text-retrieval"}, "dataset": dataset, "metrics": metrics}
        facts["model-index"] = [{"name": content.title, "results": [result]}]
    return f"---\n{yaml.safe_dump(facts, sort_keys=False, allow_unicode=True)}---"


def _lead(content: CardContent) -> str:
    text = (
        f"The embedding model `{content.base_name}`, adapted for retrieval to the dataset `{content.fit.dataset}`. "
        f"AdaptBench made it with the strategy `{content.fit.strategy}` and compared it with the base model."
    )
    if content.fit.status != "ok":
        text += f"\n\n**The fit ended as {content.fit.status.replace('_', ' ')}:** {content.fit.reason}."
    return text


def _usage(content: CardContent) -> str:
    lines = ["```python", f"from sentence_transformers import {content.library_class}", ""]
    if content.form == "adapter":
        lines[1:1] = ["from peft import PeftModel"]
        lines += [
            f'model = SentenceTransformer("{content.base_name}")',
            'model[0].model = PeftModel.from_pretrained(model[0].model, "path/to/this/folder").eval()',
        ]
    else:
        lines += [f'model = {content.library_class}("path/to/this/folder")']
    if content.max_length is not None and content.form == "adapter":
        lines += [f"model.max_seq_length = {content.max_length}"]
    lines += [
        'queries = model.encode_query(["a question"])',
        'documents = model.encode_document(["a passage", "another one"])',
        "scores = model.similarity(queries, documents)",
        "```",
    ]
    if content.asymmetric and content.form == "adapter":
        lines += ["", "Use the adapter for queries only. Encode documents with the base model."]
    elif content.asymmetric:
        lines += ["", "Queries and documents are encoded differently. `encode` encodes documents."]
    if content.max_length is not None:
        lines += ["", f"Texts are cut to {content.max_length} tokens, as in training and measurement."]
    return "\n".join(lines)


# --- measurements ---------------------------------------------------------------------------------------------------


def _comparisons(content: CardContent, store: Store) -> Comparisons:
    """Return the comparisons with the baseline; empty where no baseline has the same queries."""
    if content.cell is None or content.baseline is None or content.cell.cell == content.baseline.cell:
        return {}
    own = store.per_query(content.cell.cell).set_index("query").sort_index()
    base = store.per_query(content.baseline.cell).set_index("query").sort_index()
    if not own.index.equals(base.index) or len(own) < 2:
        return {}
    groups = dependent(list(own["group"]))
    return {
        measure: (
            compare(
                base[measure].to_numpy(),
                own[measure].to_numpy(),
                (content.baseline.strategy, content.fit.strategy),
                Design(groups=groups),
            ),
            interval(bootstrap_means(own[measure].to_numpy(dtype=float), groups)),
        )
        for measure in _SHOWN
        if measure in own and measure in base
    }


def _quality(content: CardContent, comparisons: Comparisons) -> str:
    cell = content.cell
    if cell is None or not cell.metrics:
        return "The run did not measure this fit on its dataset."
    text = [
        f"On the split `{cell.split}` of `{cell.dataset}`: {cell.n_queries:,} judged queries, {cell.n_docs:,} texts."
    ]
    if content.refit is not None:
        text.append(
            "**These figures describe the fit on training data alone.** The weights in this folder come from a second "
            "fit of the same configuration on training and development data together. That fit was not measured."
        )
    if comparisons:
        baseline = next(iter(comparisons.values()))[0].baseline
        rows = [["measure", f"`{baseline}`", "this model", "95% interval", "difference", "95% interval", "p"]]
        for measure, (comparison, (low, high)) in comparisons.items():
            rows.append(
                [
                    measure,
                    numbers.score(comparison.baseline_mean),
                    numbers.score(comparison.other_mean),
                    f"{numbers.score(low)} to {numbers.score(high)}",
                    numbers.signed(comparison.difference),
                    numbers.interval(comparison.ci_low, comparison.ci_high),
                    numbers.p_value(comparison.p),
                ]
            )
        text.append(_table(rows))
        text.append(
            "Intervals and p-values account for variance over queries, for this one trained model and one measure at a "
            "time. Another seed gives another model."
        )
    else:
        text.append(
            _table(
                [["measure", "this model"], *[[m, numbers.score(cell.metrics[m])] for m in _SHOWN if m in cell.metrics]]
            )
        )
    seen, unseen = (cell.strata.get(name, {}) for name in ("seen", "unseen"))
    if seen.get("n") and unseen.get("n"):
        text.append(
            f"{seen['n']:,.0f} of the queries have a relevant document that was in the training data "
            f"({PRIMARY_MEASURE} {numbers.score(seen.get(PRIMARY_MEASURE))}). The other {unseen['n']:,.0f} have none "
            f"({PRIMARY_MEASURE} {numbers.score(unseen.get(PRIMARY_MEASURE))})."
        )
    return "\n\n".join(text)


def _forgetting(content: CardContent) -> str:
    forgetting = content.cell.forgetting if content.cell is not None else {}
    if not forgetting:
        return "Not measured: the run has no probe outside the domain."
    rows = [["probe", "measure", "before", "after", "change", "95% interval", "n"]]
    for probe, facts in forgetting.items():
        rows.append(
            [
                probe,
                str(facts.get("measure", "")),
                numbers.score(facts.get("before")),
                numbers.score(facts.get("after")),
                numbers.signed(facts.get("delta")),
                numbers.interval(facts.get("ci_low"), facts.get("ci_high")),
                numbers.count(facts.get("n")),
            ]
        )
    return f"{_table(rows)}\n\nBefore is the base model without this adaptation, on the same corpus."


def _cost(content: CardContent) -> str:
    cost = {**content.fit.cost, **(content.cell.cost if content.cell is not None else {})}
    rows = [["cost", "value", "unit"]]
    for name in _COSTS:
        if cost.get(name) is not None:
            value = cost[name]
            shown = value if isinstance(value, str) else numbers.size(value) if name in _BYTES else _amount(value)
            rows.append([name.replace("_", " "), shown, COST_UNITS[name]])
    machine = content.fit.environment.get("machine_class") or content.fit.environment.get("machine") or "unknown"
    text = [_table(rows), f"Machine: {machine}."]
    if content.refit is not None:
        text.append(f"The second fit, on all labels, took another {numbers.seconds(content.refit.seconds)}.")
    return "\n\n".join(text)


def _amount(value: float) -> str:
    return numbers.scaled(value) if abs(value) >= 1e9 else numbers.plain(value)


# --- origin ---------------------------------------------------------------------------------------------------------


def _making(content: CardContent, store: Store) -> str:
    fit = content.fit
    data = fit.report.get("data", {})
    limits = (fit.budget.get("limits") or {}).items()
    lines = [
        f"- Data: `{fit.dataset}` (fingerprint {fit.fingerprints.get('dataset', 'unknown')}), "
        f"{data.get('train_pairs', 0):,} training pairs, {data.get('dev_queries', 0):,} development queries"
        + (", training queries generated from the corpus, no labels." if data.get("pseudo") else "."),
        f"- Budget: {', '.join(f'{value:g} {name}' for name, value in limits) or 'none, because nothing is trained'}. "
        f"Used {fit.report.get('steps', 0):,} steps. Seed {fit.seed if fit.seed is not None else 'none'}.",
        f"- Hyperparameters: {_pairs(fit.hyperparameters)}.",
        f"- Training settings: {_pairs(fit.training)}.",
        f"- Base model: `{fit.model}` (fingerprint {fit.fingerprints.get('model', 'unknown')}).",
        f"- Fit: `{fit.fit}`.",
    ]
    if content.refit is not None:
        lines.append(
            f"- Second fit: {content.refit.train_pairs:,} pairs ({content.refit.dev_pairs:,} of them from development "
            f"data), {content.refit.report.steps:,} steps, as many as the best checkpoint of the first fit had."
        )
    calls = reversed(store.invocations())
    versions: dict[str, str] = next((call["versions"] for call in calls if call.get("versions")), {})
    if versions:
        lines.append(f"- Versions: {_pairs(versions)}.")
    notes = fit.report.get("notes") or []
    return "\n".join([*lines, *(f"- Note: {note}." for note in notes)])


def _pairs(values: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items()) or "none"


def _licences(content: CardContent) -> str:
    data = content.dataset.licence if content.dataset is not None else "unknown"
    return (
        f"Base model: {content.licence}. Data of `{content.fit.dataset}`: {data}. Whoever publishes these weights must "
        "check what the two licences allow."
    )


def _table(rows: Sequence[Sequence[str]]) -> str:
    head, *body = [[str(cell).replace("|", "\\|") for cell in row] for row in rows]
    lines = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
