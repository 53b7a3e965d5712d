"""Costs: flops by formula against torch's own counter; memory, latency and throughput of known work."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from bench.baseline import BaseEncoder
from bench.context import Context
from bench.data.dataset import Dataset
from bench.evaluation.cost import PeakMemory, environment, latency, throughput
from bench.evaluation.flops import flop_model
from bench.models import BaseModel

BATCH, LENGTH = 4, 48


def _counted(model: Any, backward: bool) -> int:
    """Count with torch under the math attention kernel, the only one that its counter sees on the CPU."""
    features = {
        "input_ids": torch.randint(5, 50, (BATCH, LENGTH)),
        "attention_mask": torch.ones(BATCH, LENGTH, dtype=torch.long),
    }
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        output = model(features)["sentence_embedding"]
        if backward:
            output.sum().backward()
    return int(counter.get_total_flops())


def test_forward_flops_are_those_that_torch_counts(tiny_model: BaseModel) -> None:
    model = tiny_model.load()
    expected = _counted(model, backward=False)
    assert flop_model(model).forward(BATCH * LENGTH, LENGTH) == pytest.approx(expected, rel=0.05)


def test_training_flops_of_full_fine_tuning_are_those_that_torch_counts(tiny_model: BaseModel) -> None:
    model = tiny_model.load().requires_grad_(True)
    expected = _counted(model, backward=True)
    assert flop_model(model).training(BATCH * LENGTH, LENGTH) == pytest.approx(expected, rel=0.1)


def test_a_gradient_that_ends_half_way_costs_less(tiny_bert: BaseModel) -> None:
    model = tiny_bert.load().requires_grad_(False)
    model[0].model.encoder.layer[1].requires_grad_(True)
    expected = _counted(model, backward=True)
    assert flop_model(model).training(BATCH * LENGTH, LENGTH) == pytest.approx(expected, rel=0.1)


def test_a_wrapped_layer_is_counted_once(tiny_bert: BaseModel) -> None:
    from peft import LoraConfig, get_peft_model

    model = tiny_bert.load()
    plain = flop_model(model).linear
    model[0].model = get_peft_model(model[0].model, LoraConfig(r=2, target_modules=["query", "value"]))
    assert flop_model(model).linear == plain + 2 * 2 * (2 * 32 * 2)  # blocks x modules x (A and B)
    expected = _counted(model, backward=True)
    assert flop_model(model).training(BATCH * LENGTH, LENGTH) == pytest.approx(expected, rel=0.1)


def test_peak_memory_is_net_of_what_was_there_before_and_sees_what_is_gone() -> None:
    held = np.ones(40_000_000)
    with PeakMemory() as peak:
        passing = np.ones(25_000_000)
        time.sleep(0.1)
        del passing
    assert 150e6 < peak.bytes < 350e6
    assert held.nbytes == 320_000_000


def test_what_waits_to_be_collected_hides_nothing_of_a_peak() -> None:
    gc.collect()
    left: list[Any] = [np.ones(40_000_000)]
    left.append(left)
    del left
    assert 150e6 < _peak_of_200_mb() < 350e6


def test_what_an_earlier_fit_left_in_the_heap_hides_nothing_of_a_peak() -> None:
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


def test_latency_and_throughput_are_those_of_the_work_and_bypass_the_cache(
    tiny_bert: BaseModel,
    tiny_context: Callable[..., Context],
    tiny_dataset: Dataset,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Any,
) -> None:
    from bench.retrieval.cache import VectorCache

    context = tiny_context(tiny_bert)
    context.cache = VectorCache(tmp_path)
    strategy = BaseEncoder(None, context)
    index = strategy.index(tiny_dataset.corpus)
    strategy.search(tiny_dataset.queries, index, 10)
    encoder = type(context.encoder)
    batches, calls = encoder._batches, []

    def slow(self: Any, texts: Any, kind: str) -> Any:
        calls.append(kind)
        time.sleep(0.005)
        return batches(self, texts, kind)

    monkeypatch.setattr(encoder, "_batches", slow)
    found = latency(strategy, index, dict(tiny_dataset.queries), base=strategy.context.encoder)
    assert calls.count("query") >= 400
    assert 5 <= found.p50 <= found.p95
    assert found.base_p50 is not None
    assert found.base_p50 >= 5
    assert 0 < throughput(context.encoder, tiny_dataset.corpus.texts) < len(tiny_dataset.corpus) / 0.005
    assert context.cache is not None


def test_latency_is_a_multiple_of_the_base_models_encoding_in_turn(
    tiny_bert: BaseModel, tiny_context: Callable[..., Context], tiny_dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that grows slower from query to query makes both longer, and leaves their quotient."""
    from bench.evaluation import cost

    class Twice(BaseEncoder):
        def search(self, queries: Any, index: Any, top_k: int) -> Any:
            super().search(queries, index, top_k)
            return super().search(queries, index, top_k)

    strategy = Twice(None, tiny_context(tiny_bert))
    index = strategy.index(tiny_dataset.corpus)
    clock, calls = [0.0], [0]
    batches = type(strategy.context.encoder)._batches

    def count(self: Any, texts: Any, kind: str) -> Any:
        calls[0] += 1
        clock[0] += 0.001 * (1 + calls[0] / 1000)  # 60% slower in the end than at the start
        return batches(self, texts, kind)

    monkeypatch.setattr(type(strategy.context.encoder), "_batches", count)
    monkeypatch.setattr(cost.time, "perf_counter", lambda: clock[0])
    found = latency(strategy, index, dict(tiny_dataset.queries), base=strategy.context.encoder)
    assert found.times_base == pytest.approx(2, rel=0.05)
    assert found.p95 > 1.1 * found.p50


def test_the_environment_names_machine_and_versions() -> None:
    found = environment()
    assert found["machine"] and found["memory_bytes"] > 0
    assert found["libraries"]["torch"].startswith(torch.__version__.split("+")[0])
