"""Costs: FLOPs by formula against torch's counter; memory, latency and throughput of known work."""

from __future__ import annotations

import gc
import subprocess
import sys
import time
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from bench.evaluation import cost
from bench.evaluation.cost import PeakMemory, environment, latency, throughput
from bench.evaluation.flops import flop_model
from bench.models.architectures import set_transformer, transformer_of
from bench.models.base import BaseModel

BATCH, LENGTH = 4, 48


def _counted(model: Any, backward: bool) -> int:
    """Return torch's count under the math attention kernel, the only one that it counts on the CPU."""
    features = {
        "input_ids": torch.randint(5, 50, (BATCH, LENGTH)),
        "attention_mask": torch.ones(BATCH, LENGTH, dtype=torch.long),
    }
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        output = model(features)["sentence_embedding"]
        if backward:
            output.sum().backward()
    return int(counter.get_total_flops())


def test_forward_flops_agree_with_torch(tiny_model: BaseModel) -> None:
    model = tiny_model.load()
    expected = _counted(model, backward=False)
    assert flop_model(model).forward(BATCH * LENGTH, LENGTH) == pytest.approx(expected, rel=0.01)


def test_training_flops_of_full_fine_tuning_agree_with_torch(tiny_model: BaseModel) -> None:
    model = tiny_model.load().requires_grad_(True)
    expected = _counted(model, backward=True)
    assert flop_model(model).training(BATCH * LENGTH, LENGTH) == pytest.approx(expected, rel=0.01)


def test_a_gradient_that_ends_half_way_costs_less(tiny_bert: BaseModel) -> None:
    model = tiny_bert.load().requires_grad_(False)
    transformer_of(model).encoder.layer[1].requires_grad_(True)
    expected = _counted(model, backward=True)
    assert flop_model(model).training(BATCH * LENGTH, LENGTH) == pytest.approx(expected, rel=0.01)


def test_a_wrapped_layer_is_counted_once(tiny_bert: BaseModel) -> None:
    from peft import LoraConfig, get_peft_model

    model = tiny_bert.load()
    plain = flop_model(model).linear
    set_transformer(model, get_peft_model(transformer_of(model), LoraConfig(r=2, target_modules=["query", "value"])))
    assert flop_model(model).linear == plain + 2 * 2 * (2 * 32 * 2)  # blocks x modules x (A and B)
    expected = _counted(model, backward=True)
    assert flop_model(model).training(BATCH * LENGTH, LENGTH) == pytest.approx(expected, rel=0.05)


def test_peak_memory_is_net_of_earlier_memory_and_includes_freed_memory() -> None:
    held = np.ones(40_000_000)
    with PeakMemory() as peak:
        passing = np.ones(25_000_000)
        time.sleep(0.1)
        del passing
    assert 150e6 < peak.bytes < 350e6
    assert held.nbytes == 320_000_000


def test_uncollected_garbage_does_not_hide_a_peak() -> None:
    gc.collect()
    left: list[Any] = [np.ones(40_000_000)]
    left.append(left)
    del left
    assert 150e6 < _peak_of_200_mb() < 350e6


def test_the_heap_of_an_earlier_fit_does_not_hide_a_peak() -> None:
    for _ in range(2):  # freed once, blocks of this size are taken from the heap from then on
        left = [np.ones(125_000) for _ in range(400)]
        last = [np.ones(12_500) for _ in range(4)]  # keep the end of the heap, so that the rest stays in the process
        del left
    assert 150e6 < _peak_of_200_mb() < 350e6
    assert len(last) == 4


def _peak_of_200_mb() -> int:
    with PeakMemory() as peak:
        gc.collect()
        passing = np.ones(25_000_000)
    assert passing.nbytes == 200_000_000
    return peak.bytes


