"""What a contributor relies on: how hyperparameters are read, how a size parameter is set, what does not need torch."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from bench.budget import Budget
from bench.data.dataset import Corpus, TrainingData
from bench.encoders.strategy import EncoderStrategy
from bench.errors import BenchError, NotApplicableError
from bench.planning.registry import Registry
from bench.records import FitReport
from bench.strategy.base import Strategy
from bench.strategy.hyperparameters import EncoderConfig, StrategyConfig
from bench.strategy.protocols import Index
from bench.strategy.space import Choice, LogUniform, SizeParameter
from bench.training.sizing import fit_to_parameter_budget


class Sized(Strategy):
    """A strategy with `width * 10` trainable parameters."""

    name = "sized"
    trains = "head"

    @dataclass(frozen=True)
    class Config(StrategyConfig):
        space: ClassVar = {"width": Choice((1, 2, 4, 8)), "lr": LogUniform(1e-5, 1e-3)}
        size: ClassVar = SizeParameter("width", most=8)
        width: int = 2
        lr: float = 1e-4
        deep: bool = False
        engine: str = "fast"
        teacher: str | None = None

    def fit(self, data: TrainingData, budget: Budget, seed: int) -> FitReport:
        return FitReport()

    def index(self, corpus: Corpus) -> Index:
        raise AssertionError("not asked for here")

    def search(self, queries: Any, index: Any, top_k: int) -> Any:
        raise AssertionError("not asked for here")

    def save(self, folder: Path) -> None:
        pass

    def load(self, folder: Path) -> None:
        pass

    @property
    def trainable_params(self) -> int:
        return self.config.width * 10


class Untouched(EncoderStrategy):
    """An encoder strategy that never gets as far as a model."""

    name = "untouched"

    def attach(self, tower: Any) -> Any:
        return tower


no_context: Any = SimpleNamespace(encoder=SimpleNamespace(model=SimpleNamespace(parameters=list)))


# --- hyperparameters ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("width", "8", 8), ("width", 8, 8), ("lr", "1e-3", 1e-3), ("lr", 1, 1.0), ("lr", 0.5, 0.5),
        ("deep", "true", True), ("deep", "No", False), ("deep", "1", True), ("deep", True, True),
        ("engine", "rank_bm25", "rank_bm25"), ("teacher", "full", "full"),
    ],
)  # fmt: skip
def test_values_come_as_text_or_typed(name: str, given: object, value: object) -> None:
    parsed = getattr(Sized.Config.parse({name: given}), name)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("width", "8.5"), ("width", "wide"), ("width", 8.5), ("width", True), ("width", [8]), ("lr", "fast"),
        ("lr", True), ("deep", "maybe"), ("deep", 1), ("engine", 3),
    ],
)  # fmt: skip
def test_a_value_of_another_type_is_refused_by_name(name: str, given: object) -> None:
    with pytest.raises(BenchError, match=f"option {name}"):
        Sized.Config.parse({name: given})


def test_a_mistyped_option_gets_a_suggestion() -> None:
    with pytest.raises(BenchError, match=r"unknown option 'widht', did you mean 'width'\? Known: deep, engine, lr"):
        Sized.Config.parse({"widht": 3})


def test_only_what_differs_from_the_defaults_identifies_a_fit() -> None:
    assert Sized.Config().changed() == {}
    assert Sized.Config.parse({"width": "2", "deep": "yes"}).changed() == {"deep": True}


def test_a_variant_brings_defaults_of_its_own_and_what_is_set_wins() -> None:
    config = Registry(()).get("prefix").Config
    variant = config.parse({"reparametrise": "true"})
    assert variant.lr < config().lr / 10, "what suits a table breaks a network"
    assert variant.changed() == {"reparametrise": True}
    for lr in (variant.lr, config().lr, 0.5):
        asked = config.parse({"reparametrise": "true", "lr": str(lr)})
        assert asked.lr == lr
        assert config.parse(asked.changed()) == asked
    assert config.parse({"lr": str(variant.lr)}).changed() == {"lr": variant.lr}


def test_an_encoder_strategy_has_a_learning_rate() -> None:
    assert EncoderConfig.parse({"lr": "3e-4"}).lr == 3e-4
    assert Untouched(None, no_context).config == EncoderConfig()


# --- the size parameter --------------------------------------------------------------------------------------------


def fitted(kind: type[Sized], config: Any, limit: int) -> Any:
    """Return the configuration at the largest size within a limit of trainable parameters."""
    budget = Budget(trainable_params=limit, steps=1)
    return fit_to_parameter_budget(lambda changed: kind(changed, no_context), config, budget)


def test_a_strategy_of_another_size_keeps_the_rest() -> None:
    assert fitted(Sized, Sized.Config(deep=True, lr=1e-3), 60) == Sized.Config(width=6, deep=True, lr=1e-3)


@pytest.mark.parametrize(("limit", "fits"), [(20, True), (19, False)])
def test_without_a_size_parameter_there_is_one_size(limit: int, fits: bool) -> None:
    class Rigid(Sized):
        @dataclass(frozen=True)
        class Config(Sized.Config):
            size: ClassVar = None

    if fits:
        assert fitted(Rigid, Rigid.Config(), limit) == Rigid.Config()
        return
    with pytest.raises(NotApplicableError, match="no size of 19"):
        fitted(Rigid, Rigid.Config(), limit)


@pytest.mark.parametrize(("limit", "width"), [(1000, 8), (80, 8), (79, 7), (60, 6), (39, 3), (10, 1)])
def test_the_largest_size_within_the_limit_is_taken(limit: int, width: int) -> None:
    assert fitted(Sized, Sized.Config(), limit).width == width, "any whole number, not only those that a study tries"


def test_no_size_may_fit() -> None:
    with pytest.raises(NotApplicableError, match="no size of 9"):
        fitted(Sized, Sized.Config(), 9)


def test_what_trains_nothing_keeps_its_size() -> None:
    class Nothing(Sized):
        trainable_params = Strategy.trainable_params

    assert fitted(Nothing, Nothing.Config(width=3), 1000) == Nothing.Config(width=3)


# --- defaults -------------------------------------------------------------------------------------------------------


def test_a_strategy_cannot_be_made_without_its_methods() -> None:
    with pytest.raises(TypeError, match="abstract"):
        Strategy(None, no_context)


def test_what_does_not_train_has_no_parameters_and_no_before() -> None:
    class Plain(Sized):
        trainable_params = Strategy.trainable_params

    strategy = Plain(None, no_context)
    assert (strategy.trainable_params, strategy.untrained_counterpart(), strategy.needs, strategy.reindex) == (
        0,
        None,
        frozenset(),
        "none",
    )


def test_training_on_no_pairs_is_refused_with_the_dataset_s_name() -> None:
    data = TrainingData("pears", [], {}, {}, Corpus([], []))
    with pytest.raises(NotApplicableError, match="'pears' has none left"):
        Untouched(None, no_context).fit(data, Budget(steps=1), seed=0)


def test_reading_the_interface_does_not_load_torch() -> None:
    program = "import sys, bench.strategy.base, bench.strategy.resources; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
