"""`bench export` from a run to a folder: selection, model card, archive and refusals."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from bench.cli import main
from bench.data.dataset import Dataset
from bench.data.splits import seen_by, training_data
from bench.errors import BenchError, StoreError
from bench.exporting import refit as refitting
from bench.exporting.folder import ExportOptions, export
from bench.exporting.selection import FitSelection, execution_settings, select_fit
from bench.objectives import joint
from bench.readers.adaptation import SftOptions
from bench.readers.lessons import Lesson
from bench.readers.local import LocalReader
from bench.readers.tuning import Tuned
from bench.running.environment import JobEnvironment
from bench.running.scorer import TrainingRequest
from bench.store.store import Store

TEXTS = ["what happens to the tide in the harbour?", "The kiln of the pottery was repaired."]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))


def lora(store: Store, seed: int = 0) -> str:
    return next(fit.fit for fit in store.fits() if fit.strategy == "lora" and fit.seed == seed)


def vectors(store: Store, fit: str) -> np.ndarray:
    with JobEnvironment(store, execution_settings(store)) as environment:
        strategy: Any = environment.strategy(fit)
        return np.asarray(strategy.encoder.uncached(TEXTS, "document"))


# --- selection ------------------------------------------------------------------------------------------------------


def test_among_seeds_development_data_chooses(finished_run: Store) -> None:
    scores = {fit.seed: fit.report["best_dev"] for fit in finished_run.fits() if fit.strategy == "lora"}
    best = max(scores.values())
    expected = min(seed for seed, score in scores.items() if score == best)  # type: ignore[type-var]
    assert select_fit(finished_run, FitSelection(strategy="lora")).seed == expected


def test_a_selection_needs_only_what_makes_it_unique(finished_run: Store) -> None:
    assert select_fit(finished_run, FitSelection(strategy="lora", seed=1)).fit == lora(finished_run, 1)
    assert select_fit(finished_run, FitSelection(strategy="lora", budget="10 steps", seed=0)).fit == lora(finished_run)
    assert select_fit(finished_run, FitSelection(fit=lora(finished_run, 1))).seed == 1
    assert select_fit(finished_run, FitSelection(strategy="frozen", budget="10 steps")).strategy == "frozen"
    with pytest.raises(BenchError, match=r"differ in strategy: .* --strategy. There are: bm25, frozen, lora"):
        select_fit(finished_run, FitSelection())


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        (FitSelection(strategy="lorra"), "unknown strategy of this run 'lorra', did you mean 'lora'"),
        (FitSelection(strategy="lora", dataset="tinny"), "did you mean 'tiny'"),
        (FitSelection(strategy="lora", budget="11 steps"), "did you mean '10 steps'"),
        (FitSelection(strategy="lora", seed=7), "unknown seed of this run '7'"),
        (FitSelection(fit="nothing"), "unknown fit 'nothing'"),
    ],
)
def test_a_selection_that_matches_nothing_is_refused_with_a_suggestion(
    finished_run: Store, selection: FitSelection, message: str
) -> None:
    with pytest.raises(BenchError, match=message):
        select_fit(finished_run, selection)


def test_an_empty_folder_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="holds no fit"):
        select_fit(Store(tmp_path), FitSelection())


# --- a folder -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def exported(finished_run: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`lora`, seed 0, exported with an archive beside it."""
    out = tmp_path_factory.mktemp("export") / "model"
    code = main(
        ["export", str(finished_run.folder), "--strategy", "lora", "--seed", "0", "--out", str(out), "--archive"]
    )
    assert code == 0
    return out


def test_the_folder_gives_the_strategys_embeddings(finished_run: Store, exported: Path) -> None:
    from sentence_transformers import SentenceTransformer

    embeddings = SentenceTransformer(str(exported), device="cpu").encode_document(TEXTS)
    np.testing.assert_allclose(embeddings, vectors(finished_run, lora(finished_run)), atol=2e-5)


