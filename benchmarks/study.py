"""What a large study takes: 20 strategies, 15 datasets, 5 seeds, 4 budgets of labels.

    python benchmarks/study.py [--page docs/clusters.md]

- Fits and cells are counted by the planner itself, on 15 made-up datasets with one probe.
- Costs of fits and cells are those of the records in `docs/reports/medquad-all-strategies`: 150 steps, texts of 128
  tokens, 15,809 documents, one thread of a processor. A study on other data scales with its documents and steps.
- No GPU has run this. Its hours follow from an assumed ratio of speeds and from the time that a process takes to start.
- The scheduler is timed on the first jobs of this plan, with records in the store and nothing computed.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tarfile
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.config.schema import RunConfig, from_mapping
from bench.planning.jobs import Job
from bench.report.markdown import put_between
from bench.retrieval.ranking import Ranking, write_trec
from bench.running.executors import Event, Handle
from bench.running.recording import put_failure
from bench.running.run import Run
from bench.running.scheduler import Scheduler
from bench.store.store import Store

ROOT = Path(__file__).resolve().parents[1]
RECORDS = ROOT / "docs" / "reports" / "medquad-all-strategies" / "records.tar.xz"
STRATEGIES = (
    "bm25", "frozen", "hybrid(frozen)", "prior", "whitening", "linear", "full", "lora", "adapter", "prefix", "prompt",
    "bitfit", "layernorm", "ia3", "ptuning", "dora", "adalora", "top-layers", "vera", "hybrid(lora)",
)  # fmt: skip
DATASETS = 15
START_SECONDS = 6.0
"""The time that spawning the processes of a job takes, as `bench.running.executors.local` states it."""


@dataclass
class Costs:
    """Measured costs by strategy, from records."""

    fit_seconds: dict[str, float] = field(default_factory=dict)
    """Processor seconds of a fit."""
    cell_seconds: dict[str, float] = field(default_factory=dict)
    """Seconds of encoding and indexing, on one thread."""
    artefact_bytes: dict[str, float] = field(default_factory=dict)
    record_bytes: dict[str, list[int]] = field(default_factory=dict)
    flops: dict[str, float] = field(default_factory=dict)
    documents: int = 0
    queries: int = 0

    @classmethod
    def read(cls) -> Costs:
        """Return the costs that the records hold."""
        costs = cls(record_bytes={"fit": [], "cell": []})
        with tarfile.open(RECORDS) as archive:
            for member in archive.getmembers():
                if not member.name.endswith(("fit.json", "result.json")):
                    continue
                stream = archive.extractfile(member)
                assert stream is not None
                record = json.load(stream)
                name, cost = record["strategy"], record["cost"]
                if member.name.endswith("fit.json"):
                    costs.fit_seconds[name] = cost["cpu_seconds"]
                    costs.artefact_bytes[name] = cost.get("artifact_bytes") or 0
                    costs.flops[name] = (cost.get("train_flops") or 0.0) / max(cost["cpu_seconds"], 1.0)
                else:
                    costs.cell_seconds[name] = cost["index_seconds"]
                    costs.documents, costs.queries = record["n_docs"], record["n_queries"]
                others = sum(each["bytes"] for name, each in record["files"].items() if not name.startswith("model/"))
                costs.record_bytes["fit" if member.name.endswith("fit.json") else "cell"].append(member.size + others)
        return costs


def write_datasets(folder: Path) -> list[str]:
    """Write made-up datasets with 4,000 training labels each, and return their folders."""
    paths = []
    for number in range(DATASETS):
        path = folder / f"data-{number:02d}"
        (path / "qrels").mkdir(parents=True)
        count = 4200
        corpus = [json.dumps({"_id": f"d{i}", "title": "", "text": f"text {number} {i}"}) for i in range(count)]
        queries = [json.dumps({"_id": f"q{i}", "text": f"question {number} {i}"}) for i in range(count)]
        (path / "corpus.jsonl").write_text("\n".join(corpus), encoding="utf-8")
        (path / "queries.jsonl").write_text("\n".join(queries), encoding="utf-8")
        for split, part in (("train", range(4000)), ("dev", range(4000, 4100)), ("test", range(4100, 4200))):
            rows = ["query-id\tcorpus-id\tscore", *(f"q{i}\td{i}\t1" for i in part)]
            (path / "qrels" / f"{split}.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
        paths.append(str(path))
    return paths


class Nowhere:
    """An executor that computes nothing: a job leaves a record and has ended."""

    isolates = False

    def __init__(self, store: Store, slots: int) -> None:
        self.slots, self._store = slots, store
        self._events: list[Event] = []

    def submit(self, job: Job) -> Handle:
        """Record a job as ended."""
        put_failure(job.spec, Store(self._store.folder, job.lease), "ok", "")
        self._events += [Event(job.name, "started"), Event(job.name, "ended", {"status": "ok", "reason": ""})]
        return job.name

    def poll(self, timeout: float) -> Sequence[Event]:
        """Return what was submitted since the last call."""
        events, self._events = self._events, []
        return events

    def kill(self, handle: Handle) -> None:
        """Nothing runs."""


class Silent:
    """A listener that shows nothing."""

    def started(self, job: Job) -> None:
        """Show nothing."""

    def event(self, job: Job, name: str, values: dict[str, Any]) -> None:
        """Show nothing."""

    def ended(self, job: Job, status: str, reason: str, seconds: float) -> None:
        """Show nothing."""


def study(folder: Path) -> RunConfig:
    """Return the configuration of the study."""
    return from_mapping(
        {
            "strategies": list(STRATEGIES), "datasets": write_datasets(folder), "probes": ["general"],
            "seeds": list(range(5)), "budget": {"steps": 150, "examples": [50, 200, 800, 3200]}, "max_length": 128,
            "device": "cpu", "out": str(folder / "run"),
        }
    )  # fmt: skip


def ranking_bytes(queries: int) -> int:
    """Return the size of a stored ranking with the best 100 documents of each query."""
    draw = random.Random(0)
    hits = {
        f"query-{query}": sorted(
            ((f"doc-{draw.randrange(20_000)}", draw.random()) for _ in range(100)), key=lambda hit: -hit[1]
        )
        for query in range(queries)
    }
    with tempfile.TemporaryDirectory() as folder:
        write_trec(Ranking(hits), Path(folder) / "ranking.trec.gz", "study")
        return (Path(folder) / "ranking.trec.gz").stat().st_size


def timed(action: Any) -> tuple[Any, float]:
    """Return the result of an action, and its processor seconds in this process."""
    began = time.process_time()
    return action(), time.process_time() - began


def main() -> None:
    """Plan, multiply, and print or write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ratio", type=float, default=50.0, help="assumed speed of a GPU, in cores")
    parser.add_argument("--usd-per-core-hour", type=float, default=0.05)
    parser.add_argument("--usd-per-gpu-hour", type=float, default=1.0)
    parser.add_argument("--scheduled", type=int, default=1000, help="jobs on which the scheduler is timed")
    parser.add_argument("--page", type=Path, help="the page whose table is replaced")
    options = parser.parse_args()
    costs = Costs.read()
    with tempfile.TemporaryDirectory(prefix="study-") as folder:
        config = study(Path(folder))
        run, planning = timed(lambda: Run.prepare(config))
        jobs, listing = timed(run.pending)
        place = Scheduler(Nowhere(run.store, 64), run.store, Silent())
        _, scheduling = timed(lambda: place.run(jobs[: options.scheduled]))
    roles = Counter(cell.role for cell in run.plan.cells)
    trained = [fit for fit in run.plan.fits if fit.strategy in costs.fit_seconds]
    fit_hours = sum(costs.fit_seconds[fit.strategy] for fit in trained) / 3600
    cell_hours = sum(costs.cell_seconds[fit.strategy] for fit in trained) / 3600
    core_hours, start_hours = fit_hours + cell_hours, len(jobs) * START_SECONDS / 3600
    weights = sum(costs.artefact_bytes[fit.strategy] for fit in trained)
    records = len(run.plan.fits) * statistics.mean(costs.record_bytes["fit"])
    records += len(run.plan.cells) * statistics.mean(costs.record_bytes["cell"])
    rankings = roles["target"] * ranking_bytes(costs.queries)
    vectors = len(trained) * costs.documents * 384 * 4
    rate = statistics.median(value for value in costs.flops.values() if value > 1e9)
    by_role = ", ".join(f"{count:,} {role}" for role, count in sorted(roles.items()))
    usd_core, usd_gpu, work_hours = options.usd_per_core_hour, options.usd_per_gpu_hour, core_hours / options.ratio
    rows = [
        ("fits", f"{len(run.plan.fits):,}"),
        ("cells", f"{len(run.plan.cells):,} ({by_role})"),
        ("core hours of fits", f"{fit_hours:,.0f}"),
        ("core hours of encoding, once for each fit", f"{cell_hours:,.0f}"),
        (f"money, USD at {usd_core:g} for a core hour", f"{core_hours * usd_core:,.0f}"),
        (f"GPU hours of work, where a GPU does as much as {options.ratio:g} cores (assumed)", f"{work_hours:,.0f}"),
        (f"GPU hours of starting processes, {START_SECONDS:g} s a job", f"{start_hours:,.0f}"),
        (f"money, USD at {usd_gpu:g} for a GPU hour", f"{(work_hours + start_hours) * usd_gpu:,.0f}"),
        ("weights of fits, GB", f"{weights / 1e9:,.0f}"),
        ("rankings of target cells, GB", f"{rankings / 1e9:,.1f}"),
        ("records and scores per query, GB", f"{records / 1e9:,.1f}"),
        ("vectors that pass through the cache, GB", f"{vectors / 1e9:,.0f}"),
        ("planning, processor s", f"{planning:,.0f}"),
        ("finding what is pending in an empty folder, processor s", f"{listing:,.1f}"),
        (
            f"scheduler, leases and records, processor ms a job (n = {options.scheduled:,})",
            f"{1000 * scheduling / options.scheduled:,.1f}",
        ),
    ]
    table = ["| what | how much |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows), ""]
    table.append(
        f"Costs: one fit of each strategy on {costs.documents:,} documents, which reached {rate / 1e12:.2f} TFLOP/s "
        f"on a core (median); {len(trained):,} of {len(run.plan.fits):,} fits have one. `python benchmarks/study.py`."
    )
    if options.page:
        put_between(options.page, "study", "\n".join(table))
    print("\n".join(table))  # noqa: T201


if __name__ == "__main__":
    main()
