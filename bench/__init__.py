"""AdaptBench: compare ways of adapting a retrieval embedding model to a domain, under one budget.

from bench import run

result = run(strategies="frozen,lora", datasets="pydocs", budget_steps=60)
result.frame()[["strategy", "ndcg@10", "cost.fit_seconds"]]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.running.run import RunResult

__version__ = "0.1.0"
__all__ = ["__version__", "run"]


def run(config: str | None = None, *, quiet: bool = False, **settings: Any) -> RunResult:
    """Run a comparison, as `adaptbench run` does, and return its result. `.frame()` gives a pandas DataFrame.

    Args:
        config: a YAML file, or the `run.json` of an earlier run, for all settings that are not given here.
        quiet: show only failures.
        settings: fields of `bench.config.schema.RunConfig`, such as `strategies="frozen,lora"` or `seeds=[0, 1, 2]`.
            Limits are given as `budget_steps=150` or `budget={"steps": 150}`.

    Raises:
        BenchError: a setting, strategy, dataset or model is unknown, or settings contradict each other.
        KeyboardInterrupt: the user stopped the run. Run the same again to resume.
    """
    from pathlib import Path

    from rich.console import Console

    from bench.config.schema import from_mapping, load, merged
    from bench.running.progress import display
    from bench.running.run import Run

    run = Run.prepare(from_mapping(merged(load(Path(config)) if config else {}, settings)))
    with display(Console(stderr=True), len(run.pending()), quiet) as shown:
        result = run.execute(shown)
    if result.interrupted:
        raise KeyboardInterrupt
    return result
