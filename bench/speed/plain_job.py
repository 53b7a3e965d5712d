"""The whole job as a script around the plain library. It runs as a process, with settings as JSON on standard input.

It uses BM25 by rank_bm25, the base model, and each trained strategy from a fresh model, one after another. The
library's evaluator scores each of them over the whole corpus.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.data.dataset import Dataset
from bench.data.locate import load_dataset
from bench.data.splits import training_data
from bench.evaluation.measures import evaluate
from bench.models.locate import base_model
from bench.planning.registry import Registry
from bench.records import PRIMARY_MEASURE
from bench.retrieval.lexical_terms import english
from bench.retrieval.ranking import Ranking
from bench.speed import plain
from bench.speed.workload import QUICK, TOP_K, Workload


def main(settings: dict[str, Any]) -> dict[str, Any]:
    """Do the job and return nDCG@10 by strategy."""
    import torch

    torch.set_num_threads(settings["threads"])
    device, split, bf16 = settings["device"], settings["split"], settings["bf16"]
    dataset = load_dataset(settings["folder"])
    assert isinstance(dataset, Dataset)
    dataset = replace(dataset, info=replace(dataset.info, max_length=settings["max_length"] or None))
    names = tuple(settings["strategies"])
    workload = Workload(base_model(settings["model"]), dataset, Registry(), names, QUICK, device, split)
    qrels = dataset.qrels(split)
    queries = {query: dataset.queries[query] for query in dataset.judged(split)}
    scores: dict[str, float] = {}
    for name in names:
        strategy = workload.registry.get(name)(None, workload.resources())
        if strategy.trains == "encoder":
            model = workload.plain_model()
            plain.adapt(model, strategy)
            pairs = training_data(dataset, settings["seed"], None, split).pairs
            plain.train(model, pairs, bf16, device, epochs=settings["epochs"])
            scores[name] = plain.evaluate(model.to(torch.bfloat16) if bf16 else model, dataset.corpus, queries, qrels)
        elif strategy.untrained_counterpart() is None:
            engine = plain.PlainBm25(dataset.corpus, english)
            ranking = Ranking.from_run(engine.search(queries, TOP_K))
            scores[name] = evaluate(ranking, qrels, [PRIMARY_MEASURE]).mean(PRIMARY_MEASURE)
        else:
            scores[name] = plain.evaluate(workload.plain_model(bf16), dataset.corpus, queries, qrels)
    return {"scores": scores}


if __name__ == "__main__":
    request = json.load(sys.stdin)
    Path(request["result"]).write_text(json.dumps(main(request)), encoding="utf-8")
