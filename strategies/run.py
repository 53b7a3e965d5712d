"""A TREC run of an existing search engine, compared like a strategy: `run:FILE`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.budget import Budget
from bench.data.dataset import Corpus, TrainingData
from bench.data.files import expanded
from bench.errors import BenchError, NotApplicableError
from bench.records import FitReport
from bench.retrieval.ranking import Ranking, read_trec, write_trec
from bench.strategy.base import Strategy
from bench.strategy.hyperparameters import StrategyConfig

_COPY = "run.trec.gz"


class Run(Strategy):
    """The rankings of a file (`query Q0 document rank score tag`, gzipped or not), ordered by score as trec_eval does.

    A query that the file lacks counts as one without results. Notes tell where
    ranks contradict scores. A file cannot show what answering costs.
    """

    name = "run"
    summary = "the rankings of a TREC run file"
    serves = False
    on_gpu = False

    @dataclass(frozen=True)
    class Config(StrategyConfig):
        """`file` is the path of the run."""

        file: str = ""

    ranking: Ranking = Ranking()

    @classmethod
    def inputs(cls, config: StrategyConfig) -> Sequence[Path]:
        """Return the file: other content makes another fit.

        Raises:
            BenchError: none is named, or it is not there.
        """
        return [_path(config)]

    def fit(self, data: TrainingData, budget: Budget, seed: int) -> FitReport:
        """Read the file. A copy of it is the artefact, so that cells do not depend on the original."""
        notes: list[str] = []
        self.ranking = read_trec(_path(self.config), notes)
        if not len(self.ranking):
            raise BenchError(f"{self.config.file}: an empty run")
        return FitReport(notes=notes)

    def index(self, corpus: Corpus) -> RunIndex:
        """Keep the corpus, to check documents against it."""
        return RunIndex(corpus)

    def search(self, queries: Mapping[str, str], index: Any, top_k: int) -> Ranking:
        """Look the queries up.

        Raises:
            NotApplicableError: the run is of another dataset: it holds none of the queries, or none of the documents.
        """
        held = [query for query in queries if query in self.ranking.hits]
        if not held and len(queries) > 1:  # one alone, as when its latency is taken, may have found nothing
            some = ", ".join(map(repr, list(queries)[:3]))
            raise NotApplicableError(f"run {self.config.file}: holds none of the {len(queries)} queries ({some} ...)")
        found = [doc for query in held for doc, _ in self.ranking[query]]
        if found and not any(doc in index.corpus.positions for doc in found):
            raise NotApplicableError(
                f"run {self.config.file}: none of its documents ({found[0]!r} ...) is in the corpus"
            )
        return Ranking({query: self.ranking.hits.get(query, [])[:top_k] for query in queries})

    def save(self, folder: Path) -> None:
        """Write a copy of the run."""
        write_trec(self.ranking, folder / _COPY, self.name)

    def load(self, folder: Path) -> None:
        """Read the copy."""
        self.ranking = read_trec(folder / _COPY)


class RunIndex:
    """The corpus that a run ranks. Nothing is built."""

    nbytes: int = 0
    seconds: float = 0.0

    def __init__(self, corpus: Corpus) -> None:
        self.corpus = corpus


def _path(config: Any) -> Path:
    if not config.file:
        raise BenchError("run needs a file: run:FILE, a TREC run (query Q0 document rank score tag)")
    path = expanded(Path(config.file))
    if not path.is_file():
        raise BenchError(f"run file {path} does not exist")
    return path
