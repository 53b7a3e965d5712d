"""An adapter bank: every adapter scores as its strategy, swaps leave no trace, and what does not fit is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from bench.cli import main
from bench.config.schema import from_mapping
from bench.data.dataset import Dataset
from bench.data.write import write_dataset
from bench.errors import NotApplicableError
from bench.running.run import Run
from bench.store.store import Store
from tests.toy_runs import InProcess, Silent


@pytest.fixture(scope="module")
def two_domains(
    tmp_path_factory: pytest.TempPathFactory, tiny_dataset: Dataset, tiny_folder: Callable[[str], Path]
) -> Store:
    """A run of three strategies on two datasets."""
    root = tmp_path_factory.mktemp("domains")
    for name, word in (("first", "here"), ("second", "there")):
        corpus = replace(tiny_dataset.corpus, texts=[f"{text} {word}" for text in tiny_dataset.corpus.texts])
        write_dataset(
            replace(tiny_dataset, info=replace(tiny_dataset.info, name=name), corpus=corpus), root / f"{name}.v1"
        )
    config = from_mapping(
        {
            "strategies": "frozen,lora,query-lora",
            "datasets": [str(root / "first.v1"), str(root / "second.v1")],
            "model": str(tiny_folder("bert")),
            "budget_steps": 8,
            "set": ["train.batch_size=8", "train.selection_floor=8", "train.warmup=0", "lora.r=4", "lora.lr=0.01"],
            "precision": "fp32",
            "device": "cpu",
            "out": str(root / "run"),
        }
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_CACHE", str(root / "cache"))
        outcome = Run.prepare(config).execute(Silent(), InProcess)
    assert set(outcome.statuses) == {"ok"}, outcome.failed
    return outcome.store


def _vectors(model: SentenceTransformer) -> Any:
    return model.encode_query(["a question of the tests"], show_progress_bar=False)


def test_a_bank_holds_the_adapter_of_each_dataset(two_domains: Store, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "bank"
    assert main(["export", str(two_domains.folder), "--strategy", "lora", "--bank", "--out", str(out), "--json"]) == 0
    bank = json.loads(capsys.readouterr().out)
    assert list(bank["adapters"]) == ["first-v1", "second-v1"]
    assert all(each["difference"] < 2e-4 for each in bank["adapters"].values()) and bank["swap_ms"] > 0
    assert json.loads((out / "bank.json").read_text())["adapters"] == bank["adapters"]

    model = SentenceTransformer(str(out / "model"), device="cpu")
    base = _vectors(model)
    for name in bank["adapters"]:
        model.load_adapter(str(out / "adapters" / name), adapter_name=name)
    model.set_adapter("first-v1")
    first = _vectors(model)
    model.set_adapter("second-v1")
    second = _vectors(model)
    model.set_adapter("first-v1")
    again = _vectors(model)
    model.disable_adapters()
    np.testing.assert_allclose(_vectors(model), base, atol=1e-6)
    np.testing.assert_allclose(again, first, atol=1e-6)
    assert min(np.abs(first - base).max(), np.abs(second - base).max(), np.abs(first - second).max()) > 1e-4
    assert "set_adapter('first-v1')" in (out / "README.md").read_text()


def test_a_bank_grows_and_does_not_lose_what_it_holds(two_domains: Store, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "bank"
    command = ["export", str(two_domains.folder), "--strategy", "lora", "--bank", "--out", str(out)]
    assert main([*command, "--dataset", "first.v1"]) == 0
    assert json.loads((out / "bank.json").read_text())["swap_ms"] is None
    assert main([*command, "--dataset", "second.v1"]) == 0
    assert list(json.loads((out / "bank.json").read_text())["adapters"]) == ["first-v1", "second-v1"]
    assert main([*command, "--dataset", "second.v1"]) != 0
    assert "has an adapter for 'second-v1' already" in " ".join(capsys.readouterr().err.split())
    assert main([*command, "--dataset", "second.v1", "--force"]) == 0


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--strategy", "frozen"], "keeps no PEFT adapter"),
        (["--strategy", "query-lora"], "encodes queries and documents differently"),
        (["--strategy", "lora", "--onnx"], "--bank cannot be combined"),
    ],
)
def test_what_does_not_fit_into_a_bank_is_refused(
    more: list[str], message: str, two_domains: Store, tmp_path: Path, capsys: Any
) -> None:
    out = tmp_path / "bank"
    assert main(["export", str(two_domains.folder), "--bank", "--out", str(out), *more]) != 0
    assert message in " ".join(capsys.readouterr().err.split()) and not out.exists()


def test_a_folder_that_is_no_bank_is_left_alone(two_domains: Store, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    assert main(["export", str(two_domains.folder), "--strategy", "lora", "--bank", "--out", str(tmp_path)]) != 0
    assert "holds no bank" in " ".join(capsys.readouterr().err.split())
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_an_adapter_that_scores_differently_leaves_nothing_behind(
    two_domains: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    def differs(*_: Any) -> float:
        raise NotApplicableError("it scores differently")

    monkeypatch.setattr("bench.exporting.bank.check_same", differs)
    out = tmp_path / "bank"
    assert main(["export", str(two_domains.folder), "--strategy", "lora", "--bank", "--out", str(out)]) != 0
    assert "scores differently" in capsys.readouterr().err
    assert not (out / "bank.json").exists() and not list((out / "adapters").iterdir())
