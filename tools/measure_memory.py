"""Measure the memory that large inputs take: one document of 50 MB, or 100,000 queries with 100 results each.

python tools/measure_memory.py document --megabytes 50
python tools/measure_memory.py queries --count 100000
"""

from __future__ import annotations

import argparse
import resource
import sys


def peak() -> float:
    """Return the largest memory of this process so far, in GB."""
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kilobytes * (1 if sys.platform == "darwin" else 1024) / 1e9


def document(megabytes: int) -> None:
    """Encode a document of this size with the default model."""
    from bench.models.locate import base_model
    from bench.retrieval.encode import Encoder

    encoder = Encoder(base_model().load("cpu"))
    encoder.uncached(["a kettle"], "document")
    before = peak()
    text = "To clean the kettle, unplug it first and open its cover. " * (megabytes * 1_000_000 // 57)
    encoder.uncached([text], "document")
    sys.stdout.write(f"one document of {megabytes} MB: {before:.2f} GB before, {peak():.2f} GB at most\n")


def queries(count: int) -> None:
    """Search 2,000 random documents for random queries, and score the ranking."""
    import numpy as np

    from bench.evaluation.measures import evaluate
    from bench.retrieval.index import VectorIndex

    draw = np.random.default_rng(0)
    documents = draw.standard_normal((2000, 384), dtype=np.float32)
    index = VectorIndex([f"document-{n}" for n in range(2000)], documents)
    names = [f"query-{n}" for n in range(count)]
    vectors = draw.standard_normal((count, 384), dtype=np.float32)
    before = peak()
    ranking = index.search(names, vectors, 100)
    scores = evaluate(ranking, {name: {f"document-{n % 2000}": 1} for n, name in enumerate(names)}, ("ndcg@10",))
    sys.stdout.write(
        f"{count:,} queries: {before:.2f} GB before (vectors among them), {peak():.2f} GB at most; "
        f"nDCG@10 {scores.mean('ndcg@10'):.6f}\n"
    )


def main() -> None:
    """Measure what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("document", "queries"))
    parser.add_argument("--megabytes", type=int, default=50)
    parser.add_argument("--count", type=int, default=100_000)
    arguments = parser.parse_args()
    document(arguments.megabytes) if arguments.what == "document" else queries(arguments.count)


if __name__ == "__main__":
    main()
