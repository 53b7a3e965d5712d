"""A short text before each query, chosen from a list on development data (instructions: Su et al., 2023, section 2)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.budget import Budget
from bench.data.dataset import Corpus, TrainingData
from bench.encoders.base import BaseEncoder
from bench.encoders.plain import plain_base
from bench.errors import BenchError
from bench.records import FitReport
from bench.retrieval.ranking import Ranking
from bench.strategy.hyperparameters import StrategyConfig

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

PROMPTS = (
    "",
    "query: ",
    "search query: ",
    "question: ",
    "Represent this sentence for searching relevant passages: ",
    "Find the passage that answers the question: ",
    "Which document is about this? ",
)
_BAR = "|"


class Instruct(BaseEncoder):
    """The frozen model with a prompt before each query: the one that ranks development data best. Nothing is trained.

    The prompt follows the model's own prompt, if it has one. The empty prompt is always a candidate.
    """

    name = "instruct"
    summary = "a prompt for queries, chosen on development data; frozen model"
    needs = frozenset({"pairs"})

    @dataclass(frozen=True)
    class Config(StrategyConfig):
        """`prompts` are the candidates, separated by `|`. A space at the end of a prompt counts."""

        prompts: str = _BAR.join(PROMPTS)

    prompt: str = ""

    def fit(self, data: TrainingData, budget: Budget, seed: int) -> FitReport:
        """Choose the prompt with the best nDCG@10 on the development pool. Among equals the empty prompt wins."""
        prompts = list(dict.fromkeys(["", *self.config.prompts.split(_BAR)]))
        if len(prompts) < 2:
            raise BenchError("instruct.prompts holds no prompt: give some, parted by |")
        report = FitReport(examples=data.labels)
        self.prompt = ""
        pool = self.resources.development(data)
        if pool is None:
            report.notes.append("instruct: too few labels to choose a prompt, so queries stay as they are")
            report.chosen = {"prompt": ""}
            return report
        index = self.index(pool.corpus)
        scores = {}
        for prompt in prompts:
            self.prompt = prompt
            scores[prompt] = float(pool.scores_of(self.search(pool.queries, index, 10)).mean())
        self.prompt = max(scores, key=lambda prompt: (scores[prompt], -prompts.index(prompt)))
        report.best_dev = report.last_dev = scores[self.prompt]
        report.base_dev = scores[""]
        report.chosen = {"prompt": self.prompt, "scores": scores}
        return report

    def search(self, queries: Mapping[str, str], index: Any, top_k: int) -> Ranking:
        """Rank by the base model's similarity, with the prompt before each query."""
        return super().search({query: self.prompt + text for query, text in queries.items()}, index, top_k)

    def added_query_flops(self, queries: Sequence[str], corpus: Corpus) -> float:
        """Return the operations that the prompt adds to a query of mean length."""
        from bench.evaluation.flops import query_flops

        encoder = self.resources.encoder
        return query_flops(encoder, [self.prompt + text for text in queries]) - query_flops(encoder, queries)

    def to_sentence_transformer(self) -> SentenceTransformer:
        """Return the base model with the prompt for queries in its own configuration."""
        from bench.retrieval.encode import prompt_of

        model = plain_base(self.resources)
        model.prompts["query"] = (prompt_of(model, "query") or "") + self.prompt
        return model

    def save(self, folder: Path) -> None:
        """Write the prompt."""
        (folder / "instruct.json").write_text(json.dumps({"prompt": self.prompt}), encoding="utf-8")

    def load(self, folder: Path) -> None:
        """Read what `save` wrote."""
        self.prompt = str(json.loads((folder / "instruct.json").read_text(encoding="utf-8"))["prompt"])