class Clock:
    """A clock that stands still between pieces of work."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds = 0.0
        monkeypatch.setattr(cost.time, "perf_counter", lambda: self.seconds)

    def work(self, milliseconds: float) -> None:
        self.seconds += milliseconds / 1000


def test_throughput_is_that_of_an_even_sample_without_the_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, calls = Clock(monkeypatch), []

    def encode(texts: Sequence[str]) -> None:
        calls.append(list(texts))
        clock.work(2 * len(texts))

    texts = [str(number) for number in range(1100)]
    assert throughput(encode, texts) == pytest.approx(500)
    assert [len(call) for call in calls] == [8, 512]
    assert calls[1][:3] == ["0", "2", "4"]


def test_latency_leaves_out_the_warm_up_and_repeats_a_small_set_of_queries(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, searched = Clock(monkeypatch), list[str]()

    def search(queries: dict[str, str]) -> None:
        searched.extend(queries)
        clock.work(100 if len(searched) <= 10 else 10 if len(searched) <= 190 else 30)

    found = latency(search, {"b": "two", "a": "one", "c": "three"})
    assert len(searched) == 210 and searched[:4] == ["a", "b", "c", "a"]
    assert (found.p50, found.p95) == pytest.approx((10, 30))
    assert found.base_p50 is None and found.times_base is None


def test_latency_is_a_multiple_of_the_base_models_encoding_on_a_machine_that_slows_down(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, calls = Clock(monkeypatch), [0]

    def encode(text: str) -> None:
        calls[0] += 1
        clock.work(1 + calls[0] / 1000)  # 60% slower at the end than at the start

    def search(queries: dict[str, str]) -> None:
        encode("")
        encode("")

    found = latency(search, {str(number): "text" for number in range(200)}, encode)
    assert found.times_base == pytest.approx(2, rel=0.05)
    assert found.p95 > 1.1 * found.p50


def test_the_environment_names_machine_and_versions() -> None:
    found = environment()
    assert found["machine"] and found["memory_bytes"] > 0
    assert found["libraries"]["torch"].startswith(torch.__version__.split("+")[0])


class Machine:
    """Four processors, of which this process may use two, and clocks that are turned by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.wall, self.own, self.reference = 100.0, 50.0, 0.001
        self.busy, self.stolen = [70.0, 60.0, 50.0, 40.0], 0.0
        monkeypatch.setattr(cost.os, "sched_getaffinity", lambda process: {1, 3}, raising=False)
        monkeypatch.setattr(cost.time, "perf_counter", lambda: self.wall)
        monkeypatch.setattr(cost, "_own_seconds", lambda: self.own)
        monkeypatch.setattr(cost, "_reference_seconds", lambda: self.reference)
        monkeypatch.setattr(cost.psutil, "cpu_times", self._times)

    def _times(self, percpu: bool) -> list[Any]:
        assert percpu
        return [SimpleNamespace(user=busy, idle=self.wall, iowait=9.0, steal=self.stolen / 2) for busy in self.busy]

    def meanwhile(self, wall: float, own: float, others: float, elsewhere: float = 0.0) -> None:
        """Let time go by: seconds on the clock, of this process, of others here, of others on the other processors."""
        self.wall += wall
        self.own += own
        for number, seconds in enumerate((elsewhere, own, elsewhere, others)):
            self.busy[number] += seconds


@pytest.mark.parametrize(
    ("threads", "own", "others", "share"),
    [
        (2, 10.0, 10.0, 0.5),  # a whole processor is lost
        (0, 10.0, 10.0, 0.5),  # as many threads as processors
        (2, 13.0, 0.0, 0.0),  # alone: what is not parallel leaves a processor idle
        (2, 19.0, 1.0, 0.05),
        (1, 10.0, 10.0, 0.0),  # a second job has the other processor
        (1, 6.0, 14.0, 0.4),
        (1, 7.0, 0.0, 0.3),  # what takes time away without being seen: a quota, a slow disk
    ],
)
def test_contention_is_the_share_of_the_threads_time_that_others_had(
    threads: int, own: float, others: float, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(monkeypatch)
    contention = cost.Contention(threads)
    machine.meanwhile(10.0, own, others, elsewhere=10.0)
    assert contention.measure()["share"] == pytest.approx(share)


def test_contention_counts_time_stolen_by_the_hypervisor_and_a_slower_reference(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = Machine(monkeypatch)
    contention = cost.Contention(2)
    machine.meanwhile(10.0, 16.0, 0.0)
    machine.stolen = 4.0
    found = contention.measure()
    assert (found["taken"], found["share"]) == pytest.approx((0.2, 0.2))
    machine.reference *= 4
    found = contention.measure()
    assert (found["reference_slowdown"], found["share"]) == pytest.approx((3.0, 0.75)), "a share, however slow it got"


def test_contention_is_zero_where_the_counters_are_too_coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    contention = cost.Contention(2)
    machine.meanwhile(0.02, 0.02, 0.01)
    assert contention.measure()["share"] == 0


_BURN = "import time\nwhile time.process_time() < .3: pass\nprint(flush=True)"


def test_the_work_of_children_is_not_other_work() -> None:
    before = cost._own_seconds()
    subprocess.run([sys.executable, "-c", _BURN], check=True, capture_output=True)
    assert cost._own_seconds() - before >= 0.29
    before = cost._own_seconds()
    command = [sys.executable, "-c", _BURN + "\ntime.sleep(60)"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        alive = cost._own_seconds() - before
        child.kill()
    assert alive >= 0.29


def test_the_system_counts_the_work_of_this_process() -> None:
    processors = cost._processors()
    before, until = cost._busy_seconds(processors), time.process_time() + 0.3
    while time.process_time() < until:
        pass
    assert cost._busy_seconds(processors) - before >= 0.2
