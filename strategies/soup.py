"""Weights averaged over strategies: a model soup (Wortsman et al., 2022, Model soups, section 2)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.budget import Budget
from bench.data.dataset import TrainingData
from bench.encoders.base import BaseEncoder, compare_with_base
from bench.encoders.plain import plain_base
from bench.encoders.vectors import is_single_vector
from bench.errors import BenchError, NotApplicableError, unknown
from bench.records import FitReport
from bench.strategy.base import Strategy
from bench.strategy.hyperparameters import StrategyConfig

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer

    from bench.strategy.protocols import DevelopmentPool
    from bench.strategy.resources import Resources

METHODS = ("greedy", "uniform")
STEPS = (0.2, 0.4, 0.6, 0.8)
"""Shares of the next component that `greedy` tries. A share of 0 leaves it out."""
_FILE = "shares.json"


class Soup(BaseEncoder):
    """One model whose weights are a weighted mean of those of its components. It serves at the cost of one of them.

    The components start from the same base model, and their attachments are folded into its weights first, so LoRA is
    merged exactly. `frozen` may be one of them: with one other component that is WiSE-FT.

    `greedy` begins with the best component on the development pool. It mixes in the others from best to worst, each at
    the share that scores best, or leaves it out. `uniform` gives all the same share. `greedy` does so too where there
    are too few labels for selection.
    """

    name = "soup"
    on_4_bits = False
    summary = "the weights of x, y, ... averaged, shares chosen on development data"
    needs = frozenset({"pairs"})
    n_components = 2
    more_components = True
    single_vector_components = True
    around_frozen = False
    reindex = "encode"

    @dataclass(frozen=True)
    class Config(StrategyConfig):
        """`shares` says how they are chosen."""

        shares: str = "greedy"

        def __post_init__(self) -> None:
            if self.shares not in METHODS:
                raise unknown("soup.shares", self.shares, METHODS)

    def __init__(
        self, config: StrategyConfig | None, resources: Resources, components: Sequence[Strategy] = ()
    ) -> None:
        super().__init__(config, resources, components)
        self.shares: tuple[float, ...] = tuple(1 / len(self.components) for _ in self.components)
        """The share of each component, in their order. They sum to 1."""
        self._model: SentenceTransformer | None = None
        self._fingerprint: str | None = None
        for component in self.components:
            if not is_single_vector(component):
                raise NotApplicableError(f"soup averages encoders of one vector a text, and {component.name} is none")
            if component.representation.documents_by_base:  # type: ignore[attr-defined]
                raise NotApplicableError(f"soup averages encoders of both sides, and {component.name} has two encoders")

    @property
    def serving_components(self) -> tuple[Strategy, ...]:
        """None: the mean answers queries."""
        return ()

    @property
    def encoder(self) -> Any:
        """The encoder of the mean; cached under its shares once they are loaded."""
        if self._encoder is None:
            self._encoder = self.resources.encoder_for(self._mixed(), self._fingerprint)
        return self._encoder

    def _mixed(self) -> SentenceTransformer:
        """Return the model of the mean."""
        if self._model is None:
            self._model = self.resources.model.load(self.resources.device).requires_grad_(False).eval()
            _mix(self._model, self._weights(), self.shares)
        return self._model

    def _weights(self) -> list[dict[str, torch.Tensor]]:
        """Return the weights of each component by the base model's names.

        Raises:
            NotApplicableError: a component adds something that cannot be folded into the base model's weights.
        """
        states: list[dict[str, torch.Tensor]] = []
        names = plain_base(self.resources).state_dict().keys()
        for component in self.components:
            if component.resources.model.fingerprint != self.resources.model.fingerprint:
                raise NotApplicableError("soup averages the weights of one base model, and its components have several")
            states.append(component.to_sentence_transformer().state_dict())
            if states[-1].keys() != names:
                raise NotApplicableError(f"soup averages the base model's weights, and {component.name} adds others")
        return states

    def fit(self, data: TrainingData, budget: Budget, seed: int) -> FitReport:
        """Choose the shares on the development pool. Every evaluation is charged."""
        report = FitReport(examples=data.labels)
        self._model = self._encoder = self._fingerprint = None
        with self.resources.meter.excluded():  # models have to be loaded
            weights = self._weights()
        pool = self.resources.development(data) if self.config.shares == "greedy" else None
        if pool is None:
            self.shares = tuple(1 / len(weights) for _ in weights)
            if self.config.shares == "greedy":
                report.notes.append("soup: too few labels to choose the shares, so all are equal")
        else:
            self._choose(weights, pool, report)
        _mix(self._mixed(), weights, self.shares)
        report.chosen |= {"shares": [round(share, 4) for share in self.shares]}
        return report

    def _choose(self, weights: Sequence[dict[str, torch.Tensor]], pool: DevelopmentPool, report: FitReport) -> None:
        """Set the shares that score best, component by component."""
        count = len(weights)

        def scores(shares: Sequence[float]) -> Any:
            _mix(self._mixed(), weights, shares)
            return pool.scores(self)

        alone = [tuple(float(place == own) for place in range(count)) for own in range(count)]
        tried = {shares: scores(shares) for shares in alone}
        order = sorted(range(count), key=lambda own: -float(tried[alone[own]].mean()))
        best = alone[order[0]]
        for own in order[1:]:
            options = [best]
            for step in STEPS:
                mixture = tuple((1 - step) * share + step * (place == own) for place, share in enumerate(best))
                tried[mixture] = scores(mixture)
                options.append(mixture)
            best = max(options, key=lambda shares: float(tried[shares].mean()))  # the first among equals
        self.shares = best
        report.best_dev = report.last_dev = float(tried[best].mean())
        report.chosen["scores"] = {
            " / ".join(f"{share:g}" for share in shares): float(each.mean()) for shares, each in tried.items()
        }
        compare_with_base(report, tried[best], pool, self.resources)

    def to_sentence_transformer(self) -> SentenceTransformer:
        """Return the base model with the mean weights."""
        model = plain_base(self.resources)
        model.load_state_dict(self._mixed().state_dict())
        return model

    def save(self, folder: Path) -> None:
        """Write the shares. The components have artefacts of their own."""
        (folder / _FILE).write_text(json.dumps({"shares": self.shares}), encoding="utf-8")

    def load(self, folder: Path) -> None:
        """Read what `save` wrote.

        Raises:
            BenchError: there is not one share for each component.
        """
        self._model = self._encoder = None
        self.shares = tuple(map(float, json.loads((folder / _FILE).read_text(encoding="utf-8"))["shares"]))
        if len(self.shares) != len(self.components):
            raise BenchError(f"{folder}: {len(self.shares)} shares for {len(self.components)} components")
        parts = [getattr(component, "fingerprint", None) or component.name for component in self.components]
        identity = (self.resources.model.fingerprint, self.name, self.version, parts, self.shares)
        self._fingerprint = hashlib.sha256(repr(identity).encode()).hexdigest()[:16]


def _mix(model: SentenceTransformer, weights: Sequence[dict[str, torch.Tensor]], shares: Sequence[float]) -> None:
    """Set the model's weights to the weighted mean. Buffers that hold no floating-point numbers stay."""
    import torch

    with torch.no_grad():
        for name, own in model.state_dict().items():
            if own.is_floating_point():
                mean = sum(share * state[name].float() for state, share in zip(weights, shares, strict=True) if share)
                own.copy_(mean)
