"""Gradient checkpointing: the same training with less memory, counted, recorded, and refused where it does nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from bench.budget import Budget
from bench.config.schema import RunConfig
from bench.contract import Blueprint
from bench.data.dataset import TrainingData
from bench.errors import BenchError, NotApplicableError
from bench.models.architectures import transformer_of
from bench.models.base import BaseModel
from bench.planning.plan import plan
from bench.strategy.settings import TrainingSettings
from bench.training.checkpointing import recomputed_blocks

MakeResources = Callable[..., Any]


@pytest.mark.parametrize(
    ("strategy", "family", "settings"),
    [("lora", "qwen3", {}), ("full", "t5", {"mini_batch": 2}), ("dpr", "bert", {"dropout": True})],
)
def test_training_is_the_same_and_its_operations_are_counted(
    strategy: str, family: str, settings: dict[str, Any], tiny_base: Callable[[str], BaseModel],
    tiny_resources: MakeResources, tiny_training: TrainingData,
) -> None:  # fmt: skip
    fitted, reports = [], []
    for is_on in (False, True):
        resources = tiny_resources(tiny_base(family), gradient_checkpointing=is_on, **settings)
        each = Blueprint.of(strategy).build(resources, ())
        reports.append(each.fit(tiny_training, Budget(steps=2), 0))
        fitted.append({name: p for name, p in each.model.named_parameters() if p.requires_grad})
    plain, again = fitted
    for name, parameter in plain.items():
        torch.testing.assert_close(again[name], parameter, atol=1e-6, rtol=1e-5)
    passes = 3 if "mini_batch" not in settings else 4  # a backward pass counts as two
    assert reports[1].train_flops == pytest.approx(reports[0].train_flops * (passes + 1) / passes, rel=0.12)


def test_activations_of_blocks_are_not_kept(tiny_bert: BaseModel, tiny_resources: MakeResources) -> None:
    model = Blueprint.of("full").build(tiny_resources(tiny_bert), ()).model
    features = model.preprocess(["the crane of the harbour"] * 8)

    def kept() -> int:
        saved: list[int] = []

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            saved.append(tensor.nbytes)
            return tensor

        with saved_tensors_hooks(pack, lambda tensor: tensor):
            vectors = model(dict(features))["sentence_embedding"]
        vectors.sum().backward()
        return sum(saved)

    model.eval()
    plain = kept()
    with recomputed_blocks([transformer_of(model)]):
        fewer = kept()

    assert fewer < plain / 3
    assert kept() == plain, "the blocks are as before"


def test_a_training_that_recomputes_nothing_is_refused(tiny_bert: BaseModel) -> None:
    model = tiny_bert.load()
    with (
        pytest.raises(NotApplicableError, match="takes no effect"),
        recomputed_blocks([transformer_of(model.requires_grad_(False))]),
    ):
        model(model.preprocess(["a crane"]))


@pytest.mark.parametrize(
    ("strategies", "reason"),
    [
        ("linear,bm25", "no strategy of this run trains a transformer"),
        ("lora,full(representation=static)", "passes no text through the base model"),
    ],
)
def test_it_is_refused_where_no_block_is_trained(
    strategies: str, reason: str, toy_config: Callable[..., RunConfig], tiny_folder: Callable[[str], Path]
) -> None:
    config = toy_config(
        strategies=strategies, model=str(tiny_folder("bert")), strategy_files=[], baseline="frozen",
        set="train.gradient_checkpointing=true",
    )  # fmt: skip
    with pytest.raises(BenchError, match=reason):
        plan(config)


def test_it_is_part_of_a_fits_identity_where_it_is_on(
    toy_config: Callable[..., RunConfig], tiny_folder: Callable[[str], Path]
) -> None:
    values = {"strategies": "lora", "model": str(tiny_folder("bert")), "strategy_files": [], "baseline": "frozen"}
    (frozen, off), (still_frozen, on) = (
        plan(toy_config(**values, **({"set": f"train.gradient_checkpointing={word}"} if word else {}))).fits
        for word in ("", "true")
    )

    assert frozen.name == still_frozen.name and off.name != on.name
    assert on.training == TrainingSettings(gradient_checkpointing=True)
