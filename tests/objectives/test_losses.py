"""Each objective is the library's loss on the same batch, where the library has one."""

from __future__ import annotations

import pytest
import torch
from sentence_transformers.sentence_transformer import losses
from sentence_transformers.util import pairwise_cos_sim

from bench.encoders.strategy import EncoderStrategy
from bench.training.score_loss import ScoreLoss

from .conftest import Bench

SCALE = 20.0


def move(strategy: EncoderStrategy) -> None:
    """Move the weights away from the base model's."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in strategy.model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)


@pytest.mark.parametrize("negatives", [0, 2])
@pytest.mark.parametrize("options", ["symmetric=true", "hardness=5", "symmetric=true, hardness=9"])
def test_the_options_of_contrastive_are_the_librarys(bench: Bench, options: str, negatives: int) -> None:
    strategy = bench.build(f"full(objective=contrastive({options}))")
    settings = bench.resources.training
    columns = bench.columns(strategy, negatives)
    used = strategy.loss(settings)
    assert isinstance(used, losses.MultipleNegativesRankingLoss)
    assert (used.directions == ("query_to_doc", "doc_to_query")) == ("symmetric" in options)
    assert (used.partition_mode == "per_direction") == ("symmetric" in options)
    assert (used.hardness_mode == "all_negatives") == ("hardness" in options)
    own = ScoreLoss(strategy.objective, strategy.model, strategy.representation, settings, strategy.detached)
    plain = bench.value(bench.build("full").loss(settings), columns)
    assert bench.value(own, columns) == pytest.approx(bench.value(used, columns), rel=1e-5)
    assert abs(bench.value(own, columns) - plain) > 1e-3


def test_triplet_is_the_librarys_with_cosine_distance(bench: Bench) -> None:
    strategy = bench.build("full(objective=triplet(margin=0.3))")
    library = losses.TripletLoss(
        strategy.model, distance_metric=losses.TripletDistanceMetric.COSINE, triplet_margin=0.3
    )
    columns = bench.columns(strategy, negatives=1)
    value = bench.value(strategy.loss(bench.resources.training), columns)
    assert value == pytest.approx(bench.value(library, columns), rel=1e-5)
    assert value > 0


def test_triplet_without_mined_negatives_takes_the_hardest_of_the_batch(bench: Bench) -> None:
    strategy = bench.build("full(objective=triplet)")
    columns = bench.columns(strategy)
    queries, documents = (strategy.model(dict(column))["sentence_embedding"].detach() for column in columns)
    scores = queries @ documents.T
    expected = 0.0
    for row in range(5):
        hardest = max(float(scores[row, other]) for other in range(5) if other != row)
        expected += max(0.0, 0.2 + hardest - float(scores[row, row])) / 5
    assert bench.value(strategy.loss(bench.resources.training), columns) == pytest.approx(expected, rel=1e-5)


def test_cosine_is_the_librarys_cosent_on_every_pair_of_the_batch(bench: Bench) -> None:
    strategy = bench.build("full(objective=cosine)")
    columns = bench.columns(strategy)
    library = losses.CoSENTLoss(strategy.model, scale=SCALE)
    rows = [(query, document) for query in range(5) for document in range(5)]
    pairs = [
        {name: value[[row[side] for row in rows]] for name, value in column.items() if isinstance(value, torch.Tensor)}
        for side, column in enumerate(columns)
    ]
    labels = torch.tensor([float(query == document) for query, document in rows])
    value = bench.value(strategy.loss(bench.resources.training), columns)
    assert value == pytest.approx(bench.value(library, pairs, labels), rel=1e-5)


def test_cosine_is_the_librarys_cosent_on_graded_pairs(bench: Bench) -> None:
    strategy = bench.build("full(objective=cosine)")
    labels = torch.tensor([0.2, 1.0, 0.5, 0.5, 0.0])
    library = losses.CoSENTLoss(strategy.model, scale=SCALE)
    own = strategy.loss(bench.resources.training)
    graded = bench.columns(strategy, negatives=1)
    flat = [
        {name: torch.cat([graded[0][name]] * 2) for name in ("input_ids", "attention_mask", "token_type_ids")},
        _joined(graded[1], graded[2]),
    ]
    two = torch.stack([labels, labels / 2], dim=1)
    assert bench.value(own, graded, two) == pytest.approx(
        bench.value(library, flat, torch.cat([labels, labels / 2])), rel=1e-5
    )


def _joined(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    width = max(first["input_ids"].shape[1], second["input_ids"].shape[1])
    pad = torch.nn.functional.pad
    return {
        name: torch.cat([pad(each[name], (0, width - each[name].shape[1])) for each in (first, second)])
        for name in ("input_ids", "attention_mask", "token_type_ids")
    }


@pytest.mark.parametrize("margin", [0.0, 0.1])
@pytest.mark.parametrize("negatives", [0, 1])
def test_gist_is_the_librarys_with_the_base_model_as_guide(bench: Bench, margin: float, negatives: int) -> None:
    strategy = bench.build(f"full(objective=gist(margin={margin}))")
    move(strategy)
    guide = bench.resources.encoder.model
    library = losses.GISTEmbedLoss(
        strategy.model, guide, 1 / SCALE, margin=margin, contrast_anchors=False, contrast_positives=False
    )
    columns = bench.columns(strategy, negatives)
    own = strategy.loss(bench.resources.training)
    value = bench.value(own, columns)
    assert value == pytest.approx(bench.value(library, columns), rel=1e-5)
    assert bench.value(own, columns) == value  # the guide's vectors are remembered now
    unguided = bench.value(bench.build("full").loss(bench.resources.training), columns)
    assert abs(value - unguided) > 1e-3  # the guide masks something
    assert not any(parameter is p for p in own.parameters() for parameter in guide.parameters())


def test_margin_mse_is_the_librarys_on_the_same_numbers(bench: Bench) -> None:
    strategy = bench.build("full(objective=margin-mse(teacher=some/ranker))")
    library = losses.MarginMSELoss(strategy.model, similarity_fct=pairwise_cos_sim)
    columns = bench.columns(strategy, negatives=2)
    labels = torch.rand(5, 3, generator=torch.Generator().manual_seed(2))
    value = bench.value(strategy.loss(bench.resources.training), columns, labels)
    assert value == pytest.approx(bench.value(library, columns, labels), rel=1e-5)


def test_margins_of_the_teacher_are_in_the_students_units(bench: Bench) -> None:
    teacher = bench.build("lora")
    lists = bench.build("full(objective=listwise(teacher=lora))", teacher).examples(bench.data)
    margins = bench.build("full(objective=margin-mse(teacher=lora))", teacher).examples(bench.data)
    fixed = bench.build("full(objective=margin-mse(teacher=lora, scale=3))", teacher).examples(bench.data)
    base = bench.build("full")
    found = base.search(bench.data.train_queries, base.index(bench.data.corpus), 50)
    spreads = [max(s for _, s in hits) - min(s for _, s in hits) for hits in map(found.__getitem__, found)]
    spread = sum(spreads) / len(spreads)
    assert spread != pytest.approx(1.0, abs=0.05)
    for each, scaled, times3 in zip(lists, margins, fixed, strict=True):
        assert each.negatives == scaled.negatives == times3.negatives
        assert scaled.scores == pytest.approx([spread * score for score in each.scores], abs=1e-5)
        assert times3.scores == pytest.approx([3 * score for score in each.scores])


@pytest.mark.parametrize(
    ("inner", "library"),
    [
        ("contrastive", lambda model, guide: losses.MultipleNegativesRankingLoss(model, scale=SCALE)),
        ("gist", lambda model, guide: losses.GISTEmbedLoss(
            model, guide, 1 / SCALE, contrast_anchors=False, contrast_positives=False)),
        ("triplet(margin=0.3)", lambda model, guide: losses.TripletLoss(
            model, losses.TripletDistanceMetric.COSINE, 0.3)),
    ],
)  # fmt: skip
def test_matryoshka_is_the_librarys_mean_over_prefixes(bench: Bench, inner: str, library: object) -> None:
    strategy = bench.build(f"full(objective=matryoshka({inner}, smallest=8))")
    move(strategy)
    columns = bench.columns(strategy, negatives=1)
    around = losses.MatryoshkaLoss(
        strategy.model,
        library(strategy.model, bench.resources.encoder.model),  # type: ignore[operator]
        [32, 16, 8],
    )
    value = bench.value(strategy.loss(bench.resources.training), columns)
    assert value == pytest.approx(bench.value(around, columns) / 3, rel=1e-5)
