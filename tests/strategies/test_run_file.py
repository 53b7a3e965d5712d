"""A TREC run as a strategy: its rankings as they are, refusals, and its content in the identity of the fit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bench.budget import Budget
from bench.data.dataset import Corpus, Dataset, TrainingData
from bench.errors import BenchError, DataError, NotApplicableError
from bench.models.base import BaseModel
from bench.retrieval.ranking import Ranking, read_trec, write_trec
from bench.strategy.resources import Resources
from strategies.bm25 import Bm25
from strategies.hybrid import DEFAULT_WEIGHT, Hybrid
from strategies.run import Run

Contexts = Callable[..., Resources]
RANKING = Ranking({"q1": [("d2", 0.5), ("d1", 0.25)], "q2": [("d1", 7.0)]})
CORPUS = Corpus(["d1", "d2"], ["one", "two"])


@pytest.fixture
def run(tmp_path: Path, tiny_bert: BaseModel, tiny_resources: Contexts, tiny_training: TrainingData) -> Run:
    path = tmp_path / "engine.trec"  # gzipped, whatever its name says
    write_trec(RANKING, path, "engine")
    run = Run(Run.Config(file=str(path)), tiny_resources(tiny_bert))
    run.fit(tiny_training, Budget(), 0)
    return run


def test_rankings_are_those_of_the_file(run: Run) -> None:
    ranking = run.search({"q2": "two?", "q1": "one?"}, run.index(CORPUS), 1)
    assert ranking.hits == {"q2": [("d1", 7.0)], "q1": [("d2", 0.5)]}


def test_a_query_that_the_file_lacks_found_nothing(run: Run) -> None:
    assert run.search({"q1": "one?", "q9": "nine?"}, run.index(CORPUS), 5)["q9"] == []


def test_another_dataset_is_refused(run: Run, tiny_dataset: Dataset) -> None:
    with pytest.raises(NotApplicableError, match="holds none of the 48 queries"):
        run.search(tiny_dataset.queries, run.index(tiny_dataset.corpus), 5)
    with pytest.raises(NotApplicableError, match="none of its documents"):
        run.search({"q1": "one?"}, run.index(tiny_dataset.corpus), 5)


def test_the_artefact_does_not_need_the_file(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "artefact"
    folder.mkdir()
    run.save(folder)
    Path(run.config.file).unlink()
    loaded = Run(run.config, run.resources)
    loaded.load(folder)
    assert loaded.ranking == RANKING


def test_a_missing_or_empty_file_is_an_error_that_names_it(
    tiny_bert: BaseModel, tiny_resources: Contexts, tiny_training: TrainingData, tmp_path: Path
) -> None:
    with pytest.raises(BenchError, match=r"nowhere.trec does not exist"):
        Run.inputs(Run.Config(file="nowhere.trec"))
    with pytest.raises(BenchError, match="run:FILE"):
        Run.inputs(Run.Config())
    empty = tmp_path / "empty.trec"
    empty.touch()
    with pytest.raises(BenchError, match="an empty run"):
        Run(Run.Config(file=str(empty)), tiny_resources(tiny_bert)).fit(tiny_training, Budget(), 0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"q1 Q0 d1 1 high x\n", r"bad.trec:1: not a line of a TREC run"),
        (b"\xff\xfe\x00\x01", "bad.trec: not a TREC run"),
        (b"\x1f\x8b\x08\x00broken", "bad.trec: not a TREC run"),
    ],
)
def test_a_file_that_is_no_run_is_named(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.trec"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_trec(path)


def test_fused_with_bm25_it_has_no_development_queries(
    run: Run, tiny_bert: BaseModel, tiny_resources: Contexts, tiny_training: TrainingData
) -> None:
    hybrid = Hybrid(None, tiny_resources(tiny_bert, selection_floor=1), (run,))
    report = hybrid.fit(tiny_training, Budget(), 0)
    assert hybrid.weight == DEFAULT_WEIGHT and "holds none of" in report.notes[0]


def test_another_content_is_another_fit(beir_folder: Path, tiny_bert: BaseModel, tmp_path: Path) -> None:
    from bench.config.schema import RunConfig
    from bench.planning.plan import plan

    path = tmp_path / "engine.trec"
    path.write_text("q1 Q0 d1 1 0.5 x\n", encoding="utf-8")

    def name() -> str:
        config = RunConfig(
            strategies=("frozen", f"run:{path}"), datasets=(str(beir_folder),), model=(str(tiny_bert.path),)
        )
        return next(fit.name for fit in plan(config).fits if fit.root == "run")

    first = name()
    assert name() == first
    path.write_text("q1 Q0 d2 1 0.5 x\n", encoding="utf-8")
    assert name() != first


def test_what_answering_costs_is_not_made_up(run: Run) -> None:
    assert not run.serves and Bm25.serves
