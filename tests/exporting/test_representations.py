"""What is no single vector is exported as the library's own model of its kind, and scores as the strategy does."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sentence_transformers import MultiVectorEncoder, SentenceTransformer, SparseEncoder

from bench.budget import Budget
from bench.cli import main
from bench.config.schema import from_mapping
from bench.contract import Blueprint
from bench.data.dataset import TrainingData
from bench.errors import NotApplicableError
from bench.exporting.same_scores import check_same
from bench.exporting.selection import execution_settings
from bench.exporting.similarity import similarity
from bench.models.base import BaseModel
from bench.models.locate import base_model
from bench.running.environment import JobEnvironment
from bench.running.run import Run
from bench.strategy.resources import Resources
from tests.representations.conftest import add_head
from tests.toy_runs import InProcess, Silent

MakeResources = Callable[..., Resources]
LIBRARY: dict[str, Any] = {"multi": MultiVectorEncoder, "sparse": SparseEncoder, "static": SentenceTransformer}


@pytest.fixture(scope="module")
def masked(tiny_folder: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], BaseModel]:
    """Return a function from a family to its tiny model with a masked-language-model head."""

    def base(family: str) -> BaseModel:
        folder = tmp_path_factory.mktemp("masked") / family
        shutil.copytree(tiny_folder(family), folder)
        return base_model(str(add_head(folder)))

    return base


@pytest.mark.parametrize(
    ("expression", "family"),
    [
        ("full(lr=0.001, representation=multi(dimension=8))", "bert"),
        ("lora(lr=0.01, representation=multi(dimension=8))", "mpnet"),
        ("frozen(representation=multi(dimension=8))", "bert"),
        ("full(lr=0.001, representation=sparse)", "bert"),
        ("lora(lr=0.01, representation=sparse)", "roberta"),
        ("full(lr=0.001, representation=sparse)", "modernbert"),
        ("frozen(representation=sparse)", "distilbert"),
        ("full(lr=0.01, representation=static(dimension=16))", "bert"),
        ("frozen(representation=static(dimension=16))", "roberta"),
    ],
)
def test_the_plain_library_loads_it_and_scores_alike(
    expression: str, family: str, masked: Callable[[str], BaseModel], tiny_resources: MakeResources,
    tiny_training: TrainingData, tmp_path: Path,
) -> None:  # fmt: skip
    """Texts are cut to 16 tokens, as in the run."""
    strategy: Any = Blueprint.of(expression).build(tiny_resources(masked(family), max_length=16), ())
    strategy.fit(tiny_training, Budget(steps=3) if strategy.trains != "none" else Budget(), 0)
    plain = strategy.to_sentence_transformer()
    assert check_same(strategy, plain) < 2e-3
    folder = tmp_path / "exported"
    plain.save_pretrained(str(folder), create_model_card=False)
    library = LIBRARY[strategy.representation.name](str(folder), device="cpu")
    corpus, queries = tiny_training.corpus, dict(list(tiny_training.train_queries.items())[:4])
    long = {"long": " ".join(corpus.texts[:3])}
    ranking = strategy.search(queries | long, strategy.index(corpus), len(corpus))
    asked = library.encode_query([*queries.values(), *long.values()])
    scores = library.similarity(asked, library.encode_document(list(corpus.texts)))
    for query, row in zip(ranking, np.asarray(scores).tolist(), strict=True):
        assert dict(ranking[query]) == pytest.approx(dict(zip(corpus.ids, row, strict=True)), rel=1e-4, abs=1e-4)
    untrained = strategy.untrained_counterpart()
    if strategy.trains != "none":
        before = untrained.search(queries, untrained.index(corpus), len(corpus))
        moved = [abs(dict(before[query])[doc] - score) for query in queries for doc, score in ranking[query]]
        assert max(moved) > 1e-3


def test_the_command_writes_a_folder_and_a_card_that_names_the_class(
    beir_folder: Path, tiny_base: Callable[[str], BaseModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    config = from_mapping(
        {
            "strategies": "frozen,lora(representation=multi(dimension=8)),lora(representation=untied)",
            "datasets": str(beir_folder),
            "model": str(tiny_base("bert").path),
            "budget_steps": 3,
            "set": ["train.batch_size=8", "train.warmup=0", "lora.r=4", "lora.lr=0.01"],
            "precision": "fp32",
            "device": "cpu",
            "out": str(tmp_path / "run"),
        }
    )
    outcome = Run.prepare(config).execute(Silent(), InProcess)
    assert set(outcome.statuses) == {"ok"}, outcome.failed
    first, second = "the tide in the harbour", "the kiln of the pottery"
    with JobEnvironment(outcome.store, execution_settings(outcome.store)) as environment:
        record = next(fit for fit in outcome.store.fits() if "multi" in fit.strategy)
        found = similarity(environment, record, first, second)
        assert found.after == pytest.approx(float(environment.strategy(record.fit).similarity([first], [second])[0]))
        assert 0 < abs(found.change) < 1
        assert similarity(environment, record, first, first).before == pytest.approx(1.0, abs=1e-5)
        with pytest.raises(NotApplicableError, match="leave out --query"):
            similarity(environment, record, first, second, query=True)
    exported = {"multi(dimension=8)": MultiVectorEncoder, "untied": SentenceTransformer}
    for number, (representation, library) in enumerate(exported.items()):
        folder, strategy = tmp_path / str(number), f"lora(representation={representation})"
        command = ["export", str(tmp_path / "run"), "--strategy", strategy, "--out", str(folder)]
        assert main([*command, "--separate"]) != 0
        assert not folder.exists()
        assert main(command) == 0
        card = (folder / "README.md").read_text(encoding="utf-8")
        assert f'model = {library.__name__}("path/to/this/folder")' in card
        assert ("encoded differently" in card) == (representation == "untied")
        assert len(library(str(folder), device="cpu").encode_query(["the tide"])) == 1


def test_modules_that_cannot_be_folded_are_refused_under_each_representation(
    masked: Callable[[str], BaseModel], tiny_resources: MakeResources
) -> None:
    for representation in ("multi", "sparse"):
        strategy = Blueprint.of(f"adapter(representation={representation})").build(tiny_resources(masked("bert")), ())
        with pytest.raises(NotApplicableError, match=r"adapter adds modules .* cannot be folded"):
            strategy.to_sentence_transformer()


def test_no_other_representation_continues_what_is_no_sentence_embedding(
    masked: Callable[[str], BaseModel], tiny_resources: MakeResources, tiny_training: TrainingData
) -> None:
    for representation in ("multi(dimension=8)", "static(dimension=8)"):
        start = Blueprint.of(f"full(representation={representation})").build(tiny_resources(masked("bert")), ())
        start.fit(tiny_training, Budget(steps=1), 0)
        strategy: Any = Blueprint.of(f"lora(start=full(representation={representation}))").build(
            tiny_resources(masked("bert")), (start,)
        )
        with pytest.raises(NotApplicableError, match="which is no plain sentence embedding"):
            strategy.trainable_params  # noqa: B018
