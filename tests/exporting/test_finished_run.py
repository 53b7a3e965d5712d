"""What else a finished run answers: the similarity of two texts, its table, and what was told to a tracker."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.cli import main
from bench.config.schema import from_mapping
from bench.errors import BenchError
from bench.exporting.choice import Wanted, choose, setup_of
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
        with JobEnvironment(finished_run, setup_of(finished_run)) as environment:
            strategy: Any = environment.strategy(row["fit"])
            encoder = strategy.encoder if row["strategy"] == "lora" else strategy.resources.encoder
            one, two = encoder.uncached(list(PAIR), "document")
        assert row["after"] == pytest.approx(float(one @ two), abs=1e-5)
        assert row["change"] == pytest.approx(row["after"] - row["before"])
        assert (abs(row["change"]) > 1e-4) == (row["strategy"] == "lora")


def test_one_fit_is_meant_where_it_is_named(finished_run: Store, capsys: Any) -> None:
    assert main(["similarity", str(finished_run.folder), *PAIR, "--strategy", "lora", "--seed", "1", "--query"]) == 0
    said = capsys.readouterr().out
    assert "lora" in said and "10 steps" in said and "frozen" not in said


def test_what_has_no_similarity_says_so(finished_run: Store, capsys: Any) -> None:
    assert main(["similarity", str(finished_run.folder), *PAIR, "--strategy", "bm25"]) == 2
    assert "bm25 ranks documents and has no similarity" in capsys.readouterr().err


# --- measures of ir_measures ----------------------------------------------------------------------------------------


def test_measures_of_ir_measures_are_in_the_records(finished_run: Store) -> None:
    import ir_measures

    cell = next(cell for cell in finished_run.results() if cell.strategy == "frozen")
    run = finished_run.ranking(cell.cell).as_run()
    with JobEnvironment(finished_run, setup_of(finished_run)) as environment:
        config = finished_run.invocations()[-1]["config"]
        qrels = environment.dataset(config["datasets"][0]).qrels("test")  # type: ignore[union-attr]
    wanted = ir_measures.calc_aggregate([ir_measures.parse_measure("Judged@10")], qrels, run)
    assert cell.metrics["Judged@10"] == pytest.approx(next(iter(wanted.values())))
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


def test_following_is_no_part_of_an_identity(finished_run: Store) -> None:
    config = from_mapping(finished_run.invocations()[-1]["config"])
    unfollowed = config.replace(report_to=())
    assert [fit.name for fit in plan(unfollowed).fits] == [fit.name for fit in plan(config).fits]


def test_a_tracker_that_is_not_installed_is_named_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(BenchError, match=r"--report-to tensorboard.*pip install 'adaptbench\[track\]'"):
        require_trackers(["tensorboard"])


def test_the_environment_is_as_before_once_a_training_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    tracking = Tracking(("tensorboard",), tmp_path, "fit")
    for before in ("elsewhere", None):
        monkeypatch.delenv("TENSORBOARD_LOGGING_DIR", raising=False)
        if before:
            monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", before)
        with tracking.folders():
            assert os.environ["TENSORBOARD_LOGGING_DIR"] == str(tmp_path)
        assert os.environ.get("TENSORBOARD_LOGGING_DIR") == before


# --- ONNX -----------------------------------------------------------------------------------------------------------


def test_onnx_runtime_gives_the_same_token_vectors(finished_run: Store, tmp_path: Path) -> None:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    import onnxruntime
    from sentence_transformers import SentenceTransformer

    out = tmp_path / "model"
    fit = choose(finished_run, Wanted(strategy="lora"))
    assert main(["export", str(finished_run.folder), "--fit", fit.fit, "--onnx", "--out", str(out)]) == 0
    model = SentenceTransformer(str(out), device="cpu")
    features = model.tokenizer(list(PAIR), padding=True, return_tensors="np")
    session = onnxruntime.InferenceSession(str(out / "onnx" / "model.onnx"))
    names = [each.name for each in session.get_inputs()]
    (hidden,) = session.run(["last_hidden_state"], {name: features[name] for name in names})
    mask = features["attention_mask"][:, :, None]
    pooled = (hidden * mask).sum(1) / mask.sum(1)
    wanted = model.encode(list(PAIR))
    np.testing.assert_allclose(pooled / np.linalg.norm(pooled, axis=1, keepdims=True), wanted, atol=1e-4)


def test_records_without_weights_still_make_a_table(finished_run: Store, tmp_path: Path) -> None:
    shutil.copytree(finished_run.folder, tmp_path / "run", ignore=shutil.ignore_patterns("model", "tracking"))
    assert {cell.strategy for cell in Store(tmp_path / "run").results()} == {"bm25", "frozen", "lora"}
