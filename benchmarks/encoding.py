"""How many documents does a strategy encode in a second of processor time?

    python benchmarks/encoding.py [--strategies frozen,static] [--datasets scifact] [--data-dir DIR] [--documents 1000]

Processor time does not depend on what else the machine does. Each strategy is fitted without steps, so only strategies
that train nothing are asked. The second of two passes is timed, without the vector cache.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from bench.budget import Budget
from bench.contract import Blueprint
from bench.data.dataset import TrainingData
from bench.data.locate import load_dataset
from bench.data.splits import training_data
from bench.models.locate import base_model
from bench.strategy.resources import Resources


def measure(expression: str, data: TrainingData, texts: list[str], model: str | None) -> dict[str, float]:
    """Return documents per second of processor time, and the seconds that making the encoder took."""
    strategy: Any = Blueprint.of(expression).build(Resources(model=base_model(model)), ())
    start = time.process_time()
    strategy.fit(data, Budget(), 0)
    encoder, made = strategy.encoder, time.process_time() - start
    with encoder.ready():
        encoder.uncached(texts[:64], "document")
        start = time.process_time()
        encoder.uncached(texts, "document")
    return {"documents_per_second": len(texts) / (time.process_time() - start), "seconds_to_make": made}


def main() -> int:
    """Measure each strategy and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--strategies", default="frozen,static")
    parser.add_argument("--datasets", default="pydocs")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--model")
    parser.add_argument("--documents", type=int, default=1000)
    arguments = parser.parse_args()
    out = sys.stdout.write
    out("| dataset | strategy | documents/s of processor time | seconds to make it | characters a document | n |\n")
    out("|---|---|---:|---:|---:|---:|\n")
    for name in arguments.datasets.split(","):
        dataset = load_dataset(name, arguments.data_dir)
        texts = list(dataset.corpus.texts[: arguments.documents])
        for expression in arguments.strategies.split(","):
            found = measure(expression, training_data(dataset, 0), texts, arguments.model)
            out(
                f"| {name} | `{expression}` | {found['documents_per_second']:,.0f} | {found['seconds_to_make']:.1f} "
                f"| {sum(map(len, texts)) / len(texts):,.0f} | {len(texts):,} |\n"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
