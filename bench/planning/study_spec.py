"""What a study is before it is made: a tree of strategies, the data, the budget of each trial.

In the identity of a study (its name ends in the hash): the strategies with their versions, fixed options and
dimensions, the training settings, fingerprints of dataset and model, the budget; under seconds or usd the machine
class. Not in it: how many trials are asked for, so that more can be added. That number belongs to a fit's request.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from bench.budget import Budget
from bench.strategy.settings import TrainingSettings

SEED = 0
"""Of every study: of its data, its fits and its sampler. The seeds of a run share one study."""


@dataclass(frozen=True)
class Node:
    """A strategy of the composition that is tuned, with its parts. Plain values."""

    root: str
    """As the registry knows it."""
    model: str
    """The base model as asked for; empty is the default."""
    config: dict[str, Any]
    """Options that the user has fixed: they are not tuned."""
    tuned: tuple[str, ...] = ()
    """Names of the options that are tuned, its own alone."""
    path: str = ""
    """Where it stands: empty for the root, else names of strategies from the root down: `hybrid.lora`."""
    components: tuple[Node, ...] = ()

    def key(self, option: str) -> str:
        """Return the name of one of its options in the whole study."""
        return f"{self.path}.{option}" if self.path else option

    def chosen(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return its own part of the parameters of a trial."""
        return {option: params[self.key(option)] for option in self.tuned if self.key(option) in params}

    def walk(self) -> Iterator[Node]:
        """Yield this strategy, then its parts and theirs."""
        yield self
        for part in self.components:
            yield from part.walk()

    def at(self, path: str) -> Node:
        """Return the strategy at a path of this study."""
        return next(node for node in self.walk() if node.path == path)

    @property
    def dimensions(self) -> int:
        """How many options are tuned, those of the parts included."""
        return sum(len(node.tuned) for node in self.walk())

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Node:
        """Rebuild from `asdict`, also after JSON."""
        components = tuple(cls.from_dict(part) for part in raw["components"])
        return cls(**{**raw, "tuned": tuple(raw["tuned"]), "components": components})


@dataclass(frozen=True)
class StudySpec:
    """One study to be made. Plain values only: it can be pickled, and written as JSON for a cluster."""

    name: str
    strategy: str
    """The canonical expression."""
    root: Node
    dataset: str
    """The dataset as asked for: a name or a folder."""
    dataset_name: str
    model_name: str
    budget: Budget
    training: TrainingSettings
    test_split: str = "test"
    fingerprints: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class TuningRequest:
    """What a fit wants of a study: the choice after so many trials, for the strategy at this place."""

    study: StudySpec
    trials: int
    path: str = ""

    @property
    def node(self) -> Node:
        """The strategy at this place."""
        return self.study.root.at(self.path)

    @property
    def of_components(self) -> list[TuningRequest | None]:
        """The same request for each part of that strategy."""
        return [replace(self, path=part.path) for part in self.node.components]

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> TuningRequest:
        """Rebuild from `asdict`, also after JSON."""
        study = dict(raw["study"])
        study["root"] = Node.from_dict(study["root"])
        study["budget"] = Budget(**study["budget"])
        study["training"] = TrainingSettings(**study["training"])
        return cls(StudySpec(**study), raw["trials"], raw["path"])

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return asdict(self)
