"""The model card of an exported model: what it is, how to use it, what was measured, what it forgets, what it took."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.records import COST_UNITS, PRIMARY_MEASURE, CellResult, FitRecord
from bench.report import numbers

if TYPE_CHECKING:
    from bench.data.dataset import DatasetInfo
    from bench.exporting.refit import Refit
    from bench.statistics.pairwise import PairwiseTest
    from bench.store.store import Store

_SHOWN = ("ndcg@10", "mrr@10", "recall@10", "recall@100")
_COSTS = (
    "fit_seconds", "train_seconds", "steps", "train_flops", "peak_memory_bytes", "trainable_params", "total_params",
    "artifact_bytes", "query_ms_p50", "encode_docs_per_second", "reindex",
)  # fmt: skip
_BYTES = ("peak_memory_bytes", "artifact_bytes")


@dataclass(frozen=True)
class Subject:
    """What a card is about."""

    fit: FitRecord
    cell: CellResult | None
    """How it was measured on its own dataset; None where it was not."""
    baseline: CellResult | None
    """What it is compared with on the same queries."""
    base_name: str
    """The base model, under the name by which it can be loaded elsewhere."""
    licence: str
    max_length: int | None
    asymmetric: bool
    """Whether queries and documents go through different weights."""
    form: str = "merged"
    """`merged` or `adapter`."""
    dataset: DatasetInfo | None = None
    refit: Refit | None = None

    @property
    def title(self) -> str:
        """The card's heading."""
        return f"{self.base_name.rpartition('/')[2]} adapted to {self.fit.dataset} with {self.fit.strategy}"


def model_card(subject: Subject, store: Store) -> str:
    """Return the text of `README.md`."""
    compared = _compared(subject, store)
    sections = [
        _front_matter(subject),
        f"# {subject.title}",
        _lead(subject),
        "## Use\n\n" + _usage(subject),
        "## Measured\n\n" + _quality(subject, compared),
        "## Forgotten\n\n" + _forgetting(subject),
        "## Cost\n\n" + _cost(subject),
        "## How it was made\n\n" + _making(subject, store),
        "## Licence\n\n" + _licences(subject),
    ]
    return "\n\n".join(section.strip() for section in sections) + "\n"


def _front_matter(subject: Subject) -> str:
    import yaml

    facts: dict[str, Any] = {
        "library_name": "peft" if subject.form == "adapter" else "sentence-transformers",
        "pipeline_tag": "sentence-similarity",
        "base_model": subject.base_name,
        "tags": ["sentence-transformers", "sentence-similarity", "feature-extraction", "adaptbench"],
    }
    if subject.licence != "unknown":
        facts["license"] = subject.licence
    if subject.cell is not None and subject.cell.metrics and subject.refit is None:
        metrics = [
            {"type": name.replace("@", "_at_"), "value": round(value, 5)}
            for name, value in subject.cell.metrics.items()
            if name in _SHOWN
        ]
        dataset = {"name": subject.cell.dataset, "type": subject.cell.dataset, "split": subject.cell.split}
        result = {"task": {"type": "text-retrieval"}, "dataset": dataset, "metrics": metrics}
        facts["model-index"] = [{"name": subject.title, "results": [result]}]
    return f"---\n{yaml.safe_dump(facts, sort_keys=False, allow_unicode=True)}---"


def _lead(subject: Subject) -> str:
    text = (
        f"The embedding model `{subject.base_name}`, adapted for retrieval to the dataset `{subject.fit.dataset}` by "
        f"the strategy `{subject.fit.strategy}` of AdaptBench, which compared it there with the model as it was."
    )
    if subject.fit.status != "ok":
        text += f"\n\n**Its fit ended as {subject.fit.status.replace('_', ' ')}:** {subject.fit.reason}."
    return text


def _usage(subject: Subject) -> str:
    lines = ["```python", "from sentence_transformers import SentenceTransformer", ""]
    if subject.form == "adapter":
        lines[1:1] = ["from peft import PeftModel"]
        lines += [
            f'model = SentenceTransformer("{subject.base_name}")',
            'model[0].model = PeftModel.from_pretrained(model[0].model, "path/to/this/folder").eval()',
        ]
    else:
        lines += ['model = SentenceTransformer("path/to/this/folder")']
    if subject.max_length is not None and subject.form == "adapter":
        lines += [f"model.max_seq_length = {subject.max_length}"]
    lines += [
        'queries = model.encode_query(["a question"])',
        'documents = model.encode_document(["a passage", "another one"])',
        "scores = model.similarity(queries, documents)",
        "```",
    ]
    if subject.asymmetric and subject.form == "adapter":
        lines += ["", "The adapter is for queries alone: encode documents with the base model, without it."]
    elif subject.asymmetric:
        lines += ["", "Queries and documents take different ways: `encode` alone encodes documents."]
    if subject.max_length is not None:
        lines += ["", f"Texts are cut to {subject.max_length} tokens, as they were in training and measurement."]
    return "\n".join(lines)


# --- what was measured ----------------------------------------------------------------------------------------------


def _compared(subject: Subject, store: Store) -> dict[str, tuple[PairwiseTest, tuple[float, float]]]:
    """Return measure -> comparison with the baseline and the interval of the score itself, over queries."""
    from bench.statistics.grouping import dependent
    from bench.statistics.resampling import bootstrap_means, interval
    from bench.statistics.significance import Design, compare

    if subject.cell is None or subject.baseline is None or subject.cell.cell == subject.baseline.cell:
        return {}
    own = store.per_query(subject.cell.cell).set_index("query").sort_index()
    base = store.per_query(subject.baseline.cell).set_index("query").sort_index()
    if not own.index.equals(base.index) or len(own) < 2:
        return {}
    groups = dependent(list(own["group"]))
    return {
        measure: (
            compare(
                base[measure].to_numpy(),
                own[measure].to_numpy(),
                (subject.baseline.strategy, subject.fit.strategy),
                Design(groups=groups),
            ),
            interval(bootstrap_means(own[measure].to_numpy(dtype=float), groups)),
        )
        for measure in _SHOWN
        if measure in own and measure in base
    }


