"""The plain library: the code that a user would write with sentence-transformers and rank_bm25, defaults throughout.

It uses fp32, batches of 32, dropout, `SentenceTransformerTrainer` and `InformationRetrievalEvaluator`. `bf16=True` is
the trainer's own option. For encoding it means weights in bf16, as the library loads them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from bench.data.dataset import Corpus, Pair
from bench.scratch import scratch_folder

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from bench.strategy.base import Strategy

BATCH = 32


def encode(model: SentenceTransformer, texts: Sequence[str]) -> Any:
    """Encode documents and return their vectors (n, d)."""
    return model.encode_document(list(texts), batch_size=BATCH, show_progress_bar=False, convert_to_numpy=True)


def evaluate(
    model: SentenceTransformer,
    corpus: Corpus,
    queries: Mapping[str, str],
    qrels: Mapping[str, Mapping[str, int]],
) -> float:
    """Return nDCG@10 as the library's evaluator computes it."""
    from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator

    relevant = {query: {doc for doc, grade in docs.items() if grade > 0} for query, docs in qrels.items()}
    texts = dict(zip(corpus.ids, corpus.texts, strict=True))
    evaluator = InformationRetrievalEvaluator(dict(queries), texts, relevant, batch_size=BATCH, write_csv=False)
    scores = evaluator(model)
    return float(scores[evaluator.primary_metric])


def has_counterpart(strategy: Strategy) -> bool:
    """Return whether the plain library can train the same parameters: all of them, or a PEFT adapter."""
    if strategy.trains != "encoder" or hasattr(strategy, "peft_config"):
        return True
    model: SentenceTransformer = strategy.model  # type: ignore[attr-defined]
    return all(p.requires_grad or ".pooler." in f".{name}" for name, p in model.named_parameters())


def adapt(model: SentenceTransformer, strategy: Strategy) -> None:
    """Make the same parameters of a plain model trainable as the strategy does."""
    from bench.models.architectures import family

    peft_config = getattr(strategy, "peft_config", None)
    if peft_config is not None:
        model.add_adapter(peft_config(family(model)))


def train(
    model: SentenceTransformer, pairs: Sequence[Pair], bf16: bool, device: str, steps: int = -1, epochs: float = 1.0
) -> list[float]:
    """Train on pairs and return the seconds from each optimiser step to the next, including the wait for the batch."""
    import torch
    from datasets import Dataset as Table
    from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
    from transformers import TrainerCallback
    from transformers.trainer_callback import PrinterCallback

    stamps: list[float] = []

    class Stamps(TrainerCallback):
        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            if device.startswith("cuda"):
                torch.cuda.synchronize()
            stamps.append(time.perf_counter())

    table = Table.from_dict({"anchor": [p.query for p in pairs], "positive": [p.document for p in pairs]})
    with scratch_folder() as folder:
        arguments = SentenceTransformerTrainingArguments(
            output_dir=str(folder),
            max_steps=steps,
            num_train_epochs=epochs,
            per_device_train_batch_size=BATCH,
            bf16=bf16,
            use_cpu=device == "cpu",
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        trainer = SentenceTransformerTrainer(
            model=model,
            args=arguments,
            train_dataset=table,
            loss=MultipleNegativesRankingLoss(model),
            callbacks=[Stamps()],
        )
        trainer.remove_callback(PrinterCallback)  # it would print between the figures of `--json`
        trainer.train()
    return [after - before for before, after in pairwise(stamps)]


class PlainBm25:
    """rank_bm25, with a tokeniser that the caller gives."""

    def __init__(self, corpus: Corpus, tokenize: Callable[[str], list[str]]) -> None:
        from rank_bm25 import BM25Okapi

        self.ids, self.tokenize = corpus.ids, tokenize
        self.engine = BM25Okapi([tokenize(text) or [""] for text in corpus.texts])

    def search(self, queries: Mapping[str, str], top_k: int) -> dict[str, dict[str, float]]:
        """Return the best documents of each query, from the scores of all documents."""
        import numpy as np

        run = {}
        for query, text in queries.items():
            scores = self.engine.get_scores(self.tokenize(text))
            best = np.argsort(scores)[::-1][:top_k]
            run[query] = {self.ids[int(position)]: float(scores[position]) for position in best}
        return run