def test_the_card_gives_the_measurements(finished_run: Store, exported: Path) -> None:
    card = (exported / "README.md").read_text(encoding="utf-8")
    cell = next(cell for cell in finished_run.results() if cell.fit == lora(finished_run))
    front = yaml.safe_load(card.split("---")[1])
    assert front["base_model"] == "tiny-bert" and front["library_name"] == "sentence-transformers"
    metrics = {each["type"]: each["value"] for each in front["model-index"][0]["results"][0]["metrics"]}
    assert metrics["ndcg_at_10"] == pytest.approx(cell.metrics["ndcg@10"], abs=1e-5)
    row = next(line for line in card.splitlines() if line.startswith("| ndcg@10"))
    base = next(cell for cell in finished_run.results() if cell.strategy == "frozen")
    assert f"{base.metrics['ndcg@10']:.3f}" in row and f"{cell.metrics['ndcg@10']:.3f}" in row and " to " in row
    forgotten = next(line for line in card.splitlines() if line.startswith("| other"))
    assert f"{cell.forgetting['other']['before']:.3f}" in forgotten
    assert "8 judged queries, 48 texts" in card
    assert "10 steps" in card and "lr 0.01" in card and "r 4" in card and "32 training pairs" in card
    assert "| train seconds |" in card and "encode_query" in card and "Base model: unknown" in card


