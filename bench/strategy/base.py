"""The interface of a strategy: the page to read first when you add one.

A strategy is one way of getting good rankings on a domain: leave the model frozen, train all of it, train a small
attachment, do without a model. `Strategy` is what the harness calls. `EncoderStrategy` implements it for everything
that changes the embedding model: there, a new parameter-efficient method is a `Config` and an `attach`.

    class Biases(EncoderStrategy):
        '''Train the bias terms alone (Ben Zaken et al., 2022, section 3).'''

        name = "biases"

        @dataclass(frozen=True)
        class Config(EncoderConfig):
            lr: float = 1e-3

        def attach(self, model):
            for name, parameter in model.named_parameters():
                parameter.requires_grad = name.endswith(".bias")
            return model

Put it into one file and try it: `python -m bench check --strategy-file biases.py` runs the contract (`bench.contract`),
`python -m bench run --strategy-file biases.py --strategies frozen,biases` compares it.

A strategy never scores itself, and never sees a test query: `fit` is given `TrainingData`, the harness ranks and
measures. Importing a strategy's module must not import torch; import it inside the methods.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from bench.budget import Budget
from bench.data.dataset import Corpus, TrainingData
from bench.errors import NotApplicableError
from bench.records import FitReport
from bench.retrieval.ranking import Ranking
from bench.strategy.hyperparameters import StrategyConfig

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from bench.strategy.resources import Resources

Needs = Literal["pairs", "corpus"]
Trains = Literal["encoder", "head", "none"]
Reindex = Literal["none", "transform", "encode"]

__all__ = ["Index", "Needs", "Reindex", "Strategy", "Trains"]


class Index(Protocol):
    """A searchable corpus. A value: a strategy returns it and keeps nothing, as target and probes live side by side."""

    @property
    def nbytes(self) -> int:
        """Bytes that the index takes in memory."""
        ...

    @property
    def seconds(self) -> float:
        """Seconds that encoding and indexing cost; what a cache spared is included at its recorded price."""
        ...


class Strategy(ABC):
    """One way of adapting retrieval to a domain.

    Args:
        config: hyperparameters, an instance of this class's `Config`; None for the defaults.
        context: what the harness lends: base model, device, cached encoder of the base model, meter, scratch folder.
        parts: the fitted strategies this one is composed of, in the order of its expression (`hybrid(lora)`: one).
    """

    name: ClassVar[str]
    summary: ClassVar[str] = ""
    """One line for `bench list strategies`."""
    version: ClassVar[int] = 1
    """Raise it when results change: it is part of a fit's identity."""
    Config: type[StrategyConfig] = StrategyConfig
    """Its hyperparameters: a frozen dataclass, nested under this name."""
    needs: ClassVar[frozenset[Needs]] = frozenset()
    """What `fit` uses. Empty: there is one fit for all budgets and seeds."""
    trains: ClassVar[Trains] = "none"
    reindex: ClassVar[Reindex] = "none"
    """What a corpus that was indexed with the base model needs once this strategy is chosen."""
    serves: ClassVar[bool] = True
    """Whether it answers queries itself, so that its latency means something; a stored ranking is only looked up."""
    probe_queries: ClassVar[int | None] = None
    """How many queries of a probe it is asked; None is all. A bound for what takes long over each query."""
    n_components: ClassVar[int] = 0
    """How many parts its expression takes."""
    component_options: ClassVar[tuple[str, ...]] = ()
    """Options that may name a strategy (`teacher=hybrid(full)`): it is then fitted too, and follows in `parts`."""

    def __init__(
        self, config: StrategyConfig | None, resources: Resources, components: Sequence[Strategy] = ()
    ) -> None:
        self.config: Any = config if config is not None else self.Config()
        self.resources = resources
        self.components = tuple(components)

    @abstractmethod
    def fit(self, data: TrainingData, budget: Budget, seed: int) -> FitReport:
        """Adapt to the domain within the budget.

        The harness charges the wall-clock time of this call, less what runs under `resources.meter.excluded()`.

        Raises:
            NotApplicableError: the strategy cannot work on this model or data.
        """

    @abstractmethod
    def index(self, corpus: Corpus) -> Index:
        """Index a corpus: the target's, a probe's or the development pool's."""

    @abstractmethod
    def search(self, queries: Mapping[str, str], index: Any, top_k: int) -> Ranking:
        """Rank the `top_k` best documents for each query (id -> text), in trec_eval's order."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write what the strategy adds to the base model and its parts, and nothing else, into an empty folder."""

    @abstractmethod
    def load(self, folder: Path) -> None:
        """Read what `save` wrote. Called on a new instance with the same configuration, context and parts."""

    def untrained_counterpart(self) -> Strategy | None:
        """Return the same composition with the untouched base encoder, fitted: what forgetting is measured against.

        None where there is no such thing (`bm25`).
        """
        return None

    def to_sentence_transformer(self) -> SentenceTransformer:
        """Return what was fitted as a plain sentence-transformers model on the CPU: what `bench export` writes.

        It loads without this project, and its similarities of queries and documents are this strategy's scores.

        Raises:
            NotApplicableError: there is no such model; says why.
        """
        part = " Its part can be exported." if self.components else ""
        raise NotApplicableError(f"{self.name} ranks by more than one embedding model's similarities.{part}")

    @property
    def serving_components(self) -> tuple[Strategy, ...]:
        """The parts that answer queries: a teacher, which follows them in `parts`, does not."""
        return self.components[: self.n_components]

    @property
    def trainable_params(self) -> int:
        """Scalars that training may change and that receive a gradient; 0 where nothing is trained."""
        return 0

    def added_query_flops(self, queries: Sequence[str], corpus: Corpus) -> float:
        """Return the operations that a mean query costs beyond encoding it, by formula: those of a re-ranker."""
        return sum(part.added_query_flops(queries, corpus) for part in self.serving_components)

    @classmethod
    def inputs(cls, config: StrategyConfig) -> Sequence[Path]:
        """Return files besides dataset and base model that decide the result: their content is part of the identity.

        Raises:
            BenchError: one that `config` names is not there.
        """
        return ()

    @classmethod
    def resize(cls, config: StrategyConfig, limit: int, resources: Resources) -> StrategyConfig | None:
        """Return the largest variant of `config` with at most `limit` trainable parameters, or None if none fits.

        The size knob that `Config` declares is turned; what has none fits or does not.
        """
        from bench.training.sizing import resized

        return resized(cls, config, limit, resources)
