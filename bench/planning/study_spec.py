"""The specification of a study: a tree of strategies, the data and the budget of each trial.

The identity of a study (its name ends in the hash) holds the strategies with their versions, fixed options and tuned
options, the training settings, the fingerprints of dataset and model, and the budget. Under a budget in seconds or usd
it also holds the machine class. The number of trials is not part of it, so that trials can be added later; that number
is part of the identity of a fit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from bench.budget import Budget
from bench.strategy.settings import TrainingSettings

SEED = 0
"""The seed of every study: of its data, its fits and its sampler. All seeds of a run share one study."""


@dataclass(frozen=True)
class Node:
    """One strategy of an expression, with its components. Plain values."""

    expression: str
    """The canonical expression of this strategy."""
    root: str
    """The strategy's name in the registry."""
    model: str
    """The base model as requested; empty is the default."""
    config: dict[str, Any]
    """Hyperparameters that the user has set: those that differ from their defaults, and sizes."""
    tuned: tuple[str, ...] = ()
    """The strategy's own options that a study tunes, without those of its components."""
    path: str = ""
    """Names of strategies from the root down, such as `hybrid.lora`; empty for the root."""
    components: tuple[Node, ...] = ()
    sources: tuple[str, ...] = ()
    """Datasets on which it is fitted instead of the target: a start under `sources=`, with its own components."""
    on_generated: bool = False
    """Whether generated queries take the place of labels in its fit: a teacher of `gpl`, with its own components."""
    fitted: str = ""
    """The fit that a trial takes as it is; empty where each trial fits it. Set for starts on sources."""

    def key(self, option: str) -> str:
        """Return the name of one of the strategy's options in the whole study."""
        return f"{self.path}.{option}" if self.path else option

    def chosen(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return the strategy's own options from the parameters of a trial."""
        return {option: params[self.key(option)] for option in self.tuned if self.key(option) in params}

    def walk(self) -> Iterator[Node]:
        """Yield this strategy, then its components and theirs."""
        yield self
        for component in self.components:
            yield from component.walk()

    def at(self, path: str) -> Node:
        """Return the strategy at a path of this study."""
        return next(node for node in self.walk() if node.path == path)

    @property
    def dimensions(self) -> int:
        """The number of tuned options, those of the components included."""
        return sum(len(node.tuned) for node in self.walk())

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Node:
        """Rebuild a node from `asdict`, also after JSON."""
        components = tuple(cls.from_dict(component) for component in raw["components"])
        sources = tuple(raw.get("sources", ()))
        return cls(**{**raw, "tuned": tuple(raw["tuned"]), "components": components, "sources": sources})


@dataclass(frozen=True)
class StudySpec:
    """One study to run. It holds plain values only: it can be pickled, and written as JSON for a cluster."""

    name: str
    """Readable, ending in the hash of the identity; also the name of the study's folder."""
    strategy: str
    """The canonical expression."""
    root: Node
    dataset: str
    """The dataset as requested: a name or a folder."""
    dataset_name: str
    model_name: str
    budget: Budget
    training: TrainingSettings
    trials: int
    """The requested number of trials, the default included. Not part of the identity."""
    test_split: str = "test"
    fingerprints: dict[str, str] = field(default_factory=dict)
    needs: tuple[str, ...] = ("pairs",)
    """What its trials may see besides the corpus."""


@dataclass(frozen=True)
class TuningRequest:
    """The study that chooses a fit's hyperparameters, and the fit's place in it."""

    study: StudySpec
    path: str = ""

    @property
    def node(self) -> Node:
        """The strategy at this place."""
        return self.study.root.at(self.path)

    @property
    def of_components(self) -> list[TuningRequest | None]:
        """The same request for each component of that strategy."""
        return [replace(self, path=component.path) for component in self.node.components]

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> TuningRequest:
        """Rebuild a request from `asdict`, also after JSON."""
        study = dict(raw["study"])
        study["root"] = Node.from_dict(study["root"])
        study["needs"] = tuple(study.get("needs", ("pairs",)))
        study["budget"] = Budget(**study["budget"])
        study["training"] = TrainingSettings(**study["training"])
        return cls(StudySpec(**study), raw["path"])

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return asdict(self)
