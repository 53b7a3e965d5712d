"""The GPU script runs on the CPU too, so that it works on the day a GPU is at hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest

from bench.evaluation import cost
from bench.retrieval.encode import Encoder
from bench.training import train
from bench.training.encoder_task import EncoderTask
from tools import gpu_check


@pytest.fixture
def options(tiny_folder: Callable[[str], Path], beir_folder: Path) -> gpu_check.Options:
    """The CPU, a tiny model, and sixteen texts."""
    return gpu_check.Options("cpu", str(tiny_folder("bert")), beir_folder.name, beir_folder.parent, texts=16)


@pytest.mark.parametrize(
    ("check", "subject"),
    [
        ("encoding", ""), ("contract", "lora"), ("steps", "lora"), ("steps", "prefix"), ("steps", "simcse"),
        ("two-fits", ""), ("speed-encode", ""), ("speed-train", "lora"),
    ],
)  # fmt: skip
def test_every_check_passes_on_the_cpu(check: str, subject: str, options: gpu_check.Options) -> None:
    line = gpu_check.perform(gpu_check.Task(check, subject), options)
    assert line["ok"], line
    json.dumps(line)


class Allocator:
    """Stands for a device that counts bytes exactly: resident memory of a tiny model varies more than a batch takes."""

    texts_at_once: list[int]
    """The piece of each run of steps until now, of all fits; 0 is the whole batch of 16 queries and documents."""

    def __init__(self, device: str) -> None:
        self._start = len(self.texts_at_once)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.bytes = self.so_far

    @property
    def so_far(self) -> int:
        return max(100 * (piece or 32) for piece in self.texts_at_once[self._start :])


@pytest.mark.parametrize("kept", [True, False])
def test_a_budget_of_memory_that_is_not_kept_fails(
    kept: bool, options: gpu_check.Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, texts_at_once = EncoderTask.run_steps, list[int]()

    def run_steps(self: EncoderTask, *args: Any, **kwargs: Any) -> None:
        texts_at_once.append(self.mini_batch)
        plain(self, *args, **kwargs)

    monkeypatch.setattr(EncoderTask, "run_steps", run_steps)
    monkeypatch.setattr(Allocator, "texts_at_once", texts_at_once, raising=False)
    monkeypatch.setattr(cost, "PeakMemory", Allocator)
    if not kept:
        monkeypatch.setattr(train, "fit_into_memory", lambda *args: "")
    line = gpu_check.perform(gpu_check.Task("memory", "full"), options)
    assert line["ok"] is kept and line["whole_bytes"] == 3_200, line
    assert line["bytes"] < line["limit_bytes"] or not kept


def test_vectors_that_differ_fail(options: gpu_check.Options, monkeypatch: pytest.MonkeyPatch) -> None:
    encode = Encoder.uncached

    def noisy(self: Encoder, texts: list[str], kind: str) -> np.ndarray:
        vectors = encode(self, texts, kind)  # type: ignore[arg-type]
        return vectors + 0.05 * np.random.default_rng().standard_normal(vectors.shape).astype(np.float32)

    monkeypatch.setattr(Encoder, "uncached", noisy)
    assert not gpu_check.perform(gpu_check.Task("encoding"), options)["ok"]


def test_what_a_check_raises_is_its_line_and_fails_the_script(
    options: gpu_check.Options, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "gpu.jsonl"
    code = gpu_check.main(
        ["--device", "cpu", "--model", str(tmp_path / "no-model"), "--only", "encoding", "--out", str(out)]
    )
    (line,) = map(json.loads, out.read_text(encoding="utf-8").splitlines())
    assert code == 1 and not line["ok"] and "no-model" in line["error"]
    assert json.loads(capsys.readouterr().out) == line


def test_every_strategy_of_the_registry_is_checked() -> None:
    roots = {expression.partition("(")[0] for expression in gpu_check.expressions_of_the_registry()}
    files = {path.stem.replace("_", "-") for path in Path("strategies").glob("[a-z]*.py")}
    assert files - roots == set(gpu_check._LEFT_OUT)


def test_checks_out_of_time_are_named(options: gpu_check.Options) -> None:
    (line,) = gpu_check._lines([gpu_check.Task("encoding")], options, workers=1, deadline=0)
    assert line["ok"] is False and line["error"] == "not started: out of time"
