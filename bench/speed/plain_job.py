"""The whole job as a script around the plain library: run as a process, settings as JSON on standard input.

BM25 by rank_bm25, the base model as it is, and each trained strategy from a fresh model, one after another; every one
scored by the library's evaluator over the whole corpus.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any


def main(asked: dict[str, Any]) -> dict[str, Any]:
    """Do the job; returns nDCG@10 by strategy."""
    import torch

    from bench.data.dataset import Dataset
    from bench.data.locate import load_dataset
    from bench.data.splits import training_data
    from bench.evaluation.measures import evaluate
    from bench.models.locate import base_model
    from bench.planning.registry import Registry
    from bench.records import PRIMARY_MEASURE
    from bench.retrieval.lexical import tokenize
    from bench.retrieval.ranking import Ranking
    from bench.speed import plain
    from bench.speed.subject import QUICK, TOP_K, Subject
    from bench.strategy.resources import Resources

    torch.set_num_threads(asked["threads"])
    dataset = load_dataset(asked["folder"])
    assert isinstance(dataset, Dataset)
    info = replace(dataset.info, max_length=asked["max_length"] or None)
    base, registry = base_model(asked["model"]), Registry()
    subject = Subject(
        base, replace(dataset, info=info), registry, tuple(asked["strategies"]), QUICK, asked["device"], asked["split"]
    )
    qrels = dataset.qrels(asked["split"])
    queries = {query: dataset.queries[query] for query in dataset.judged(asked["split"])}
    scores: dict[str, float] = {}
    for name in subject.strategies:
        strategy = registry.get(name)(None, Resources(base, asked["device"]))
        if strategy.trains == "encoder":
            model = subject.plain_model()
            plain.adapt(model, strategy)
            pairs = training_data(dataset, asked["seed"], None, asked["split"]).pairs
            plain.train(model, pairs, asked["bf16"], asked["device"], epochs=asked["epochs"])
            scores[name] = plain.evaluate(
                model.to(torch.bfloat16) if asked["bf16"] else model, dataset.corpus, queries, qrels
            )
        elif strategy.untrained_counterpart() is None:
            engine = plain.PlainBm25(dataset.corpus, tokenize)
            ranking = Ranking.from_run(engine.search(queries, TOP_K))
            scores[name] = evaluate(ranking, qrels, [PRIMARY_MEASURE]).mean(PRIMARY_MEASURE)
        else:
            scores[name] = plain.evaluate(subject.plain_model(asked["bf16"]), dataset.corpus, queries, qrels)
    return {"scores": scores}


if __name__ == "__main__":
    settings = json.load(sys.stdin)
    Path(settings["result"]).write_text(json.dumps(main(settings)), encoding="utf-8")
