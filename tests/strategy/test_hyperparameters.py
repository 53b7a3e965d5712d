"""What a hyperparameter may be: finite, of its type, and not below all that makes sense of its kind."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from bench.errors import BenchError
from bench.planning.registry import Registry
from bench.strategy.space import Choice

REGISTRY = Registry()


@pytest.mark.parametrize(
    ("strategy", "option", "value", "message"),
    [
        ("lora", "r", "0", "option r must be above 0, got 0"),
        ("lora", "r", "-4", "option r must be above 0, got -4"),
        ("lora", "lr", "nan", "option lr: nan is not a finite number"),
        ("lora", "alpha", "inf", "inf is not a finite number"),
        ("full", "lr", "0", "lr must be above 0"),
        ("query-lora", "lr", "-1e-3", "lr must be above 0"),
        ("distill", "lr", "-1", "lr must be"),
        ("distill", "teacher_temperature", "0", "above 0"),
        ("bm25", "k1", "-1", "at least 0"),
        ("linear", "rank", "-1", "rank must be at least 0"),
        ("adapter", "width", "-1", "width must be"),
        ("adapter", "reduction", "0", "above 0"),
        ("whitening", "dimensions", "0", "above 0"),
        ("top-layers", "layers", "0", "above 0"),
        ("prefix", "tokens", "0", "above 0"),
        ("vera", "r", "0", "above 0"),
        ("rerank", "negatives", "-1", "above 0"),
        ("prompt", "noise", "nan", "not a finite number"),
        ("hybrid", "weight", "inf", "not a finite number"),
    ],
)
def test_nonsense_is_refused(strategy: str, option: str, value: str, message: str) -> None:
    with pytest.raises(BenchError, match=message):
        REGISTRY.get(strategy).Config.parse({option: value})


def test_the_size_knob_of_a_variant_is_above_0_too() -> None:
    with pytest.raises(BenchError, match="hidden must be above 0"):
        REGISTRY.get("prefix").Config.parse({"reparametrise": "true", "hidden": "0"})


@pytest.mark.parametrize(
    ("strategy", "option", "value"),
    [
        ("linear", "rank", 0),
        ("adapter", "width", 0),
        ("distill", "lr", 0.0),
        ("bm25", "k1", 0.0),
        ("bm25", "b", 0.0),
        ("hybrid", "weight", -1.0),
        ("full-merge", "share", -1.0),
        ("prefix", "noise", 0.0),
        ("prompt", "noise", 0.0),
        ("adalora", "orthogonal", 0.0),
        ("ia3", "attention_output", False),
    ],
)
def test_what_means_something_is_taken(strategy: str, option: str, value: float) -> None:
    assert getattr(REGISTRY.get(strategy).Config.parse({option: str(value)}), option) == value


@pytest.mark.parametrize("name", REGISTRY.names())
def test_every_default_and_all_that_a_study_tries_is_taken(name: str) -> None:
    config = REGISTRY.get(name).Config
    assert config.parse(asdict(config())) == config()
    for option, tried in config.space.items():
        for value in tried.values if isinstance(tried, Choice) else (tried.low, tried.high):
            assert getattr(config.parse({option: value}), option) == value
