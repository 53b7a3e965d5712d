"""The contract finds strategies that are broken in ways that scores do not show. Each class here has one fault."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from time import sleep
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from bench.budget import Budget
from bench.contract import CLAUSES, ClauseResult, check, subprocess_reload
from bench.contract.clause import Clause, ClockViolation
from bench.contract.clauses import development, repeat
from bench.contract.subprocess_reload import FittedElsewhere, ReloadProcess
from bench.data.dataset import TrainingData
from bench.encoders.strategy import EncoderStrategy
from bench.errors import BenchError
from bench.models.base import BaseModel
from bench.records import FitReport
from bench.training.observer import FitObserver
from tests.contract.honest import Honest


class AttachesNothing(Honest):
    def attach(self, tower: Any) -> Any:
        return tower


class IsNotUsed(Honest):
    """Besides the biases it has a parameter that no forward pass reads."""

    def attach(self, tower: Any) -> Any:
        tower[0].register_parameter("unused", nn.Parameter(torch.zeros(3)))
        return super().attach(tower).requires_grad_(True)


class StartsOff(Honest):
    """Its bottleneck of one ReLU is off for every text at the start, as random numbers can have it."""

    def attach(self, tower: Any) -> Any:
        from bench.encoders.hooks import Bottleneck, on_output

        tower = super().attach(tower)
        linear = tower[0].model.encoder.layer[-1].output.dense
        unit = Bottleneck(linear.out_features, 1)
        with torch.no_grad():
            unit.down.bias.fill_(-3.0)
        on_output(linear, "unit", unit)
        return tower


class GoesToTheWrongAttribute(EncoderStrategy):
    """sentence-transformers 6 accepts `auto_model` and goes on using `model`."""

    name = "wrong-attribute"

    def attach(self, tower: Any) -> Any:
        from peft import PromptTuningConfig, get_peft_model

        config = PromptTuningConfig(num_virtual_tokens=4, task_type="FEATURE_EXTRACTION")
        tower[0].auto_model = get_peft_model(tower[0].model, config)
        return tower


class Miscounts(Honest):
    @property
    def trainable_params(self) -> int:
        return super().trainable_params + 1


class DoesNotMove(Honest):
    def finish(self, data: TrainingData, report: FitReport) -> dict[str, Any]:
        base = dict(self.resources.model.load().named_parameters())
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                parameter.copy_(base[name])
        return {}


class MovesTheFrozenPart(Honest):
    def on_step(self, tower: Any, step: int, total: int) -> None:
        with torch.no_grad():
            tower[0].model.embeddings.word_embeddings.weight[0, 0] += 1e-7


class ReplacesTheFrozenPart(Honest):
    def attach(self, tower: Any) -> Any:
        with torch.no_grad():
            tower[0].model.embeddings.word_embeddings.weight.mul_(1.001)
        return super().attach(tower)


class UnmergesBySubtraction(Honest):
    @contextmanager
    def fold(self, tower: Any) -> Iterator[None]:
        weight = tower[0].model.embeddings.word_embeddings.weight
        weight.data += 0.1234
        yield
        weight.data -= 0.1234


class ChangesTheLentModel(Honest):
    def finish(self, data: TrainingData, report: FitReport) -> dict[str, Any]:
        self.resources.encoder.model[0].model.embeddings.word_embeddings.weight.data += 1.0
        return {}


class PoolsPadding(Honest):
    def attach(self, tower: Any) -> Any:
        tower[0].register_forward_hook(_whole_mask)
        return super().attach(tower)


def _whole_mask(module: Any, args: Any, features: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {**features, "attention_mask": torch.ones_like(features["attention_mask"])}


class TakesPositions(Honest):
    """Lets texts be longer than the model has positions."""

    def attach(self, tower: Any) -> Any:
        tower.max_seq_length += 4
        return super().attach(tower)


class ForgetsOnLoad(Honest):
    def load(self, folder: Path) -> None:
        """Nothing is read."""


class ForgetsOnSave(Honest):
    def save(self, folder: Path) -> None:
        """Nothing is written."""


class StaysAttached(Honest):
    removable = True

    @contextmanager
    def detached(self) -> Iterator[None]:
        yield


class NeverComesBack(Honest):
    removable = True

    @contextmanager
    def detached(self) -> Iterator[None]:
        base = dict(self.resources.model.load().named_parameters())
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                parameter.copy_(base[name])
        yield


class Overruns(Honest):
    """Trains two steps more than it may, and reports what it was allowed."""

    def fit(self, data: TrainingData, budget: Budget, seed: int) -> FitReport:
        assert budget.steps is not None
        report = super().fit(data, replace(budget, steps=budget.steps + 2), seed)
        report.steps = budget.steps
        return report


class HidesSteps(Honest):
    def fit(self, data: TrainingData, budget: Budget, seed: int) -> FitReport:
        report = super().fit(data, budget, seed)
        report.steps -= 1
        return report


class HidesSeconds(Honest):
    def fit(self, data: TrainingData, budget: Budget, seed: int) -> FitReport:
        with self.resources.meter.excluded():
            return super().fit(data, budget, seed)


class IgnoresTheSeed(Honest):
    calls = 0

    def fit(self, data: TrainingData, budget: Budget, seed: int) -> FitReport:
        type(self).calls += 1
        return super().fit(data, budget, seed + self.calls)


def test_an_honest_strategy_keeps_all_clauses(tiny_bert: BaseModel, reload_process: ReloadProcess) -> None:
    findings = check(Honest, tiny_bert, reload_process=reload_process)

    assert [finding.clause for finding in findings] == list(CLAUSES)
    assert all(finding.ok for finding in findings), "\n".join(map(str, findings))


def test_a_unit_that_is_off_at_the_start_is_no_fault(tiny_bert: BaseModel, reload_process: ReloadProcess) -> None:
    (finding,) = check(StartsOff, tiny_bert, names=["trains"], reload_process=reload_process, steps=2)

    assert finding.ok, finding.detail


@pytest.mark.parametrize(("late_fits", "ok", "fits"), [(0, True, 1), (2, True, 3), (9, False, 3)])
def test_what_clocks_tell_counts_if_three_fits_show_it(late_fits: int, ok: bool, fits: int) -> None:
    seen: list[int] = []

    def by_the_clock(evidence: Any) -> str:
        seen.append(evidence.fit)
        if evidence.fit < late_fits:
            raise ClockViolation("late")
        return "in time"

    class Fits(SimpleNamespace):
        def again(self) -> Any:
            return Fits(fit=self.fit + 1)

    evidence: Any = Fits(fit=0)
    assert Clause("budget", (by_the_clock,), "").examine(evidence).ok == ok
    assert seen == list(range(fits))


@pytest.mark.parametrize(
    ("strategy", "clause", "message"),
    [
        (AttachesNothing, "trains", "attaches nothing"),
        (IsNotUsed, "trains", "no gradient reaches 0.unused"),
        (GoesToTheWrongAttribute, "trains", "wrong attribute"),
        (Miscounts, "trains", "have requires_grad"),
        (DoesNotMove, "trains", "no answer differs from the base model's"),
        (MovesTheFrozenPart, "frozen", "frozen tensors changed while the strategy was trained"),
        (ReplacesTheFrozenPart, "frozen", "neither trainable nor unchanged"),
        (UnmergesBySubtraction, "frozen", "Unmerging by subtraction"),
        (ChangesTheLentModel, "lent", "lent to it has changed"),
        (PoolsPadding, "batch", "padding"),
        (TakesPositions, "inputs", "reads 68 tokens of a text, the base model 64"),
        (ForgetsOnLoad, "reload", "`load` does not put it back"),
        (ForgetsOnSave, "reload", "raised"),
        (StaysAttached, "detach", "differ from the base model's"),
        (NeverComesBack, "detach", "are not back"),
        (Overruns, "budget", "took 4 optimiser steps with a budget of 2"),
        (HidesSteps, "budget", "took 2 optimiser steps and reports 1"),
        (HidesSeconds, "budget", "must not run under `meter.excluded()`"),
        (HidesSeconds, "updates", "time that is not charged"),
        (IgnoresTheSeed, "repeat", "does not follow the seed"),
    ],
)
def test_a_fault_is_found_and_named(
    strategy: type[EncoderStrategy], clause: str, message: str, tiny_bert: BaseModel, reload_process: ReloadProcess
) -> None:
    (finding,) = check(strategy, tiny_bert, names=[clause], reload_process=reload_process, steps=2)

    assert not finding.ok
    assert message in finding.detail, finding.detail


def test_loading_happens_in_another_process_from_the_authors_own_file(
    tmp_path: Path, tiny_bert: BaseModel, reload_process: ReloadProcess
) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from bench.encoders.strategy import EncoderStrategy\n"
        "from bench.strategy.hyperparameters import EncoderConfig\n\n\n"
        "class Mine(EncoderStrategy):\n"
        '    name = "mine"\n\n'
        "    def attach(self, tower):\n"
        "        tower[0].model.encoder.layer[1].requires_grad_(True)\n"
        "        return tower\n",
        encoding="utf-8",
    )

    (finding,) = check("mine(lr=1e-3)", tiny_bert, files=[file], names=["reload"], reload_process=reload_process)

    assert finding.ok, finding.detail


def test_a_mistyped_clause_or_strategy_is_an_error(tiny_bert: BaseModel) -> None:
    with pytest.raises(BenchError, match="did you mean 'budget'"):
        check(Honest, tiny_bert, names=["bugdet"])
    with pytest.raises(BenchError, match="did you mean 'prefix'"):
        check("prefx", tiny_bert)


def test_a_result_reads_as_one_line_that_says_what_to_do() -> None:
    assert str(ClauseResult("batch", True, "fine")).split() == ["ok", "batch", "fine"]
    broken = str(ClauseResult("batch", False, "a fault", "check", "mend it"))
    assert broken.startswith("FAIL batch") and broken.endswith("a fault. What to do: mend it")


def test_a_slow_observer_is_no_fault_of_the_strategy(tiny_bert: BaseModel, monkeypatch: pytest.MonkeyPatch) -> None:
    original = FitObserver._values

    class Slowly(list):  # type: ignore[type-arg]
        """Tensors that take 50 ms to read."""

        def __iter__(self) -> Iterator[torch.Tensor]:
            sleep(0.05)
            return super().__iter__()

    monkeypatch.setattr(FitObserver, "_values", lambda self, parameters: original(self, Slowly(parameters)))
    assert all(result.ok for result in check("bitfit", tiny_bert, names=("budget",)))


def test_without_forks_a_request_is_answered_in_the_process_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(line: str, mark: Callable[[], None]) -> dict[str, str]:
        mark()
        sleep(0.01)
        mark()
        return {"line": line}

    monkeypatch.setattr(subprocess_reload, "_answer", answer)

    found = subprocess_reload._in_this_process("request")

    assert found["line"] == "request" and found["wall_seconds"] >= 0.01 and np.isnan(found["cpu_seconds"])


@pytest.mark.parametrize(("charged", "excluded", "is_kept"), [(7.0, 2.9, True), (4.0, 2.9, False)])
def test_time_that_another_process_measures_and_the_meter_does_not_is_a_fault(
    charged: float, excluded: float, is_kept: bool
) -> None:
    elsewhere = FittedElsewhere(np.zeros(1), [], [], [], [], [], 0, charged, excluded, 10.0, 9.0)
    evidence: Any = SimpleNamespace(fitted_elsewhere=elsewhere)
    evidence.again = lambda: evidence

    result = CLAUSES["process"].examine(evidence)

    assert result.ok == is_kept, result.detail
    assert "10.00 s" in result.detail


@pytest.mark.parametrize(
    ("device", "difference", "is_kept"),
    [("cpu", 0.0, True), ("cpu", 5e-7, False), ("cuda", 5e-7, True), ("cuda", 1e-3, False)],
)
def test_a_second_fit_may_differ_by_rounding_on_a_gpu_alone(device: str, difference: float, is_kept: bool) -> None:
    first, second = np.zeros(3), np.full(3, difference)
    fitted = SimpleNamespace(strategy=SimpleNamespace(trains="encoder"))
    evidence: Any = SimpleNamespace(
        settings=SimpleNamespace(device=device),
        answers=first,
        fitted_elsewhere=SimpleNamespace(answers=second),
        other_development=second,
        fitted=fitted,
    )
    for check_of, clause in ((repeat.other_process, "repeat"), (development.counterfactual, "development")):
        result = Clause(clause, (check_of,), "").examine(evidence)
        assert result.ok == is_kept, result.detail
