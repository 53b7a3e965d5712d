"""AdaptBench: compare ways of adapting a retrieval embedding model to a domain, under one budget.

from bench import run

outcome = run(strategies="frozen,lora", datasets="pydocs", budget_steps=60)
outcome.frame()[["strategy", "ndcg@10", "cost.fit_seconds"]]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.running.run import RunResult

__version__ = "0.1.0"
__all__ = ["__version__", "run"]


def run(config: str | None = None, *, quiet: bool = False, **settings: Any) -> RunResult:
    """Run a comparison, as `adaptbench run` does, and return what it left: `.frame()` is a pandas DataFrame.

    Args:
        config: a YAML file, or the `run.json` of an earlier run, that says the rest.
        quiet: show failures alone.
        settings: fields of `bench.config.schema.RunConfig`, such as `strategies="frozen,lora"`, `seeds=[0, 1, 2]`;
            limits as `budget_steps=150` or `budget={"steps": 150}`.

    Raises:
        BenchError: a setting, strategy, dataset or model is not known, or does not go with the others.
    """
    from pathlib import Path

    from rich.console import Console

    from bench.config.schema import from_mapping, load, merged
    from bench.planning.plan import plan
    from bench.running.progress import display
    from bench.running.run import execute, pending
    from bench.store.store import Store

    values = merged(load(Path(config)) if config else {}, settings)
    found = from_mapping(values)
    planned = plan(found)
    fits, cells = pending(planned, Store(Path(found.out)), found.overwrite)
    with display(Console(stderr=True), len(fits) + len(cells), quiet) as shown:
        outcome = execute(found, shown, planned)
    if outcome.interrupted:
        raise KeyboardInterrupt
    return outcome
