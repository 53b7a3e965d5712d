"""Listwise distillation of a teacher into a fitted encoder, which is trained further (`bench.objectives.listwise`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from bench.data.dataset import TrainingData
from bench.encoders.strategy import EncoderStrategy
from bench.errors import BenchError, NotApplicableError
from bench.objectives.listwise import Listwise
from bench.readers.teacher import is_reader
from bench.records import FitReport
from bench.strategy.base import Strategy
from bench.strategy.hyperparameters import StrategyConfig, TrainedConfig
from bench.strategy.space import Param

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from bench.strategy.resources import Resources


class Distill(EncoderStrategy):
    """The component, trained further on a teacher's scores. What was trainable there is trainable here.

    The teacher is a strategy, fitted like the component (`teacher=hybrid(full)`), or a cross-encoder by name or folder.
    """

    name = "distill"
    summary = "a re-ranker or another teacher distilled into an encoder"
    n_components = 1
    component_options = ("teacher",)

    @dataclass(frozen=True)
    class Config(TrainedConfig):
        """`lr` 0 is the component's. The other options are the objective's."""

        lr: float = 0.0
        teacher: str = ""
        candidates: int = 6
        teacher_temperature: float = 0.1
        max_length: int = 256
        space: ClassVar[Mapping[str, Param]] = Listwise.Config.space

    def __init__(
        self, config: StrategyConfig | None, resources: Resources, components: Sequence[Strategy] = ()
    ) -> None:
        chosen: Any = config if config is not None else self.Config()
        student, *teacher = components
        if not isinstance(student, EncoderStrategy):
            raise NotApplicableError(f"distill trains an encoder of both sides further, and {student.name} has none")
        if not chosen.lr:
            chosen = replace(chosen, lr=student.config.lr)
        objective = Listwise(_objective(chosen), resources, teacher)
        super().__init__(chosen, resources, components, objective, student.representation)
        self._method = type(student)(
            student.config, resources, student.components, student.objective, student.representation
        )

    @classmethod
    def inputs(cls, config: StrategyConfig) -> Sequence[Path]:
        """Return the files of a teacher that is a folder.

        Raises:
            BenchError: there is no teacher, or there are no lists to learn from.
        """
        objective = _objective(config)
        Listwise.check(objective)
        if is_reader(objective.teacher):
            raise BenchError(
                f"distill takes no reader as its teacher: write lora(start=lora, objective=listwise(teacher="
                f"{objective.teacher}))"
            )
        return Listwise.inputs(objective)

    @property
    def start(self) -> EncoderStrategy:
        """The fitted component.

        Raises:
            NotApplicableError: it trains only the queries' side of an encoder.
        """
        student = self.components[0]
        assert isinstance(student, EncoderStrategy)
        if student.representation.documents_by_base:
            raise NotApplicableError(f"distill trains an encoder of both sides further, and {student.name} has none")
        return student

    @property
    def method(self) -> EncoderStrategy:
        """The component's own kind of strategy, around the model that is trained here."""
        self._method.share_model(self)
        return self._method

    def _continues(self, start: EncoderStrategy) -> bool:
        return True

    def attach(self, tower: SentenceTransformer) -> SentenceTransformer:
        """Attach what the component attaches."""
        return self._method.attach(tower)

    def fold(self, tower: SentenceTransformer) -> AbstractContextManager[None]:
        """Fold as the component does."""
        return self._method.fold(tower)

    def detach(self, tower: SentenceTransformer) -> AbstractContextManager[None]:
        """Switch off what the component attaches."""
        return self._method.detach(tower)

    def on_step(self, tower: SentenceTransformer, step: int, total: int) -> None:
        """Do after a step what the component does."""
        self._method.on_step(tower, step, total)

    def training_state(self) -> dict[str, Any] | None:
        """Return what the objective and the component's method keep between steps; None where that does not say."""
        own, method = super().training_state(), self.method.training_state()
        return None if own is None or method is None else own | {"method": method}

    def resume_training(self, state: Mapping[str, Any]) -> None:
        """Continue from what `training_state` returned."""
        super().resume_training(state)
        self.method.resume_training(state["method"])

    @property
    def finish_evaluations(self) -> int:
        """As many as the component takes."""
        return self._method.finish_evaluations

    def finish(self, data: TrainingData, report: FitReport) -> dict[str, Any]:
        """Finish as the component does."""
        return self.method.finish(data, report)


def _objective(config: Any) -> Listwise.Config:
    """Return the objective's hyperparameters among those of a configuration."""
    return Listwise.Config(config.teacher, config.candidates, config.teacher_temperature, config.max_length)
