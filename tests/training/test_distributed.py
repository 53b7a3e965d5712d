"""A fit on two processes ends as on one. A rank that dies ends the fit, and what cannot be shared is refused."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from contextlib import nullcontext
from multiprocessing import Pipe
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from bench.budget import Meter
from bench.config.schema import ConfigError, RunConfig
from bench.encoders.strategy import EncoderStrategy
from bench.errors import BenchError
from bench.models.base import BaseModel
from bench.objectives.contrastive import Contrastive
from bench.planning.plan import plan
from bench.records import FitRecord
from bench.representations.single import Single
from bench.running import ranks
from bench.running.executors import executor_factory
from bench.running.fit import run_fit
from bench.running.process_group import wait_until_gone
from bench.running.run import Run
from bench.running.scorer import Scorer
from bench.store.store import Store
from bench.strategy.resources import Resources
from bench.strategy.settings import TrainingSettings
from bench.training import distributed
from bench.training.distributed import TENSOR_SECONDS, Follower, leave
from bench.training.score_loss import ScoreLoss
from tests.interrupted_strategies import interrupted_strategy

DIES = interrupted_strategy(
    "dies",
    """
    if self.resources.ranks.rank and step == 4 and os.path.exists(os.environ["DEADLY"]):
        os.kill(os.getpid(), signal.SIGKILL)
    """,
)
"""Another rank than the first is killed after four steps, while a file is there."""


@pytest.fixture
def configure(toy_config: Callable[..., RunConfig], tiny_folder: Callable[[str], Path]) -> Callable[..., RunConfig]:
    """Return a function that makes a configuration: six steps of one strategy on the tiny BERT."""

    def config(strategy: str, **changes: Any) -> RunConfig:
        settings = {"batch_size": 7, "evaluations": 6, "selection_floor": 1, "max_grad_norm": 1e6, "warmup": 0}
        return toy_config(
            **{
                "strategies": strategy,
                "baseline": strategy,
                "model": str(tiny_folder("bert")),
                "budget": {"steps": 6},
                "precision": "fp32",
                "threads": 1,
                "set": {f"train.{name}": value for name, value in settings.items()},
                **changes,
            }
        )

    return config


def fitted(config: RunConfig) -> tuple[Store, FitRecord]:
    """Make the last fit of a configuration in this process."""
    run = Run.prepare(config)
    spec, store = run.plan.fits[-1], Store(Path(config.out))
    return store, run_fit(spec, store, Scorer.of(spec, store), run.execution)


def gradient_norm(module: torch.nn.Module) -> float:
    """Return the norm of a module's gradients."""
    return float(torch.nn.utils.get_total_norm([p.grad for p in module.parameters() if p.grad is not None]))


