"""How time and memory grow with the corpus and with the number of strategies, on simulated vectors.

    python benchmarks/scale.py [--documents 10000 100000 1000000] [--queries 1000] [--figure docs/figures/scale.png]

A simulated model takes little time, so the script measures the harness's own work at scale: keys, the vector cache, the
memory-mapped table, search. Each measurement runs in a process of its own, so its peak memory is its own. Documents lie
around 1,000 subjects in 32 of their 384 dimensions, as embeddings do. Each query lies beside a document.

Times are processor seconds, medians over rounds in which the sizes take turns. Other work on the machine still changes
them, by a third where caches and memory are shared. The JSON file beside the figure has wall-clock seconds too.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from bench.report.canvas import save_png

DIMENSION = 384
_LATENT = 32
_SUBJECTS = 1000
_TOP_K = 100
_STRATEGIES = (1, 2, 4, 8)
_GROWING = {"encode and cache": "encode_seconds", "search": "search_seconds", "peak": "peak_bytes"}
"""Words -> key of what grows."""


class Numbered(Sequence[str]):
    """Texts that are generated on access, as a streamed corpus."""

    def __init__(self, name: str, n: int) -> None:
        self.name, self.n = name, n

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, position: Any) -> Any:
        if isinstance(position, slice):
            return [self[at] for at in range(*position.indices(self.n))]
        if not -self.n <= position < self.n:
            raise IndexError(position)
        return f"{self.name} {position % self.n:08d}"


class SimulatedModel:
    """A stand-in for a sentence-transformers model; `seed` stands for its weights."""

    max_seq_length = 512
    similarity_fn_name = "cosine"
    prompts: dict[str, str] = {}  # noqa: RUF012 - the library's models have the same attribute
    default_prompt_name = None
    training = False

    def __init__(self, seed: int, stride: int) -> None:
        rng = np.random.default_rng(seed)
        self.stride = stride
        """Distance between two documents that have a query."""
        self.basis = rng.normal(size=(_LATENT, DIMENSION)).astype(np.float32)
        self.subjects = rng.normal(size=(_SUBJECTS, _LATENT)).astype(np.float32)
        self.angles = rng.uniform(1, 100, size=_LATENT)

    def get_embedding_dimension(self) -> int:
        """Return the length of a vector."""
        return DIMENSION

    def train(self, mode: bool = True) -> None:
        """Do nothing: the simulated model has no modes."""

    def eval(self) -> None:
        """Do nothing: the simulated model has no modes."""

    def preprocess(self, texts: Sequence[str], prompt: str | None, task: str) -> dict[str, Any]:
        """Return the number at the end of each text."""
        numbers = np.array([int(text.rpartition(" ")[2]) for text in texts])
        return {"numbers": numbers * self.stride if task == "query" else numbers}

    def __call__(self, features: dict[str, Any], task: str) -> dict[str, Any]:
        """Return the vectors (n, 384) of numbered texts."""
        import torch

        numbers = features["numbers"]
        own = np.modf(np.sin((numbers[:, None] + 1.0) * self.angles) * 43758.5453)[0].astype(np.float32)
        latent = self.subjects[numbers % _SUBJECTS] + own
        if task == "query":
            latent = latent + 0.3 * np.roll(own, 1, axis=1)
        return {"sentence_embedding": torch.from_numpy(latent @ self.basis)}


class Clock:
    """Adds up processor and wall-clock seconds by phase."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time a block: `<name>_seconds` of the processor, `<name>_wall` by the clock."""
        wall, processor = time.perf_counter(), time.process_time()
        yield
        for key, spent in (
            (f"{name}_seconds", time.process_time() - processor),
            (f"{name}_wall", time.perf_counter() - wall),
        ):
            self.seconds[key] = self.seconds.get(key, 0.0) + spent


