"""Drift of the embeddings, and backward transfer."""

from __future__ import annotations

import numpy as np
import pytest

from bench.evaluation.drift import backward_transfer, linear_cka, mean_cosine


@pytest.fixture
def embeddings() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(200, 16)).astype(np.float32)


def test_an_untouched_model_has_not_drifted(embeddings: np.ndarray) -> None:
    assert mean_cosine(embeddings, embeddings) == pytest.approx(1)
    assert linear_cka(embeddings, embeddings) == pytest.approx(1)


def test_a_rotation_moves_every_vector_and_keeps_the_structure(embeddings: np.ndarray) -> None:
    rotation, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(16, 16)))
    assert linear_cka(embeddings, 3 * embeddings @ rotation + 1) == pytest.approx(1)
    assert mean_cosine(embeddings, embeddings @ rotation) < 0.5


def test_cka_agrees_with_the_centred_gram_matrices(embeddings: np.ndarray) -> None:
    other = np.random.default_rng(2).normal(size=(200, 5)) + embeddings[:, :5]
    centre = np.eye(200) - 1 / 200
    k, m = centre @ embeddings @ embeddings.T @ centre, centre @ other @ other.T @ centre
    assert linear_cka(embeddings, other) == pytest.approx(
        (k * m).sum() / np.sqrt((k * k).sum() * (m * m).sum()), rel=1e-5
    )


def test_noise_lowers_both_and_a_collapsed_model_has_cka_0(embeddings: np.ndarray) -> None:
    noisy = embeddings + np.random.default_rng(3).normal(size=embeddings.shape)
    assert 0.5 < mean_cosine(embeddings, noisy) < 0.9
    assert 0.1 < linear_cka(embeddings, noisy) < 0.9
    assert linear_cka(embeddings, np.ones_like(embeddings)) == 0


def test_backward_transfer_is_the_mean_over_probes() -> None:
    assert backward_transfer([-0.10, 0.02, -0.01]) == pytest.approx(-0.03)
    with pytest.raises(ValueError, match="at least one probe"):
        backward_transfer([])


def test_different_texts_are_refused(embeddings: np.ndarray) -> None:
    with pytest.raises(ValueError, match="same texts"):
        linear_cka(embeddings, embeddings[:-1])
    with pytest.raises(ValueError, match="equal dimensions"):
        mean_cosine(embeddings, embeddings[:, :4])