@pytest.mark.parametrize(
    ("strategy", "start_method"),
    [
        ("full(lr=0.001)", ranks.START_METHOD),
        ("lora(lr=0.001)", "fork"),  # a fork spares the imports, which take seconds
        ("lora(lr=0.001,representation=multi,objective=mined(triplet,source=model,refreshes=1))", "fork"),
    ],
)
def test_two_processes_train_as_one_does(
    strategy: str,
    start_method: str,
    configure: Callable[..., RunConfig],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    norms: list[float] = []  # Adam would hide gradients that are all too large
    monkeypatch.setattr(EncoderStrategy, "on_step", lambda self, tower, *_: norms.append(gradient_norm(tower)))
    monkeypatch.setattr(ranks, "START_METHOD", start_method)
    config = configure(strategy)
    alone, one = fitted(config)
    together, two = fitted(config.replace(out=str(tmp_path / "together"), processes_per_fit=2))
    assert (one.status, two.status, two.reason) == ("ok", "ok", "") and one.fit == two.fit
    assert (one.environment["processes"], two.environment["processes"]) == (1, 2)
    first, second = alone.curve(one.fit), together.curve(two.fit)
    assert len(first) == 6 and first["loss"].iloc[-1] != pytest.approx(first["loss"].iloc[0], abs=1e-3)
    assert second["loss"].tolist() == pytest.approx(first["loss"].tolist(), abs=1e-4)
    assert norms[6:] == pytest.approx(norms[:6], rel=1e-3)
    assert two.report["best_dev"] == pytest.approx(one.report["best_dev"], abs=1e-4)
    assert not multiprocessing.active_children()


def test_a_rank_that_is_killed_ends_the_fit_at_once_and_the_next_attempt_resumes(
    configure: Callable[..., RunConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranks, "START_METHOD", "fork")
    file, deadly = tmp_path / "dies.py", tmp_path / "deadly"
    file.write_text(DIES, encoding="utf-8")
    deadly.touch()
    monkeypatch.setenv("DEADLY", str(deadly))
    config = configure("dies", strategy_files=[str(file)], processes_per_fit=2, checkpoint_every=0.001)
    config = config.replace(set={**config.set, "train.dropout": "true", "train.selection_floor": "1000"})
    began = time.monotonic()
    _, record = fitted(config)
    assert record.status == "failed" and record.reason == "rank 1 is gone: the signal SIGKILL ended it"
    assert time.monotonic() - began < TENSOR_SECONDS, "rank 0 does not wait for tensors of a rank that is gone"
    assert not multiprocessing.active_children()
    deadly.unlink()
    store, resumed = fitted(config)
    elsewhere, undisturbed = fitted(config.replace(out=str(tmp_path / "undisturbed")))
    assert (resumed.status, undisturbed.status) == ("ok", "ok")
    assert resumed.environment["resumed_after_step"] in (3, 4), "rank 0 may have ended the step before it took notice"
    losses = [each.curve(resumed.fit)["loss"].tolist() for each in (store, elsewhere)]
    assert losses[0] == losses[1]


def test_a_rank_that_takes_no_message_ends_the_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "TENSOR_SECONDS", 0.05)
    monkeypatch.setattr(distributed, "_NOTICE_SECONDS", 0.0)
    ours, theirs = multiprocessing.Pipe()
    stopped: Any = SimpleNamespace(kill=theirs.close, exitcode=None)
    leader = distributed.Leader([distributed.Peer(1, stopped, ours)], Path())
    with pytest.raises(BenchError, match=r"^rank 1 failed: it took no message for 0\.05 seconds$"):
        leader.shared(lambda: bytes(10_000_000))


@pytest.mark.parametrize(
    ("strategy", "changes", "message"),
    [
        ("linear", {}, "linear trains a head in one process"),
        ("rerank(full)", {}, "rerank trains a head in one process"),
        ("full(objective=tsdae)", {}, "objective tsdae has a loss of its own"),
        ("full", {"tune_trials": 2}, "a trial has one process"),
        ("full", {"processes_per_fit": 8}, "more than the 7 pairs of a batch"),
    ],
)
def test_what_cannot_be_shared_is_refused_when_the_run_is_planned(
    strategy: str, changes: dict[str, Any], message: str, configure: Callable[..., RunConfig]
) -> None:
    with pytest.raises(ConfigError, match=message):
        plan(configure(strategy, **{"processes_per_fit": 2, **changes}))


def test_a_job_needs_as_many_gpus_as_a_fit_has_processes() -> None:
    with pytest.raises(BenchError, match=r"needs slurm\(gpus=4\): a job has 2 GPUs"):
        executor_factory("slurm(cluster=local, gpus=2)", processes=4)


def test_processes_are_part_of_a_fits_name_only_where_time_limits_it(configure: Callable[..., RunConfig]) -> None:
    def names(**changes: Any) -> list[list[str]]:
        plans = (plan(configure("hybrid(full)", **changes, processes_per_fit=number)) for number in (1, 2))
        return [[fit.name for fit in each.fits if fit.root == "full"] for each in plans]

    by_steps, by_time = names(), names(budget={"seconds": 30})
    assert by_steps[0] == by_steps[1] and by_time[0] != by_time[1]


def test_each_second_is_charged_for_all_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("bench.budget.time.perf_counter", lambda: now[0])
    meter = Meter(processes=3)
    meter.start()
    now[0] = 2.0
    with meter.excluded():
        now[0] = 50.0
    meter.charge(10.0)
    meter.stop()
    assert meter.seconds == 3 * (2.0 + 10.0)


def test_a_loss_is_shared_if_a_part_of_it_scores_the_whole_batch(tiny_bert: BaseModel, tmp_path: Path) -> None:
    model = tiny_bert.load("cpu")
    inner: Any = ScoreLoss(Contrastive(None, Resources(tiny_bert)), model, Single(), TrainingSettings(), nullcontext)
    rank = Follower(0, 1, Pipe()[0])
    rank.join(tmp_path / "meeting", "cpu")
    try:
        assert rank.parallel(torch.nn.Sequential(inner)).module[0] is inner  # as adalora puts a penalty around it
        with pytest.raises(BenchError, match="Linear is no loss on scores"):
            rank.parallel(torch.nn.Linear(2, 2))
    finally:
        leave()


TRAINS_ALONE = interrupted_strategy(
    "alone",
    """
    if self.resources.ranks.rank and step == 3:
        import subprocess
        import torch

        child = subprocess.Popen(["sleep", "600"], start_new_session=True)
        with open(os.environ["CHILD"], "w") as file:
            file.write(str(child.pid))
        optimiser = torch.optim.SGD(tower.parameters(), lr=0.01)
        for _ in range(20):
            optimiser.step()
    """,
)
"""Another rank than the first takes steps of its own, and leaves a process behind."""


def test_another_rank_trains_no_more_than_the_first_and_leaves_no_process_behind(
    configure: Callable[..., RunConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranks, "START_METHOD", "fork")
    file, child = tmp_path / "alone.py", tmp_path / "child"
    file.write_text(TRAINS_ALONE, encoding="utf-8")
    monkeypatch.setenv("CHILD", str(child))
    _, record = fitted(configure("alone", strategy_files=[str(file)], processes_per_fit=2))
    assert record.status == "failed"
    assert record.reason == "on rank 1, optimisers took 26 steps, 6 are accounted for"
    assert wait_until_gone(int(child.read_text(encoding="utf-8")), 10)