def measure(documents: int, queries: int, strategies: int, faiss: bool, threads: int) -> dict[str, Any]:
    """Encode, cache, read back and search a simulated corpus, and return seconds and the peak bytes of this process.

    Args:
        documents: size of the corpus.
        queries: number of queries.
        strategies: number of models, used in turn, each with vectors of its own.
        faiss: also search approximately.
        threads: of every library.
    """
    import torch

    from bench.retrieval.approximate import ApproximateSearch
    from bench.retrieval.cache import VectorCache
    from bench.retrieval.encode import Encoder
    from bench.retrieval.index import VectorIndex

    torch.set_num_threads(threads)
    base = peak_bytes()
    clock = Clock()
    results: dict[str, Any] = {}
    ids = [f"d{number:08d}" for number in range(documents)]
    texts = Numbered("query", queries)
    with tempfile.TemporaryDirectory() as folder:
        cache = VectorCache(Path(folder), max_bytes=100 * 1024**3)
        for seed in range(strategies):
            model: Any = SimulatedModel(seed, documents // queries)
            for phase in ("encode", "read"):
                encoder = Encoder(
                    model, f"simulated-{seed}", precision="fp32", cache=cache
                )  # a new one, as a new process has
                vectors = None
                with clock.phase(phase):
                    vectors, _ = encoder.documents(Numbered("document", documents))
            assert vectors is not None
            index = VectorIndex(ids, vectors)
            vectors_of_queries, _ = encoder.queries(texts)
            with clock.phase("search"):
                ranking = index.search(texts, vectors_of_queries, _TOP_K)
            right = sum(ranking[query][0][0] == ids[at * model.stride] for at, query in enumerate(texts))
            results["right_first"] = right / queries
            results["peak_bytes"] = peak_bytes()
            del index  # a large one holds an approximate index of its own
            if faiss:
                import faiss as library

                library.omp_set_num_threads(threads)
                with clock.phase("build"):
                    approximate = ApproximateSearch(vectors)
                with clock.phase("settle"):
                    approximate.search(vectors_of_queries[:64], _TOP_K)
                with clock.phase("approximate"):
                    approximate.search(vectors_of_queries, _TOP_K)
                results |= {"recall": approximate.recall, "lists": approximate.lists, "probes": approximate.probes}
                results["peak_bytes_faiss"] = peak_bytes()
    settings = {"documents": documents, "queries": queries, "strategies": strategies, "base_bytes": base}
    return settings | results | clock.seconds


def peak_bytes() -> int:
    """Return the peak memory of this process so far, including mapped files."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def in_own_process(**settings: Any) -> dict[str, Any]:
    """Return the measurement that a fresh process makes."""
    command = [sys.executable, __file__, "--one", json.dumps(settings)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{settings} ended with code {done.returncode}: {done.stderr[-2000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def over_rounds(rounds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the summary of equal measurements: median times, largest peak, least recall."""
    summary = dict(rounds[0])
    for key in summary:
        values = [each[key] for each in rounds]
        if key.endswith(("_seconds", "_wall")):
            summary[key] = statistics.median(values)
        elif key.startswith("peak_bytes"):
            summary[key] = max(values)
        elif key in ("recall", "right_first"):
            summary[key] = min(values)
    return summary


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return the measurements as Markdown."""
    lines = [
        "| documents | strategies | encode and cache, s | read back, s | search, s | peak, GB "
        "| FAISS: build, s | search, s | recall@100 | lists probed | peak, GB |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        cells = [
            f"{row['documents']:,}",
            str(row["strategies"]),
            *(f"{row[f'{name}_seconds']:.2f}" for name in ("encode", "read", "search")),
            f"{row['peak_bytes'] / 1e9:.2f}",
        ]
        if "recall" in row:
            cells += [f"{row['build_seconds']:.2f}", f"{row['approximate_seconds']:.2f}", f"{row['recall']:.3f}"]
            cells += [f"{row['probes']} of {row['lists']}", f"{row['peak_bytes_faiss'] / 1e9:.2f}"]
        else:
            cells += ["-"] * 5
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def growth(rows: Sequence[dict[str, Any]], key: str, over: str) -> float:
    """Return the exponent of the growth of `key` from the first row to the last: 1 is linear."""
    first, last = rows[0], rows[-1]
    return float(np.log(last[key] / first[key]) / np.log(last[over] / first[over]))


def report(record: dict[str, Any]) -> str:
    """Return the measurements as text and tables, with the conditions they were made under."""
    sizes, counts = record["sizes"], record["strategies"]
    libraries = sizes[0]["base_bytes"] / 1e9
    lines = [
        f"Simulated vectors of {DIMENSION} dimensions, {record['queries']:,} queries, the best {_TOP_K}. Times are "
        f"processor seconds, medians of {record['rounds']} rounds; peaks are of the whole process, libraries "
        f"({libraries:.2f} GB) and mapped files included. {record['machine']}, Python {platform.python_version()}, "
        f"numpy {np.__version__}; `python benchmarks/scale.py --threads {record['threads']} "
        f"--rounds {record['rounds']}`; wall-clock seconds are in `figures/scale.json`.",
        "",
        table([*sizes, *counts]),
    ]
    for rows, over in ((sizes, "documents"), (counts, "strategies")):
        if len(rows) > 1:
            shown = ", ".join(f"{words} {growth(rows, key, over):.2f}" for words, key in _GROWING.items())
            lines.append(f"Exponents of growth over {over}, from the first row to the last (1 is linear): {shown}.\n")
    return "\n".join(lines)


def draw(sizes: Sequence[dict[str, Any]], counts: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw time and peak memory over documents and over strategies, with dotted lines for linear growth."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 2, figsize=(9, 6.5))
    for column, (rows, over) in enumerate(((sizes, "documents"), (counts, "strategies"))):
        at = np.array([row[over] for row in rows], dtype=float)
        for name, label, colour in (
            ("encode", "keys, cache, table", "#0072B2"),
            ("read", "read from the cache", "#009E73"),
            ("search", f"search, {rows[0]['queries']:,} queries", "#D55E00"),
        ):
            values = np.array([row[f"{name}_seconds"] for row in rows])
            axes[0][column].plot(at, values, "o-", ms=4, color=colour, label=label)
            axes[0][column].plot(at, values[-1] * at / at[-1], ":", lw=1, color=colour)
        axes[1][column].plot(at, [row["peak_bytes"] / 1e9 for row in rows], "o-", ms=4, color="#0072B2", label="peak")
        axes[1][column].axhline(rows[0]["base_bytes"] / 1e9, color="0.6", lw=1, label="libraries alone")
        axes[0][column].set(xscale="log", yscale="log", ylabel="processor seconds")
        axes[1][column].set(xscale="log", ylabel="peak memory, GB", ylim=(0, None))
    axes[1][0].axhline(4, color="#D55E00", lw=1, ls="--", label="4 GB")
    axes[1][0].set_ylim(0, 4.4)
    for row in axes:
        row[0].set_xlabel(f"documents ({DIMENSION} dimensions)")
        row[1].set_xlabel(f"strategies, one after another ({counts[0]['documents']:,} documents)")
        row[1].set_xticks([each["strategies"] for each in counts], [str(each["strategies"]) for each in counts])
        row[1].minorticks_off()
    for panel in axes.flat:
        panel.spines[["top", "right"]].set_visible(False)
        panel.legend(frameon=False, fontsize=8)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    save_png(figure, path, dpi=130)


def main() -> None:
    """Measure every size, then every number of strategies; print the table, draw the figure, write the numbers."""
    root = Path(__file__).resolve().parents[1]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--documents", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--strategies", type=int, nargs="+", default=_STRATEGIES)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-faiss", action="store_true", help="skip approximate search")
    parser.add_argument("--figure", type=Path, default=root / "docs/figures/scale.png")
    parser.add_argument("--page", type=Path, help="page to write the tables into")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        sys.stdout.write(json.dumps(measure(**json.loads(options.one))) + "\n")
        return
    from bench.store.provenance import machine_class

    shared = {"queries": options.queries, "threads": options.threads}
    documents = sorted(options.documents)
    middle = documents[len(documents) // 2]
    measurements = [{"documents": size, "strategies": 1, "faiss": not options.no_faiss} for size in documents]
    measurements += [{"documents": middle, "strategies": count, "faiss": False} for count in sorted(options.strategies)]
    measured: list[list[dict[str, Any]]] = [[] for _ in measurements]
    for _ in range(options.rounds):
        for settings, rounds in zip(measurements, measured, strict=True):
            rounds.append(in_own_process(**settings, **shared))
            sys.stdout.write(table(rounds[-1:]).splitlines()[-1] + "\n")
            sys.stdout.flush()
    rows = [over_rounds(rounds) for rounds in measured]
    sizes, counts = rows[: len(documents)], rows[len(documents) :]
    draw(sizes, counts, options.figure)
    record = {
        "machine": machine_class(options.threads),
        "rounds": options.rounds,
        **shared,
        "sizes": sizes,
        "strategies": counts,
    }
    options.figure.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    if options.page:
        from bench.report.markdown import put_between  # not for the measured processes

        put_between(options.page, "scale", report(record) + "\n![time and memory](figures/scale.png)")
    sys.stdout.write("\n" + report(record))


if __name__ == "__main__":
    main()
