"""The interface of a strategy. Read this page first when you add one.

A strategy is one way of adapting retrieval to a domain: leave the model frozen, train all of it, train a small
attachment, or do without a model. The harness calls `Strategy` and knows nothing else.

Most new strategies are methods: they change the embedding model, and derive from
`bench.encoders.strategy.EncoderStrategy`. A method is a `Config` and an `attach`:

    class Biases(EncoderStrategy):
        '''Train the bias terms alone (Ben Zaken et al., 2022, section 3).'''

        name = "biases"

        @dataclass(frozen=True)
        class Config(EncoderConfig):
            lr: float = 1e-3

        def attach(self, tower):
            for name, parameter in tower.named_parameters():
                parameter.requires_grad = name.endswith(".bias")
            return tower

Save it as one file. `python -m bench check --strategy-file biases.py` runs the contract (`bench.contract`), and
`python -m bench run --strategy-file biases.py --strategies frozen,biases` compares it with the frozen model.

A strategy never scores itself. `fit` gets `TrainingData` and no test query; `search` gets texts and no judgements.
Importing a strategy's module must not import torch: import it inside the methods.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from bench.budget import Budget
from bench.data.dataset import Corpus, TrainingData
from bench.errors import NotApplicableError
from bench.records import FitReport
from bench.retrieval.ranking import Ranking
from bench.strategy.hyperparameters import StrategyConfig
from bench.strategy.protocols import Index
from bench.strategy.resources import Resources

if TYPE_CHECKING:
    import numpy as np
    from sentence_transformers import SentenceTransformer

Needs = Literal["pairs", "generated", "corpus", "answers"]
Trains = Literal["encoder", "head", "none"]
Reindex = Literal["none", "transform", "encode"]

__all__ = ["Index", "Needs", "Reindex", "Strategy", "Trains"]


class Strategy(ABC):
    """One way of adapting retrieval to a domain.

    Args:
        config: hyperparameters, an instance of this class's `Config`. None takes the defaults.
        resources: what the harness lends: base model, device, encoder of the base model, meter, cache. Read-only.
        components: the fitted strategies that the expression names, in this order: the positional ones
            (`hybrid(lora)` has one), then those of options (`teacher=...`, `start=...`).
    """

    name: ClassVar[str]
    summary: ClassVar[str] = ""
    """One line for `bench list strategies`."""
    version: ClassVar[int] = 1
    """Part of a fit's identity. Raise it when results change."""
    Config: type[StrategyConfig] = StrategyConfig
    """Its hyperparameters: a frozen dataclass, nested under this name."""
    needs: ClassVar[frozenset[Needs]] = frozenset()
    """What `fit` uses: labelled pairs, pairs with queries that a language model wrote, or the corpus alone.

    An empty set means one fit for all budgets and seeds.
    """
    trains: ClassVar[Trains] = "none"
    trains_transformer: ClassVar[bool] = False
    """Whether `fit` has backward passes through a transformer, so that gradient checkpointing concerns it."""
    reindex: Reindex = "none"
    """What a corpus that was indexed with the base model needs once this strategy is chosen."""
    serves: ClassVar[bool] = True
    """Whether it answers queries itself, so that its latency means something. A stored ranking is only looked up."""
    probe_queries: ClassVar[int | None] = None
    """The most queries of a probe that it is asked, for strategies that take long over each query. None is all."""
    on_4_bits: ClassVar[bool] = True
    """Whether it works on a base model whose weights are 4-bit codes. Planning refuses it where it does not."""
    on_gpu: ClassVar[bool] = True
    """Whether it computes on a GPU where there is one. If not, a cluster gives it none."""
    n_components: ClassVar[int] = 0
    """How many positional components its expression takes."""
    more_components: ClassVar[bool] = False
    """Whether it takes any number of positional components from `n_components` up."""
    around_frozen: ClassVar[bool] = True
    """Whether the same composite around `frozen` shows what the composition earns alone. It is then planned with it."""
    single_vector_components: ClassVar[bool] = False
    """Whether its components must represent a text as one vector. Planning refuses others."""
    component_options: ClassVar[tuple[str, ...]] = ()
    """Options that may name a strategy, such as `teacher=hybrid(full)`. The run fits it, and it joins `components`."""

    def __init__(
        self, config: StrategyConfig | None, resources: Resources, components: Sequence[Strategy] = ()
    ) -> None:
        self.config: Any = config if config is not None else self.Config()
        self.resources = resources
        self.components = tuple(components)

    @abstractmethod
    def fit(self, data: TrainingData, budget: Budget, seed: int) -> FitReport:
        """Adapt to the domain within the budget.

        The harness charges the wall-clock time of this call, except what runs under `resources.meter.excluded()`.

        Raises:
            NotApplicableError: the strategy cannot work on this model or data.
        """

    @abstractmethod
    def index(self, corpus: Corpus) -> Index:
        """Index a corpus: the target's, a probe's or the development pool's."""

    @abstractmethod
    def search(self, queries: Mapping[str, str], index: Any, top_k: int) -> Ranking:
        """Rank the `top_k` best documents for each query (id -> text), in trec_eval's order."""

    def similarity(self, first: Sequence[str], second: Sequence[str]) -> np.ndarray:
        """Return the similarity of each pair of sentences (n,), as documents are compared.

        Raises:
            NotApplicableError: the strategy ranks documents and has no similarity of two sentences.
        """
        raise NotApplicableError(f"{self.name} ranks documents and has no similarity of two sentences")

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write what the strategy adds to the base model and its components into an empty folder, and nothing else."""

    @abstractmethod
    def load(self, folder: Path) -> None:
        """Read what `save` wrote. Called on a new instance with the same configuration, resources and components."""

    def untrained_counterpart(self) -> Strategy | None:
        """Return the same composition around the untouched base encoder, fitted. Forgetting is measured against it.

        None where there is no such composition (`bm25`).
        """
        return None

    def training_state(self) -> dict[str, Any] | None:
        """Return what training changes besides the trained module, so that an interrupted fit can resume.

        Only tensors and plain values. If this returns None, an interrupted fit begins again.
        """
        return None

    def resume_training(self, state: Mapping[str, Any]) -> None:
        """Continue from what `training_state` returned. Called right before the first step of a resumed fit."""
        return

    def to_sentence_transformer(self) -> SentenceTransformer:
        """Return the fitted model as a plain sentence-transformers model on the CPU, which `bench export` writes.

        It loads without this project, and its similarities of queries and documents are this strategy's scores.

        Raises:
            NotApplicableError: there is no such model. The message says why.
        """
        component = " Its component can be exported." if self.components else ""
        raise NotApplicableError(f"{self.name} ranks by more than one embedding model's similarities.{component}")

    @property
    def serving_components(self) -> tuple[Strategy, ...]:
        """The components that answer queries. A teacher or a start does not."""
        return self.components[: self.n_components]

    @property
    def trainable_params(self) -> int:
        """Scalars that training may change and that receive a gradient; 0 where nothing is trained."""
        return 0

    def added_query_flops(self, queries: Sequence[str], corpus: Corpus) -> float:
        """Return the operations that a mean query costs beyond encoding it, by formula: those of a re-ranker."""
        return sum(each.added_query_flops(queries, corpus) for each in self.serving_components)

    def text_read(self, texts: Sequence[str]) -> dict[str, float]:
        """Return the share of the tokens of documents that each part of the strategy reads: its name -> 0 to 1.

        The default is that of the serving components, or the whole text where there is none.
        """
        if not self.serves:
            return {}
        parts: dict[str, float] = {}
        for component in self.serving_components:
            parts |= component.text_read(texts)
        return parts or {self.name: 1.0}

    @classmethod
    def inputs(cls, config: StrategyConfig) -> Sequence[Path]:
        """Return files besides dataset and base model that decide the result. Their content is part of the identity.

        Raises:
            BenchError: a file that `config` names does not exist.
        """
        return ()
