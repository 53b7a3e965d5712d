"""Weight averaging: its ends are the base model and the tuned one, and its share comes from development data."""

from typing import Any

import pytest
import torch

from bench.budget import Budget
from bench.data.sample import sample_training
from bench.errors import BenchError
from bench.models.base import BaseModel
from bench.training import train
from bench.training.selection import Pool
from strategies.distill import Distill
from strategies.full import Full
from strategies.full_merge import SHARES, FullMerge


def weights(strategy: Any) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in strategy.model.named_parameters()}


def fit(strategy: Any) -> Any:
    return strategy.fit(sample_training(), Budget(steps=3), 0)


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_weights_lie_on_the_line_between_base_and_tuned(
    share: float, tiny_bert: BaseModel, tiny_resources: Any
) -> None:
    full = Full(Full.Config(lr=1e-3), tiny_resources(tiny_bert))
    merged = FullMerge(FullMerge.Config(lr=1e-3, share=share), tiny_resources(tiny_bert))
    fit(full)
    report = fit(merged)

    assert report.chosen == {"share": share, "scores": {}}
    base = dict(tiny_bert.load().named_parameters())
    tuned = weights(full)
    for name, weight in weights(merged).items():
        torch.testing.assert_close(weight, (1 - share) * base[name] + share * tuned[name], atol=1e-6, rtol=0)


def test_the_share_is_the_best_on_development_data(tiny_bert: BaseModel, tiny_resources: Any) -> None:
    resources = tiny_resources(tiny_bert, selection_floor=10, dev_docs=20)
    merged = FullMerge(FullMerge.Config(lr=1e-3), resources)
    report = fit(merged)

    scores = report.chosen["scores"]
    assert tuple(scores) == SHARES
    assert scores[report.chosen["share"]] == max(scores.values())
    assert all(scores[share] < max(scores.values()) for share in SHARES if share < report.chosen["share"])
    pool = resources.development(sample_training())
    assert float(pool.scores(merged).mean()) == scores[report.chosen["share"]]


def test_what_comes_after_training_loads_nothing_and_scores_only_what_is_new(
    tiny_bert: BaseModel, tiny_resources: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    resources = tiny_resources(tiny_bert, selection_floor=10, dev_docs=20)
    charged = {"scores": 0, "load": 0}

    def counted(owner: type, name: str) -> None:
        plain = getattr(owner, name)

        def count(*args: Any, **kwargs: Any) -> Any:
            charged[name] += resources.meter._depth == 0
            return plain(*args, **kwargs)

        monkeypatch.setattr(owner, name, count)

    counted(Pool, "scores")
    counted(BaseModel, "load")
    merged = FullMerge(FullMerge.Config(lr=1e-3), resources)
    report = fit(merged)

    assert charged == {"scores": merged.finish_evaluations, "load": 0}
    assert report.chosen["scores"][1.0] == report.best_dev
    assert 0 < merged.finish_evaluations < len(SHARES)


@pytest.mark.parametrize(("share", "floor", "steps"), [(-1.0, 10, 8), (0.5, 10, 16), (-1.0, 10_000, 16)])
def test_a_budget_of_seconds_keeps_back_what_scoring_the_mixtures_takes(
    share: float, floor: int, steps: int, tiny_bert: BaseModel, tiny_resources: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps of 1/8 s and evaluations of 1/4 s: four mixtures are worth eight of sixteen steps."""
    monkeypatch.setattr(train, "seconds_measured_once", lambda _, of, measure: 0.25 if of[0] == "evaluation" else 0.125)
    resources = tiny_resources(tiny_bert, selection_floor=floor, dev_docs=20)
    merged = FullMerge(FullMerge.Config(share=share), resources)
    report = merged.fit(sample_training(), Budget(seconds=2), 0)  # the meter stands, so nothing else is spent

    assert (report.planned_steps, report.stopped_by) == (steps, "seconds")


def test_the_evaluations_of_a_part_that_is_trained_further_are_kept_back_too(
    tiny_bert: BaseModel, tiny_resources: Any
) -> None:
    resources = tiny_resources(tiny_bert)
    merged = FullMerge(None, resources)
    distill = Distill(Distill.Config(teacher="x"), resources, (merged,))

    assert distill.finish_evaluations == merged.finish_evaluations > 0
    assert Full(None, resources).finish_evaluations == 0


def test_below_the_selection_floor_it_is_one_half(tiny_bert: BaseModel, tiny_resources: Any) -> None:
    report = fit(FullMerge(None, tiny_resources(tiny_bert)))

    assert report.chosen == {"share": 0.5, "scores": {}}


def test_a_share_above_one_is_an_error(tiny_bert: BaseModel, tiny_resources: Any) -> None:
    with pytest.raises(BenchError, match="not a share"):
        _ = FullMerge(FullMerge.Config(share=1.5), tiny_resources(tiny_bert)).model
