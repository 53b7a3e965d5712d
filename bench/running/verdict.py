"""The status of a fit that ran to its end: what its training did, what it spent, and what it did to its process."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.budget import OVERRUN, Budget
from bench.data.dataset import Corpus, TrainingData
from bench.encoders.base import BaseEncoder
from bench.encoders.serving import encoder_of, is_lent_model_altered, uncached
from bench.encoders.strategy import EncoderStrategy
from bench.planning.specs import FitSpec
from bench.records import FitReport
from bench.running.environment import JobEnvironment
from bench.training.audit import Noted
from bench.training.observer import FitObserver
from bench.training.process_state import ProcessState, described

if TYPE_CHECKING:
    from bench.strategy.base import Strategy

_PROBE_TEXTS = 16
"""Documents whose embeddings show whether training moved anything."""
_MOVED = 1e-6
"""Smallest difference of two embeddings that counts as a difference."""


def verdict(
    strategy: Strategy,
    fitted: FitReport,
    spec: FitSpec,
    spent: dict[str, float],
    data: TrainingData,
    seen: FitObserver,
) -> tuple[Any, str]:
    """Return the status of a fit that ran to its end, and the reason."""
    if fitted.diverged:
        return "diverged", fitted.diverged
    if problem := seen.problem(fitted.steps):
        return "failed", f"{problem}: it trains in ways that its budget does not count"
    if is_lent_model_altered(strategy):
        return "failed", "it changed the base model that was lent to it"
    if strategy.trains != "none" and not moves(strategy, data.corpus.subset(data.corpus.ids[:_PROBE_TEXTS])):
        return "no_effect", f"the embeddings of {_PROBE_TEXTS} documents are those of the base model"
    over = overrun(spec.budget, spent)
    return ("over_budget", over) if over else ("ok", "")


def overrun(budget: Budget, spent: dict[str, float]) -> str:
    """Return which limit a fit exceeded, in words; empty where every limit holds.

    A budget in seconds is a plan, so it is exceeded at 1.25 times. A budget in operations may end with the step that
    crosses it.
    """
    steps = max(spent["steps"], 1)
    allowed = {
        "examples": budget.examples,
        "steps": budget.steps,
        "flops": budget.flops * (1 + 1 / steps) if budget.flops is not None else None,
        "memory": budget.memory,
        "seconds": budget.max_seconds * OVERRUN if budget.max_seconds is not None else None,
    }
    for name, limit in allowed.items():
        if limit is not None and spent[name] > limit:
            return f"{name}: {spent[name]:,.4g} used, {budget.limits.get(name, limit / OVERRUN):,.4g} allowed"
    return ""


def moves(strategy: Strategy, corpus: Corpus) -> bool:
    """Return whether a trained strategy's embeddings, or its scores, differ from the base model's.

    The vector cache is not used. The same texts in the same batches give the same bits where nothing has changed.
    """
    texts = list(corpus.texts)
    base = strategy.untrained_counterpart()
    with uncached(strategy):
        if strategy.trains == "encoder" and isinstance(strategy, EncoderStrategy) and isinstance(base, BaseEncoder):
            after, before = strategy.encoder, base.encoder
            return any(
                float(np.abs(after.uncached(texts, kind) - before.uncached(texts, kind)).max()) >= _MOVED
                for kind in ("document", "query")
            )
        if base is None:
            return encoder_of(strategy) is None
        queries = dict(zip(corpus.ids, texts, strict=True))
        after_run = strategy.search(queries, strategy.index(corpus), len(texts)).as_run()
        before_run = base.search(queries, base.index(corpus), len(texts)).as_run()
    return any(
        abs(score - before_run[query].get(doc, 0.0)) >= _MOVED
        for query, scores in after_run.items()
        for doc, score in scores.items()
    )


def misuse_of(before: ProcessState, noted: Noted, environment: JobEnvironment) -> str:
    """Return in words what a strategy did to its process, or what it read that it must not; empty for nothing."""
    if changes := before.changes():
        return f"it changed the process that measures it: {described(changes)}"
    threads = [] if environment.execution.report_to else before.threads()  # trackers have threads of their own
    if threads:
        return f"a thread still runs after its fit: {described(threads)}"
    cells = environment.store.folder.resolve() / "cells"
    files = [file for file in noted.files if "qrels" in Path(file).parts or Path(file).is_relative_to(cells)]
    return f"it opened {described(files)}, which holds judgements or results" if files else ""