def test_the_archive_serves_without_adaptbench(exported: Path, tmp_path: Path) -> None:
    with tarfile.open(exported.parent / "model.tar.gz") as tar:
        tar.extractall(tmp_path, filter="data")
    assert "sentence-transformers==" in (tmp_path / "code" / "requirements.txt").read_text()
    program = (
        "import json, sys\nsys.path.insert(0, sys.argv[1] + '/code')\nimport inference\n"
        "model = inference.model_fn(sys.argv[1])\n"
        "one = inference.predict_fn({'inputs': 'the tide', 'task': 'query'}, model)\n"
        "two = inference.predict_fn({'inputs': ['the tide', 'a kiln']}, model)\n"
        "try:\n    inference.predict_fn({'inputs': []}, model)\nexcept ValueError as error:\n    message = str(error)\n"
        "assert not {'bench', 'strategies'} & set(sys.modules)\n"
        "sys.stdout.write('FOUND ' + json.dumps([one, two, message]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", program, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    one, two, message = json.loads(done.stdout.partition("FOUND ")[2])
    assert np.shape(one["embeddings"]) == (1, 32) and np.shape(two["embeddings"]) == (2, 32)
    assert "'inputs' must be" in message


def test_the_same_export_packs_the_same_bytes(exported: Path, tmp_path: Path) -> None:
    from bench.exporting.folder import write_archive

    write_archive(exported, tmp_path / "again.tar.gz")
    assert (tmp_path / "again.tar.gz").read_bytes() == (exported.parent / "model.tar.gz").read_bytes()


def test_an_adapter_is_exported_alone_with_separate(finished_run: Store, tmp_path: Path, capsys: Any) -> None:
    from peft import PeftModel
    from sentence_transformers import SentenceTransformer

    out = tmp_path / "adapter"
    arguments = ["--strategy", "lora", "--seed", "0", "--separate", "--out", str(out), "--json"]
    assert main(["export", str(finished_run.folder), *arguments]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["form"] == "adapter" and "adapter_model.safetensors" in answer["files"]
    assert not any(name == "model.safetensors" for name in answer["files"])
    assert json.loads((out / "adapter_config.json").read_text())["base_model_name_or_path"] == "tiny-bert"
    base = SentenceTransformer(finished_run.fit(lora(finished_run)).environment["model_source"], device="cpu")
    base[0].model = PeftModel.from_pretrained(base[0].model, str(out)).eval()
    np.testing.assert_allclose(base.encode_document(TEXTS), vectors(finished_run, lora(finished_run)), atol=2e-5)
    assert "PeftModel.from_pretrained" in (out / "README.md").read_text()


def test_final_refit_fits_again_on_all_labels(finished_run: Store, tmp_path: Path) -> None:
    out = tmp_path / "refit"
    arguments = ["--strategy", "lora", "--seed", "0", "--final-refit", "--out", str(out)]
    assert main(["export", str(finished_run.folder), *arguments]) == 0
    card = (out / "README.md").read_text(encoding="utf-8")
    steps = finished_run.fit(lora(finished_run)).report["best_step"]
    assert f"Second fit: 40 pairs (8 of them from development data), {steps} steps" in card
    assert "These figures describe the fit on training data alone" in card
    from sentence_transformers import SentenceTransformer

    embeddings = SentenceTransformer(str(out), device="cpu").encode_document(TEXTS)
    assert np.abs(embeddings - vectors(finished_run, lora(finished_run))).max() > 1e-4


def test_final_refit_learns_from_gold_answers_and_exports_the_new_reader(
    finished_run: Store, tiny_dataset: Dataset, tiny_reader_folder: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """The fit of the run is taken for one of `joint`, whose data have an answer to each question."""

    class Answering:
        def __init__(self, request: TrainingRequest, *args: Any) -> None:
            answers = dict.fromkeys(tiny_dataset.queries, ("kiln",))
            data = training_data(replace(tiny_dataset, answers=answers), 0, None, "test", selection_floor=8)
            self.training_data = lambda: seen_by(request.needs, data)

    lessons: list[Sequence[Lesson]] = []

    def tuned(reader: LocalReader, options: SftOptions, learned: Sequence[Lesson], folder: Path) -> Tuned:
        lessons.append(learned)
        shutil.copytree(reader.folder, folder)
        (folder / "round.txt").write_text(str(len(lessons)))
        return Tuned(steps=options.steps, seconds=1.0)

    monkeypatch.setattr(refitting, "scorer_process", lambda *args: nullcontext(Answering(*args)))
    monkeypatch.setattr(joint, "tune_apart", tuned)
    record = finished_run.fit(lora(finished_run))
    record.hyperparameters["objective"] = f"joint(teacher=reader({tiny_reader_folder}), candidates=2, max_length=20)"
    out = tmp_path / "refit"
    with JobEnvironment(finished_run, execution_settings(finished_run)) as environment:
        export(environment, record, ExportOptions(out, final_refit=True))
    assert [len(each) for each in lessons] == [40, 40]  # development questions are among them
    assert (out / "reader" / "round.txt").read_text() == "2" and (out / "modules.json").is_file()


# --- refusals -------------------------------------------------------------------------------------------------------


def test_a_strategy_that_is_no_embedding_model_is_refused_and_no_files_are_left(
    finished_run: Store, tmp_path: Path, capsys: Any
) -> None:
    out = tmp_path / "never"
    arguments = ["--strategy", "bm25", "--out", str(out)]
    assert main(["export", str(finished_run.folder), *arguments]) == 2
    assert "more than one embedding model" in capsys.readouterr().err
    assert not out.exists()


def test_separate_needs_a_peft_adapter(finished_run: Store, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "never"
    arguments = ["--strategy", "frozen", "--separate", "--out", str(out)]
    assert main(["export", str(finished_run.folder), *arguments]) == 2
    assert "frozen keeps no PEFT adapter" in capsys.readouterr().err
    assert not out.exists()


def test_existing_files_are_kept_without_force(finished_run: Store, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "kept").write_text("mine")
    arguments = ["export", str(finished_run.folder), "--strategy", "frozen", "--out", str(tmp_path)]
    assert main(arguments) == 2
    assert "exists already" in capsys.readouterr().err
    assert (tmp_path / "kept").read_text() == "mine"


def test_a_run_without_weights_is_told_to_run_again(finished_run: Store, tmp_path: Path, capsys: Any) -> None:
    copy = tmp_path / "records"
    shutil.copytree(finished_run.folder, copy, ignore=shutil.ignore_patterns("model"))
    assert main(["export", str(copy), "--strategy", "lora", "--seed", "0", "--out", str(tmp_path / "x")]) == 2
    assert re.search(r"is missing: delete \S+fits\S+ and run again", capsys.readouterr().err)


def test_a_missing_optional_package_is_named_before_anything_is_written(
    finished_run: Store, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.util

    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxscript" else find_spec(name))
    out = tmp_path / "never"
    arguments = ["--strategy", "lora", "--seed", "0", "--onnx", "--out", str(out)]
    assert main(["export", str(finished_run.folder), *arguments]) == 2
    assert "--onnx needs onnxscript: pip install 'adaptbench[onnx]'" in capsys.readouterr().err
    assert not out.exists()