def _quality(subject: Subject, compared: dict[str, tuple[PairwiseTest, tuple[float, float]]]) -> str:
    cell = subject.cell
    if cell is None or not cell.metrics:
        return "This fit was not measured on its dataset."
    text = [
        f"On the split `{cell.split}` of `{cell.dataset}`: {cell.n_queries:,} judged queries, {cell.n_docs:,} texts."
    ]
    if subject.refit is not None:
        text.append(
            "**These figures are of the fit on the training data alone.** The weights here come from fitting the same "
            "setting again on training and development data together, which was not measured."
        )
    if compared:
        baseline = next(iter(compared.values()))[0].baseline
        rows = [["measure", f"`{baseline}`", "this model", "95% interval", "difference", "95% interval", "p"]]
        for measure, (found, (low, high)) in compared.items():
            rows.append(
                [
                    measure,
                    numbers.score(found.baseline_mean),
                    numbers.score(found.other_mean),
                    f"{numbers.score(low)} to {numbers.score(high)}",
                    numbers.signed(found.difference),
                    numbers.interval(found.ci_low, found.ci_high),
                    numbers.p_value(found.p),
                ]
            )
        text.append(_table(rows))
        text.append(
            "Intervals and p are over queries for this one trained model, each measure by itself; another seed gives "
            "another model."
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
            f"{seen['n']:,.0f} of the queries have a relevant document that was trained on ({PRIMARY_MEASURE} "
            f"{numbers.score(seen.get(PRIMARY_MEASURE))}); on the other {unseen['n']:,.0f} it is "
            f"{numbers.score(unseen.get(PRIMARY_MEASURE))}."
        )
    return "\n\n".join(text)


def _forgetting(subject: Subject) -> str:
    found = subject.cell.forgetting if subject.cell is not None else {}
    if not found:
        return "Not measured: the run had no probe outside the domain."
    rows = [["probe", "measure", "before", "after", "change", "95% interval", "n"]]
    for probe, facts in found.items():
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
    return _table(rows)


def _cost(subject: Subject) -> str:
    cost = {**subject.fit.cost, **(subject.cell.cost if subject.cell is not None else {})}
    rows = [["what", "measured", "unit"]]
    for name in _COSTS:
        if cost.get(name) is not None:
            value = cost[name]
            shown = value if isinstance(value, str) else numbers.size(value) if name in _BYTES else _amount(value)
            rows.append([name.replace("_", " "), shown, COST_UNITS[name]])
    machine = subject.fit.environment.get("machine_class") or subject.fit.environment.get("machine") or "unknown"
    text = [_table(rows), f"Machine: {machine}."]
    if subject.refit is not None:
        text.append(f"Fitting again on all labels took {numbers.seconds(subject.refit.seconds)} more.")
    return "\n\n".join(text)


def _amount(value: float) -> str:
    return numbers.scaled(value) if abs(value) >= 1e9 else numbers.plain(value)


# --- where it comes from --------------------------------------------------------------------------------------------


def _making(subject: Subject, store: Store) -> str:
    fit = subject.fit
    data = fit.report.get("data", {})
    limits = (fit.budget.get("limits") or {}).items()
    lines = [
        f"- Data: `{fit.dataset}` (fingerprint {fit.fingerprints.get('dataset', 'unknown')}), "
        f"{data.get('train_pairs', 0):,} training pairs, {data.get('dev_queries', 0):,} development queries"
        + (", training queries made from the corpus, none of them a label." if data.get("pseudo") else "."),
        f"- Budget: {', '.join(f'{value:g} {name}' for name, value in limits) or 'none, nothing is trained'}; used "
        f"{fit.report.get('steps', 0):,} steps; seed {fit.seed if fit.seed is not None else 'none'}.",
        f"- Hyperparameters: {_pairs(fit.hyperparameters)}.",
        f"- Training settings: {_pairs(fit.training)}.",
        f"- Base model: `{fit.model}` (fingerprint {fit.fingerprints.get('model', 'unknown')}).",
        f"- Fit: `{fit.fit}`.",
    ]
    if subject.refit is not None:
        lines.append(
            f"- Fitted again on {subject.refit.train_pairs:,} pairs ({subject.refit.dev_pairs:,} of them from "
            f"development data) for {subject.refit.report.steps:,} steps, the number after which development was best."
        )
    call: dict[str, Any] = next((call for call in reversed(store.invocations()) if call.get("versions")), {})
    if call:
        lines.append(f"- Versions: {_pairs(call['versions'])}.")
    notes = fit.report.get("notes") or []
    return "\n".join([*lines, *(f"- Note: {note}." for note in notes)])


def _pairs(values: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items()) or "none"


def _licences(subject: Subject) -> str:
    data = subject.dataset.licence if subject.dataset is not None else "unknown"
    return (
        f"Base model: {subject.licence}. Data of `{subject.fit.dataset}`: {data}. What the two together allow for "
        "these weights is for whoever publishes them to check."
    )


def _table(rows: Sequence[Sequence[str]]) -> str:
    head, *body = [[str(cell).replace("|", "\\|") for cell in row] for row in rows]
    lines = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
