"""Strategies that leave the documents alone: LoRA for queries, a prompt for queries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench.budget import Budget
from bench.contract import Blueprint
from bench.data.dataset import Dataset, TrainingData
from bench.encoders.base import BaseEncoder
from bench.evaluation.flops import query_flops
from bench.evaluation.measures import evaluate
from bench.models.base import BaseModel
from bench.strategy.resources import Resources
from bench.training.score_loss import ScoreLoss
from strategies.instruct import Instruct
from strategies.lora import Lora

Contexts = Callable[..., Resources]


def query_lora(resources: Resources) -> Lora:
    """LoRA for queries alone."""
    strategy = Blueprint.of("query-lora(lr=0.01)").build(resources, ())
    assert isinstance(strategy, Lora)
    return strategy


def _columns(model: Any, data: TrainingData, count: int) -> list[dict[str, Any]]:
    texts = [[pair.query for pair in data.pairs[:count]], [pair.document for pair in data.pairs[:count]]]
    return [model.preprocess(column) for column in texts]


def test_query_lora_trains_queries_and_keeps_the_documents_of_the_base_model(
    tiny_bert: BaseModel, tiny_resources: Contexts, tiny_training: TrainingData
) -> None:
    resources = tiny_resources(tiny_bert)
    strategy = query_lora(resources)
    strategy.fit(tiny_training, Budget(steps=4), 0)
    corpus, base = tiny_training.corpus, BaseEncoder(None, resources)
    assert np.array_equal(strategy.index(corpus).vectors, base.index(corpus).vectors)
    queries = tiny_training.train_queries
    index = base.index(corpus)
    moved, still = strategy.search(queries, index, 5), base.search(queries, index, 5)
    assert any(moved[query] != still[query] for query in queries)
    assert strategy.reindex == "none"


def test_its_loss_compares_adapted_queries_with_documents_of_the_base_model(
    tiny_bert: BaseModel, tiny_resources: Contexts, tiny_training: TrainingData
) -> None:
    resources = tiny_resources(tiny_bert)
    strategy = query_lora(resources)
    model = strategy.model
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)) * 0.1)
    loss = strategy.loss(strategy.resources.training)
    columns = _columns(model, tiny_training, 6)
    adapted = strategy.encoder.uncached([pair.query for pair in tiny_training.pairs[:6]], "query")
    documents = resources.encoder.uncached([pair.document for pair in tiny_training.pairs[:6]], "document")
    logits = adapted @ documents.T / resources.training.temperature
    expected = float(np.mean(np.log(np.exp(logits).sum(axis=1)) - np.diag(logits)))
    assert float(loss(columns).detach()) == pytest.approx(expected, rel=1e-4)
    assert float(loss(columns).detach()) == pytest.approx(expected, rel=1e-4)  # documents are now remembered


def test_only_queries_carry_a_gradient_and_cost_a_backward_pass(
    tiny_bert: BaseModel, tiny_resources: Contexts, tiny_training: TrainingData
) -> None:
    strategy = query_lora(tiny_resources(tiny_bert))
    model = strategy.model
    queries, documents = _columns(model, tiny_training, 6)
    calls: list[bool] = []
    handle = model[1].register_forward_hook(lambda *args: calls.append(torch.is_grad_enabled()))
    loss = strategy.loss(strategy.resources.training)
    loss([queries, documents]).backward()
    handle.remove()
    assert sorted(calls) == [False, True]
    assert any(p.grad is not None and bool(p.grad.any()) for p in model.parameters() if p.requires_grad)
    both = Lora(None, tiny_resources(tiny_bert)).fit(tiny_training, Budget(steps=1), 0)
    one = query_lora(tiny_resources(tiny_bert)).fit(tiny_training, Budget(steps=1), 0)
    assert one.train_flops < both.train_flops


@pytest.mark.parametrize("objective", ["contrastive", "listwise"])
@pytest.mark.parametrize("representation", ["single", "query-side"])
def test_pieces_give_the_same_loss_and_the_same_gradient(
    objective: str,
    representation: str,
    tiny_bert: BaseModel,
    tiny_resources: Contexts,
    tiny_training: TrainingData,
) -> None:
    expression = f"lora(objective={objective}, representation={representation})"
    strategy = Blueprint.of(expression).build(tiny_resources(tiny_bert), ())
    assert isinstance(strategy, Lora)
    model, settings = strategy.model, strategy.resources.training
    scores = torch.tensor([[1.0, 0.2], [0.9, 0.0], [0.1, 0.3], [0.5, 0.4], [1.0, 0.0]])
    columns = [*_columns(model, tiny_training, 5), _columns(model, tiny_training, 5)[1]]
    found = []
    for piece in (0, 2):
        model.zero_grad()
        loss = ScoreLoss(
            strategy.objective,
            model,
            strategy.representation,
            replace(settings, mini_batch=piece),
            strategy.detached,
        )
        value = loss(columns, scores if objective == "listwise" else None)
        value.backward()
        gradients = [p.grad.clone() for p in model.parameters() if p.grad is not None]
        found.append((value.detach(), torch.cat([gradient.flatten() for gradient in gradients])))
    assert torch.allclose(found[0][0], found[1][0])
    assert found[0][1].abs().max() > 0
    assert torch.allclose(found[0][1], found[1][1], atol=1e-6)


def _with_dev_of(data: TrainingData, resources: Resources, prompt: str) -> TrainingData:
    """Label the development queries with what the base model finds first under a prompt."""
    base = BaseEncoder(None, resources)
    index = base.index(data.corpus)
    found = base.search({query: prompt + text for query, text in data.dev_queries.items()}, index, 1)
    return replace(data, dev_qrels={query: {found[query][0][0]: 1} for query in data.dev_queries})


def test_the_prompt_that_ranks_development_data_best_is_chosen(
    tiny_bert: BaseModel, tiny_resources: Contexts, tiny_training: TrainingData, tmp_path: Path
) -> None:
    resources = tiny_resources(tiny_bert, selection_floor=1)
    right = "glacier glacier glacier "
    data = _with_dev_of(tiny_training, resources, right)
    config = Instruct.Config(prompts=f"what about |{right}|oven ")
    instruct = Instruct(config, resources)
    report = instruct.fit(data, Budget(), 0)
    assert instruct.prompt == report.chosen["prompt"] == right
    assert set(report.chosen["scores"]) == {"", "what about ", right, "oven "}
    assert report.best_dev == 1.0 and report.base_dev == report.chosen["scores"][""] < 1.0
    instruct.save(tmp_path)
    loaded = Instruct(config, tiny_resources(tiny_bert))
    loaded.load(tmp_path)
    index = loaded.index(data.corpus)
    ranking = loaded.search(data.dev_queries, index, 10)
    assert ranking == instruct.search(data.dev_queries, index, 10)
    assert evaluate(ranking, data.dev_qrels, ["ndcg@10"]).mean("ndcg@10") == 1.0


def test_queries_stay_as_they_are_where_no_prompt_is_better(
    tiny_bert: BaseModel, tiny_resources: Contexts, tiny_training: TrainingData
) -> None:
    resources = tiny_resources(tiny_bert, selection_floor=1)
    data = _with_dev_of(tiny_training, resources, "")
    instruct = Instruct(None, resources)
    report = instruct.fit(data, Budget(), 0)
    assert instruct.prompt == "" and report.dev_prefers_base


def test_without_development_data_no_prompt_is_chosen(
    tiny_bert: BaseModel, tiny_resources: Contexts, tiny_training: TrainingData, tiny_dataset: Dataset
) -> None:
    resources = tiny_resources(tiny_bert)
    instruct = Instruct(None, resources)
    report = instruct.fit(tiny_training, Budget(), 0)
    base = BaseEncoder(None, resources)
    index = base.index(tiny_dataset.corpus)
    assert "too few labels" in report.notes[0]
    assert instruct.search(tiny_dataset.queries, index, 5) == base.search(tiny_dataset.queries, index, 5)


def test_a_prompt_makes_a_query_cost_more_operations(
    tiny_bert: BaseModel, tiny_resources: Contexts, tiny_dataset: Dataset
) -> None:
    resources = tiny_resources(tiny_bert)
    instruct = Instruct(None, resources)
    queries = list(tiny_dataset.queries.values())
    assert instruct.added_query_flops(queries, tiny_dataset.corpus) == 0
    instruct.prompt = "glacier "
    prompted = [f"glacier {query}" for query in queries]
    expected = query_flops(resources.encoder, prompted) - query_flops(resources.encoder, queries)
    assert instruct.added_query_flops(queries, tiny_dataset.corpus) == expected > 0
