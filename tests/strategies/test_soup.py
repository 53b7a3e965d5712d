"""Averaged weights: means by hand, LoRA merged exactly, shares from development data, what cannot be averaged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench.budget import Budget
from bench.config.schema import RunConfig
from bench.data.sample import sample_dataset, sample_training
from bench.encoders.base import BaseEncoder
from bench.errors import BenchError, NotApplicableError
from bench.models.base import BaseModel
from bench.planning.plan import plan
from bench.strategy.base import Strategy
from bench.training.selection import Pool
from strategies.frozen import Frozen
from strategies.full import Full
from strategies.lora import Lora
from strategies.prefix import Prefix
from strategies.prior import Prior
from strategies.soup import Soup


def fitted(kind: type[Any], resources: Any, **config: Any) -> Any:
    strategy = kind(kind.Config(**config), resources)
    strategy.fit(sample_training(), Budget(steps=3), 0)
    return strategy


def soup(resources: Any, components: list[Strategy], **config: Any) -> Soup:
    strategy = Soup(Soup.Config(**config), resources, components)
    strategy.fit(sample_training(), Budget(), 0)
    return strategy


def state(strategy: Any) -> dict[str, torch.Tensor]:
    return strategy.to_sentence_transformer().state_dict()  # type: ignore[no-any-return]


def test_equal_shares_are_the_mean_with_lora_merged(tiny_bert: BaseModel, tiny_resources: Any) -> None:
    resources = tiny_resources(tiny_bert)
    parts = [fitted(Full, resources, lr=1e-3), fitted(Lora, resources, lr=1e-2), Frozen(None, resources)]
    mean, states = state(soup(resources, parts, shares="uniform")), [state(part) for part in parts]
    changed = 0
    for name, weight in mean.items():
        expected = torch.stack([each[name].float() for each in states]).mean(dim=0)
        torch.testing.assert_close(weight.float(), expected, atol=1e-6, rtol=0)
        changed += not torch.equal(states[1][name], states[2][name])
    assert changed, "LoRA changed no weight"


def test_a_soup_ranks_with_its_mean_and_alike_after_loading(
    tiny_bert: BaseModel, tiny_resources: Any, tmp_path: Path
) -> None:
    resources, dataset = tiny_resources(tiny_bert), sample_dataset()
    parts = [fitted(Full, resources, lr=1e-3), Frozen(None, resources)]
    strategy = soup(resources, parts, shares="uniform")
    strategy.save(tmp_path)
    loaded = Soup(strategy.config, resources, parts)
    loaded.load(tmp_path)
    rankings = [each.search(dataset.queries, each.index(dataset.corpus), 10).as_run() for each in (strategy, loaded)]
    assert rankings[0] == rankings[1]
    base = BaseEncoder(None, resources)
    assert rankings[0] != base.search(dataset.queries, base.index(dataset.corpus), 10).as_run()


def test_greedy_shares_score_at_least_as_well_as_each_component(tiny_bert: BaseModel, tiny_resources: Any) -> None:
    resources = tiny_resources(tiny_bert, selection_floor=10, dev_docs=20)
    parts = [Frozen(None, resources), fitted(Full, resources, lr=1e-3), fitted(Lora, resources, lr=1e-2)]
    strategy = Soup(None, resources, parts)
    report = strategy.fit(sample_training(), Budget(), 0)
    scores = report.chosen["scores"]
    assert {"1 / 0 / 0", "0 / 1 / 0", "0 / 0 / 1"} <= set(scores) and len(scores) == 3 + 2 * 4
    assert report.best_dev == max(scores.values()) and sum(strategy.shares) == pytest.approx(1)


@pytest.mark.parametrize(("goal", "shares"), [(0.0, (0.0, 1.0)), (1.0, (1.0, 0.0)), (0.4, (0.4, 0.6))])
def test_the_shares_are_those_that_score_best(
    goal: float, shares: tuple[float, float], tiny_bert: BaseModel, tiny_resources: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    resources = tiny_resources(tiny_bert, selection_floor=10, dev_docs=20)
    parts = [fitted(Full, tiny_resources(tiny_bert), lr=1e-2), Frozen(None, resources)]  # `full` keeps its last step
    tuned, base = (torch.cat([weight.flatten().float() for weight in state(part).values()]) for part in parts)
    assert not torch.equal(tuned, base)

    def distance(pool: Pool, searcher: Any) -> np.ndarray:
        """Score a model by how near its weights are to the point `goal` between both components."""
        weights = torch.cat([weight.flatten().float() for weight in searcher.encoder.model.state_dict().values()])
        return np.full(3, -float((weights - (goal * tuned + (1 - goal) * base)).norm()))

    monkeypatch.setattr(Pool, "scores", distance)
    strategy = Soup(None, resources, parts)
    strategy.fit(sample_training(), Budget(), 0)
    assert strategy.shares == pytest.approx(shares)


def test_too_few_labels_for_selection_give_equal_shares(tiny_bert: BaseModel, tiny_resources: Any) -> None:
    resources = tiny_resources(tiny_bert)
    strategy = Soup(None, resources, [Frozen(None, resources), Frozen(None, resources)])
    report = strategy.fit(sample_training(), Budget(), 0)
    assert strategy.shares == (0.5, 0.5) and "too few labels" in report.notes[0]


def test_what_adds_weights_or_scores_is_refused(tiny_bert: BaseModel, tiny_resources: Any) -> None:
    resources = tiny_resources(tiny_bert)
    with pytest.raises(NotApplicableError, match="prior is none"):
        Soup(None, resources, [Prior(None, resources), Frozen(None, resources)])
    with pytest.raises(NotApplicableError, match="cannot be folded"):
        soup(resources, [fitted(Prefix, resources), Frozen(None, resources)])


def test_any_number_of_components_from_two_up(toy_config: Callable[..., RunConfig]) -> None:
    found = plan(toy_config(strategies="frozen,soup(lora, full, bitfit)", baseline="frozen"))
    assert {fit.strategy for fit in found.fits} == {"frozen", "lora", "full", "bitfit", "soup(lora, full, bitfit)"}
    with pytest.raises(BenchError, match=r"2 components or more: write soup\(STRATEGY, STRATEGY, ...\)"):
        plan(toy_config(strategies="soup(lora)"))
    with pytest.raises(BenchError, match="needs one vector a text"):
        plan(toy_config(strategies="soup(lora, bm25)"))
