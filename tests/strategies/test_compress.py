"""Compression of any single-vector strategy: which axes are kept, what is refused, what is planned with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bench.budget import Budget
from bench.config.schema import RunConfig
from bench.data.dataset import Dataset
from bench.data.splits import training_data
from bench.errors import BenchError, NotApplicableError
from bench.models.base import BaseModel
from bench.planning.plan import plan
from bench.strategy.resources import Resources
from strategies.bm25 import Bm25
from strategies.compress import Compress, principal_axes
from strategies.frozen import Frozen
from strategies.prior import Prior

Contexts = Callable[..., Resources]


def _fitted(resources: Resources, dataset: Dataset, **config: object) -> Compress:
    component = Frozen(None, resources)
    strategy = Compress(Compress.Config(**config), resources, (component,))  # type: ignore[arg-type]
    strategy.fit(training_data(dataset, seed=0), Budget(), seed=0)
    return strategy


def _ranked(strategy: Compress | Frozen, dataset: Dataset) -> dict[str, list[str]]:
    ranking = strategy.search(dataset.queries, strategy.index(dataset.corpus), 10)
    return {query: [doc for doc, _ in ranking[query]] for query in dataset.queries}


@pytest.mark.parametrize("reduce", ["svd", "truncate"])
def test_all_dimensions_in_fp32_rank_as_the_component_does(
    reduce: str, tiny_bert: BaseModel, tiny_resources: Contexts, tiny_dataset: Dataset
) -> None:
    resources = tiny_resources(tiny_bert)
    width = resources.encoder.dimension
    strategy = _fitted(resources, tiny_dataset, store="fp32", dimension=width, reduce=reduce)
    assert _ranked(strategy, tiny_dataset) == _ranked(Frozen(None, resources), tiny_dataset)


def test_reduced_vectors_are_unit_vectors_but_for_svd(
    tiny_bert: BaseModel, tiny_resources: Contexts, tiny_dataset: Dataset
) -> None:
    resources = tiny_resources(tiny_bert)
    vectors, _ = resources.encoder.documents(tiny_dataset.corpus.texts)
    for reduce, is_unit in (("truncate", True), ("pca", True), ("svd", False)):
        reduced = _fitted(resources, tiny_dataset, dimension=8, reduce=reduce).reduced(vectors)
        assert reduced.shape == (len(vectors), 8)
        assert np.allclose(np.linalg.norm(reduced, axis=1), 1, atol=1e-5) == is_unit


def test_svd_keeps_inner_products_better_than_as_many_first_dimensions() -> None:
    rng = np.random.default_rng(0)
    vectors = (rng.normal(size=(300, 6)) @ rng.normal(size=(6, 32)) + 0.05 * rng.normal(size=(300, 32))).astype("f4")
    mean, axes, kept = principal_axes(vectors, 6, centred=False)
    assert not mean.any() and kept > 0.99
    exact, reduced, first = vectors @ vectors.T, (vectors @ axes.T) @ (vectors @ axes.T).T, vectors[:, :6]
    assert np.abs(exact - reduced).mean() < 0.05 * np.abs(exact - first @ first.T).mean()


def test_centred_axes_are_those_of_variance() -> None:
    rng = np.random.default_rng(0)
    vectors = (rng.normal(size=(500, 4)) * [1, 3, 0.1, 0.1] + [50, 0, 0, 0]).astype("f4")
    mean, axes, _ = principal_axes(vectors, 1, centred=True)
    assert mean[0] == pytest.approx(50, abs=0.2) and abs(axes[0, 1]) > 0.99
    _, axes, _ = principal_axes(vectors, 1, centred=False)
    assert abs(axes[0, 0]) > 0.99


def test_the_artefact_gives_the_same_ranking(
    tiny_bert: BaseModel, tiny_resources: Contexts, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    resources = tiny_resources(tiny_bert)
    strategy = _fitted(resources, tiny_dataset, dimension=8, reduce="pca", store="binary", rescore="int8")
    strategy.save(tmp_path)
    loaded = Compress(strategy.config, resources, (Frozen(None, resources),))
    loaded.load(tmp_path)
    assert _ranked(loaded, tiny_dataset) == _ranked(strategy, tiny_dataset)


def test_more_dimensions_than_there_are_is_refused(
    tiny_bert: BaseModel, tiny_resources: Contexts, tiny_dataset: Dataset
) -> None:
    strategy = _fitted(tiny_resources(tiny_bert), tiny_dataset, dimension=4096, reduce="truncate")
    with pytest.raises(NotApplicableError, match="dimension=4096"):
        strategy.index(tiny_dataset.corpus)
    with pytest.raises(NotApplicableError, match="axes need as many documents"):
        _fitted(tiny_resources(tiny_bert), tiny_dataset, dimension=4096)


def test_a_component_that_adds_to_its_scores_is_refused(tiny_bert: BaseModel, tiny_resources: Contexts) -> None:
    resources = tiny_resources(tiny_bert)
    for component in (Bm25(None, resources), Prior(None, resources)):
        with pytest.raises(NotApplicableError, match=f"{component.name} ranks by something else"):
            Compress(None, resources, (component,))


@pytest.mark.parametrize("component", ["bm25", "prior", "hybrid(frozen)", "colbert", "run:x.trec"])
def test_a_component_without_one_vector_a_text_is_refused_when_planned(
    component: str, toy_config: Callable[..., RunConfig]
) -> None:
    with pytest.raises(BenchError, match="needs one vector a text"):
        plan(toy_config(strategies=f"compress({component})"))


def test_the_same_compression_of_the_frozen_model_is_planned_with_it(toy_config: Callable[..., RunConfig]) -> None:
    around = "compress(frozen, store=binary)"
    found = plan(toy_config(strategies="frozen,compress(full, store=binary)"))
    assert {fit.strategy for fit in found.fits} >= {"full", "compress(full, store=binary)", around}


@pytest.mark.parametrize("options", ["store=int3", "reduce=half", "store=int8, rescore=fp32", "dimension=-1"])
def test_options_that_make_no_sense_are_refused(options: str, toy_config: Callable[..., RunConfig]) -> None:
    with pytest.raises(BenchError):
        plan(toy_config(strategies=f"compress(frozen, {options})"))
