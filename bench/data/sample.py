"""A dataset of 48 short texts for checks: small enough for seconds, with lengths that make batches pad."""

from __future__ import annotations

from functools import cache

from bench.data.dataset import Corpus, Dataset, DatasetInfo, Qrels, TrainingData, positive_pairs

_SUBJECTS: dict[str, tuple[str, ...]] = {
    "harbour": ("crane", "tide", "ferry", "anchor", "pilot", "quay"),
    "orchard": ("apple", "blossom", "ladder", "pruning", "cider", "graft"),
    "kitchen": ("oven", "dough", "knife", "simmer", "pepper", "recipe"),
    "observatory": ("lens", "comet", "mirror", "orbit", "eclipse", "dome"),
    "railway": ("signal", "platform", "timetable", "carriage", "tunnel", "ticket"),
    "pottery": ("clay", "kiln", "glaze", "wheel", "handle", "vase"),
    "library": ("shelf", "catalogue", "binding", "reader", "archive", "loan"),
    "glacier": ("crevasse", "moraine", "meltwater", "ice", "valley", "ridge"),
}
_FILLERS = (
    "is checked every morning before work begins",
    "was repaired twice last winter",
    "costs more than visitors expect, and nobody minds as it lasts for many years when it is well kept and dry",
)


@cache
def sample_dataset(subjects: int = len(_SUBJECTS)) -> Dataset:
    """Return six documents on each subject, and a query for each: four to train, one to select, one to test.

    Each query has one relevant document. Documents are between 9 and some 60 tokens long. There are eight subjects.
    """
    ids, texts, queries = [], [], {}
    splits: dict[str, dict[str, dict[str, int]]] = {"train": {}, "dev": {}, "test": {}}
    for subject, things in list(_SUBJECTS.items())[:subjects]:
        for number, thing in enumerate(things):
            doc = f"{subject}-{number}"
            fillers = [f"The {thing} of the {subject} {filler}." for filler in _FILLERS[: 1 + number % 3]]
            ids.append(doc)
            texts.append(" ".join(fillers * (1 + number // 4)))
            queries[f"q-{doc}"] = f"what happens to the {thing} in the {subject}?"
            split = "test" if number == 5 else "dev" if number == 4 else "train"
            splits[split][f"q-{doc}"] = {doc: 1}
    return Dataset(DatasetInfo("contract-sample"), Corpus(ids, texts), queries, splits)


def sample_training(dataset: Dataset | None = None, seed: int = 0, most: int = 64) -> TrainingData:
    """Return what `fit` may see of a dataset: at most `most` training pairs, development queries, the corpus."""
    dataset = dataset or sample_dataset()
    pairs = list(positive_pairs(dataset.qrels("train"), dataset.queries, dataset.corpus))[:most]
    qrels: Qrels = dataset.splits.get("dev", {})
    return TrainingData(
        dataset=dataset.name,
        pairs=pairs,
        dev_queries={query: dataset.queries[query] for query in qrels},
        dev_qrels=qrels,
        corpus=dataset.corpus,
        seed=seed,
    )
