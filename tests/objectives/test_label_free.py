"""Objectives without labels: what they train on, that they move the embeddings, that a continued fit goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from bench.budget import Budget
from bench.config.schema import RunConfig
from bench.data.dataset import TrainingData
from bench.errors import NotApplicableError
from bench.models.base import BaseModel
from bench.models.locate import base_model
from bench.running.run import RunResult
from bench.strategy.resources import Resources
from bench.training.denoising import DenoisingLoss

from .conftest import Bench


@pytest.fixture
def unlabelled(tiny_training: TrainingData) -> TrainingData:
    """The corpus without a single label."""
    return replace(tiny_training, pairs=(), dev_queries={}, dev_qrels={})


def vectors(strategy: Any, data: TrainingData) -> np.ndarray:
    return np.asarray(strategy.encoder.uncached(data.corpus.texts[:6], "document"))


@pytest.mark.parametrize("strategy", ["contriever(lr=0.001)", "simcse(lr=0.001)", "tsdae(lr=0.001)"])
def test_without_a_label_it_trains(bench: Bench, unlabelled: TrainingData, strategy: str) -> None:
    fitted = bench.build(strategy)
    report = fitted.fit(unlabelled, Budget(steps=3), 0)
    assert (report.steps, report.examples) == (3, 0)
    assert np.abs(vectors(fitted, unlabelled) - vectors(bench.build("full"), unlabelled)).max() > 1e-3


def test_a_crop_is_a_span_of_its_document(bench: Bench, unlabelled: TrainingData) -> None:
    text = " ".join(f"word{n}" for n in range(100))
    corpus = replace(unlabelled.corpus, texts=[text] * len(unlabelled.corpus))
    objective = bench.build("contriever").objective
    pairs = objective.examples(replace(unlabelled, corpus=corpus), bench.build("full"))
    assert len(pairs) == len(corpus) and any(pair.query != pair.document for pair in pairs)
    for span in (span for pair in pairs for span in (pair.query, pair.document)):
        assert f" {span} " in f" {text} " and 5 <= len(span.split()) <= 50
    again = objective.examples(replace(unlabelled, corpus=corpus), bench.build("full"))
    other = objective.examples(replace(unlabelled, corpus=corpus, seed=1), bench.build("full"))
    assert again == pairs != other


def test_as_many_documents_as_asked_are_drawn(bench: Bench, unlabelled: TrainingData) -> None:
    for name in ("cropping", "simcse", "tsdae"):
        examples = bench.build(f"full(objective={name}(documents=7))").objective.examples(
            unlabelled, bench.build("full")
        )
        assert len({pair.doc_id for pair in examples}) == len(examples) == 7


@pytest.mark.parametrize("dropout", [True, False])
def test_simcse_compares_two_encodings_that_differ(
    bench: Bench, unlabelled: TrainingData, monkeypatch: pytest.MonkeyPatch, dropout: bool
) -> None:
    cosines: list[float] = []
    original = MultipleNegativesRankingLoss.compute_loss_from_embeddings

    def record(self: Any, embeddings: list[torch.Tensor], labels: Any) -> torch.Tensor:
        cosines.append(float(torch.cosine_similarity(*embeddings).min().detach()))
        return original(self, embeddings, labels)

    monkeypatch.setattr(MultipleNegativesRankingLoss, "compute_loss_from_embeddings", record)
    strategy = bench.build("simcse")
    monkeypatch.setattr(type(strategy.objective), "dropout", dropout)
    strategy.fit(unlabelled, Budget(steps=1), 0)
    assert (min(cosines) < 0.999) == dropout


def test_simcse_is_refused_where_nothing_drops_out(
    tiny_base: Callable[[str], BaseModel], tiny_resources: Callable[..., Resources], unlabelled: TrainingData
) -> None:
    bench = Bench(tiny_resources(tiny_base("modernbert")), unlabelled)
    with pytest.raises(NotApplicableError, match="simcse learns from dropout"):
        bench.build("simcse").fit(unlabelled, Budget(steps=1), 0)


def test_tsdae_goes_on_from_a_fitted_start_and_saves_no_decoder(
    bench: Bench, tiny_training: TrainingData, tmp_path: Path
) -> None:
    start = bench.build("lora(r=2, lr=0.01)")
    start.fit(tiny_training, Budget(steps=3), 0)
    continued = bench.build("full(objective=tsdae, start=lora, lr=1e-6)", start)
    continued.fit(tiny_training, Budget(steps=2), 0)
    base = vectors(bench.build("full"), tiny_training)
    assert np.abs(vectors(start, tiny_training) - base).max() > 1e-2
    assert 0 < np.abs(vectors(continued, tiny_training) - vectors(start, tiny_training)).max() < 1e-3
    continued.save(tmp_path)
    saved = load_file(tmp_path / "trained.safetensors")
    assert saved.keys() == {name for name, p in continued.model.named_parameters() if p.requires_grad}
    assert not any("decoder" in name for name in saved)


def denoising(bench: Bench, piece: int = 0, seed: int = 0) -> tuple[DenoisingLoss, list[dict[str, Any]]]:
    strategy = bench.build("full")
    return DenoisingLoss(strategy.model, 1, 1e-3, piece, seed), bench.columns(strategy)


def test_the_decoder_is_drawn_by_seed_and_pieces_change_nothing(bench: Bench) -> None:
    values = [bench.value(*denoising(bench, piece, seed)) for piece, seed in ((0, 0), (2, 0), (0, 1))]
    assert values[0] == pytest.approx(values[1], rel=1e-5)
    assert abs(values[0] - values[2]) > 1e-4


def test_the_vector_matters_to_the_decoder_and_gets_a_gradient(bench: Bench) -> None:
    loss, columns = denoising(bench)
    loss([dict(column) for column in columns]).backward()
    trained = [parameter for parameter in loss.model.parameters() if parameter.requires_grad]
    assert all(parameter.grad is not None and bool(parameter.grad.any()) for parameter in trained[:3])
    assert all(parameter.grad is not None for parameter in loss.decoder.parameters())
    swapped = [{name: value.flip(0) for name, value in columns[0].items() if torch.is_tensor(value)}, columns[1]]
    assert bench.value(loss, swapped) != bench.value(loss, columns)


def test_the_decoder_learns_at_its_own_rate(
    bench: Bench, unlabelled: TrainingData, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[DenoisingLoss, torch.Tensor]] = []
    original = DenoisingLoss.__init__

    def record(self: Any, *args: Any) -> None:
        original(self, *args)
        seen.append((self, self.decoder.bridge.weight.detach().clone()))

    monkeypatch.setattr(DenoisingLoss, "__init__", record)
    bench.build("full(objective=tsdae(decoder_lr=0.01), lr=1e-7)").fit(unlabelled, Budget(steps=2), 0)
    moves = [float((loss.decoder.bridge.weight - before).abs().max().detach()) for loss, before in seen]
    assert max(moves) > 1e-3


def test_the_operations_of_decoding_are_those_that_torch_counts(bench: Bench) -> None:
    loss, columns = denoising(bench)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as whole:
        loss([dict(column) for column in columns]).backward()
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as encoder:
        loss._encode(columns[0]).sum().backward()
    counted = whole.get_total_flops() - encoder.get_total_flops()
    texts, longest = columns[1]["input_ids"].shape
    assert loss.decoding_flops(texts, longest) == pytest.approx(counted, rel=0.02)


def test_a_run_without_labels_fits_what_needs_none(
    toy_config: Callable[..., RunConfig],
    run_inline: Callable[[RunConfig], RunResult],
    tiny_folder: Callable[[str], Path],
) -> None:
    settings = {"strategies": "frozen,full,contriever", "baseline": "frozen", "strategy_files": []}
    done = run_inline(toy_config(**settings, model=str(tiny_folder("bert")), budget={"steps": 2, "examples": 0}))
    statuses = {record.strategy: record.status for record in done.store.fits()}
    assert statuses == {"frozen": "ok", "contriever": "ok", "full": "not_applicable"}
    assert done.exit_code == 0


@pytest.mark.parametrize("expression", ["lora(objective=gist)", "tsdae"])
def test_in_bf16_activations_are_computed_again_with_the_same_attention(
    expression: str, unlabelled: TrainingData, tiny_training: TrainingData, tiny_resources: Callable[..., Resources]
) -> None:
    resources = tiny_resources(base_model(), precision="bf16", mini_batch=2, batch_size=4)
    data = unlabelled if expression == "tsdae" else tiny_training
    assert Bench(resources, data).build(expression).fit(data, Budget(steps=1), 0).steps == 1
