"""What a finished run gives besides exports: similarities, measures, tracked curves and ONNX."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from bench.cli import main
from bench.config.schema import from_mapping
from bench.data.dataset import Dataset
from bench.data.locate import load_dataset
from bench.errors import BenchError
from bench.exporting.selection import FitSelection, execution_settings, select_fit
from bench.planning.plan import plan
from bench.running.environment import JobEnvironment
from bench.store.store import Store
from bench.training.tracking import Tracking, require_trackers

PAIR = ("what happens to the tide in the harbour?", "The tide of the harbour is checked every morning.")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))


# --- similarity -----------------------------------------------------------------------------------------------------


def test_two_texts_are_compared_before_and_after(finished_run: Store, capsys: Any) -> None:
    assert main(["similarity", str(finished_run.folder), *PAIR, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert sorted((row["strategy"], row["seed"]) for row in rows) == [("frozen", None), ("lora", 0), ("lora", 1)]
    assert len({row["before"] for row in rows}) == 1
    for row in rows:
        with JobEnvironment(finished_run, execution_settings(finished_run)) as environment:
            strategy: Any = environment.strategy(row["fit"])
            encoder = strategy.encoder if row["strategy"] == "lora" else strategy.resources.encoder
            one, two = encoder.uncached(list(PAIR), "document")
        assert row["after"] == pytest.approx(float(one @ two), abs=1e-5)
        assert row["change"] == pytest.approx(row["after"] - row["before"])
        assert (abs(row["change"]) > 1e-4) == (row["strategy"] == "lora")


def test_a_selection_limits_the_similarities_to_one_fit(finished_run: Store, capsys: Any) -> None:
    assert main(["similarity", str(finished_run.folder), *PAIR, "--strategy", "lora", "--seed", "1", "--query"]) == 0
    printed = capsys.readouterr().out
    assert "lora" in printed and "10 steps" in printed and "frozen" not in printed


def test_a_strategy_without_similarity_is_refused(finished_run: Store, capsys: Any) -> None:
    assert main(["similarity", str(finished_run.folder), *PAIR, "--strategy", "bm25"]) == 2
    assert "bm25 ranks documents and has no similarity" in capsys.readouterr().err


# --- measures of ir_measures ----------------------------------------------------------------------------------------


def test_measures_of_ir_measures_are_in_the_records(finished_run: Store) -> None:
    import ir_measures

    cell = next(cell for cell in finished_run.results() if cell.strategy == "frozen")
    run = finished_run.ranking(cell.cell).as_run()
    dataset = load_dataset(finished_run.invocations()[-1]["config"]["datasets"][0])
    assert isinstance(dataset, Dataset)
    qrels = dataset.qrels("test")
    expected = ir_measures.calc_aggregate([ir_measures.parse_measure("Judged@10")], qrels, run)
    assert cell.metrics["Judged@10"] == pytest.approx(next(iter(expected.values())))
    assert "P(rel=1)@5" in cell.metrics or "P@5" in cell.metrics or "precision@5" in cell.metrics


# --- trackers -------------------------------------------------------------------------------------------------------


def test_a_tracker_follows_each_training(finished_run: Store) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    fits = [fit for fit in finished_run.fits() if fit.strategy == "lora"]
    assert {path.name for path in (finished_run.folder / "tracking").iterdir()} == {fit.fit for fit in fits}
    for fit in fits:
        events = EventAccumulator(str(finished_run.folder / "tracking" / fit.fit)).Reload()
        losses = [event.value for event in events.Scalars("train/loss")]
        assert len(losses) == fit.report["steps"]
        scored = {event.step: event.value for event in events.Scalars("eval/ndcg@10")}
        curve = finished_run.curve(fit.fit).dropna(subset=["dev"])
        np.testing.assert_allclose([scored[step] for step in curve["step"]], curve["dev"], rtol=1e-5)
        np.testing.assert_allclose(losses, finished_run.curve(fit.fit)["loss"], atol=1e-3)


def test_tracking_does_not_change_the_name_of_a_fit(finished_run: Store) -> None:
    config = from_mapping(finished_run.invocations()[-1]["config"])
    untracked = config.replace(report_to=())
    assert [fit.name for fit in plan(untracked).fits] == [fit.name for fit in plan(config).fits]


def test_a_tracker_that_is_not_installed_is_named_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(BenchError, match=r"--report-to tensorboard.*pip install 'adaptbench\[track\]'"):
        require_trackers(["tensorboard"])


def test_tracking_restores_the_environment_after_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    tracking = Tracking(("tensorboard",), tmp_path, "fit")
    for before in ("elsewhere", None):
        monkeypatch.delenv("TENSORBOARD_LOGGING_DIR", raising=False)
        if before:
            monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", before)
        with tracking.folders():
            assert os.environ["TENSORBOARD_LOGGING_DIR"] == str(tmp_path)
        assert os.environ.get("TENSORBOARD_LOGGING_DIR") == before


def test_trackers_that_the_trainer_leaves_open_are_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process of a job ends without Python's exit handlers: what a tracker holds back would be lost."""
    ended = list[str]()
    for name, function in (("wandb", "finish"), ("swanlab", "finish"), ("comet_ml", "end")):
        module = ModuleType(name)
        setattr(module, function, lambda name=name: ended.append(name))
        monkeypatch.setitem(sys.modules, name, module)
    Tracking(("tensorboard", "wandb", "comet_ml"), tmp_path, "fit").finish()
    assert ended == ["wandb", "comet_ml"]


# --- ONNX -----------------------------------------------------------------------------------------------------------


def test_onnx_runtime_gives_the_same_token_vectors(finished_run: Store, tmp_path: Path) -> None:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    import onnxruntime
    from sentence_transformers import SentenceTransformer

    out = tmp_path / "model"
    fit = select_fit(finished_run, FitSelection(strategy="lora"))
    assert main(["export", str(finished_run.folder), "--fit", fit.fit, "--onnx", "--out", str(out)]) == 0
    model = SentenceTransformer(str(out), device="cpu")
    features = model.tokenizer(list(PAIR), padding=True, return_tensors="np")
    session = onnxruntime.InferenceSession(str(out / "onnx" / "model.onnx"))
    names = [each.name for each in session.get_inputs()]
    (hidden,) = session.run(["last_hidden_state"], {name: features[name] for name in names})
    mask = features["attention_mask"][:, :, None]
    pooled = (hidden * mask).sum(1) / mask.sum(1)
    expected = model.encode(list(PAIR))
    np.testing.assert_allclose(pooled / np.linalg.norm(pooled, axis=1, keepdims=True), expected, atol=1e-4)


def test_records_without_weights_can_be_read(finished_run: Store, tmp_path: Path) -> None:
    shutil.copytree(finished_run.folder, tmp_path / "run", ignore=shutil.ignore_patterns("model", "tracking"))
    assert {cell.strategy for cell in Store(tmp_path / "run").results()} == {"bm25", "frozen", "lora"}
