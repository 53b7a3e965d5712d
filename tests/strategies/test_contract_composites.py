"""Heads, query-side strategies and composites keep the contract; what builds on the architecture, on every family."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.contract import check
from bench.contract.subprocess_reload import ReloadProcess
from bench.data.sample import sample_dataset
from bench.models.base import BaseModel
from bench.models.locate import base_model
from bench.retrieval.ranking import Ranking, write_trec
from tests.strategies.test_contract_families import extent

ANY_ARCHITECTURE = (
    "linear", "linear(rank=4)", "whitening", "instruct", "hybrid(frozen)", "hybrid(lora, method=rrf)", "rerank(bm25)",
    "compress(frozen)", "soup(lora, frozen)", "compress(lora, dimension=8, reduce=pca, store=binary)",
    "distill(full, teacher=bm25)",
)  # fmt: skip
DISTILLED = (
    "distill(full-merge, teacher=bm25)", "distill(adalora, teacher=bm25)", "distill(lora, teacher=rerank(frozen))",
)  # fmt: skip
"""Students that count steps in a way of their own, and a teacher that trains. `distill` itself is checked above."""
COUNTED = {"linear": 147_840, "whitening": 0, "query-lora": 663_552, "instruct": 0}


def _holds(strategy: str, model: BaseModel, reload_process: ReloadProcess, **options: object) -> None:
    results = check(strategy, model, reload_process=reload_process, **options)  # type: ignore[arg-type]
    assert all(result.ok for result in results), "\n".join(map(str, results))


@pytest.mark.parametrize("strategy", ANY_ARCHITECTURE)
def test_the_contract_holds(strategy: str, tiny_bert: BaseModel, reload_process: ReloadProcess) -> None:
    _holds(strategy, tiny_bert, reload_process)


@pytest.mark.parametrize("strategy", DISTILLED)
def test_the_contract_holds_for_students_and_teachers(
    strategy: str, tiny_bert: BaseModel, reload_process: ReloadProcess
) -> None:
    _holds(strategy, tiny_bert, reload_process, names=("trains", "reload", "budget", "updates"))


def test_the_contract_holds_for_a_cross_encoder_on_every_family(
    tiny_model: BaseModel, family_name: str, reload_process: ReloadProcess
) -> None:
    _holds("rerank(frozen)", tiny_model, reload_process, **extent(family_name))


def test_a_run_keeps_the_contract(tiny_bert: BaseModel, reload_process: ReloadProcess, tmp_path: Path) -> None:
    path = tmp_path / "engine.trec"
    dataset = sample_dataset()
    docs = dataset.corpus.ids
    write_trec(Ranking({query: [(docs[0], 2.0), (docs[1], 1.0)] for query in dataset.queries}), path, "engine")
    _holds(f"run:{path}", tiny_bert, reload_process)


def test_the_contract_holds_on_the_default_model(reload_process: ReloadProcess) -> None:
    names = ("trains", "frozen", "inputs", "batch", "detach", "budget")
    _holds("linear", base_model(), reload_process, names=names, steps=2, dataset=sample_dataset(subjects=2))


@pytest.mark.parametrize("strategy", COUNTED)
def test_trainable_parameters_on_the_default_model(strategy: str) -> None:
    from bench.planning.registry import Registry
    from bench.strategy.resources import Resources

    assert Registry().get(strategy)(None, Resources(model=base_model())).trainable_params == COUNTED[strategy]
