"""Runs a matrix here and on a Ray cluster that loses a node, and prints in what the two runs differ.

    python -m tests.running.ray_nodes [--encoders 2] [--encode-above 500] [options of `run`]

The matrix is the default one, unless options of `run` change it. The cluster has three nodes on this machine: a head
without cores, and two with one core each, which run one job each. Once half the records are there, one of the two is
killed. Workers share the encoding of each corpus of more documents than `--encode-above`, and a cell that had to encode
alone counts as a difference; with `--encoders 0` they do not share. Both runs begin with an empty cache of vectors and
have one thread a job.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from threading import Thread

import ray
from ray.cluster_utils import Cluster

from tests.running.kills import ROOT, Content, differences

NODE = {"object_store_memory": 80 * 1024**2, "include_dashboard": False}
VARIABLES = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled", "RAY_worker_niceness": "0"}
"""Ray sends nothing, leaves nothing at home, and gives its workers no niceness, which starves them on one machine."""


def start_cluster() -> Cluster:
    """Return a new cluster: a head without cores, and two nodes with one core each."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **NODE})
    for _ in range(2):
        cluster.add_node(num_cpus=1, **NODE)
    return cluster


def run(folder: Path, name: str, options: Sequence[str], output: int | None = None) -> subprocess.Popen[str]:
    """Begin a run with one thread a job and a cache of its own."""
    command = [sys.executable, "-m", "bench", "run", "--out", str(folder / name), "--threads", "1", "--no-report"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "BENCH_CACHE": str(folder / f"cache-{name}")}
    return subprocess.Popen(
        [*command, *options], cwd=ROOT, env=environment, stdout=output, stderr=output and subprocess.STDOUT, text=True
    )


def show(lines: Iterable[str], alone: list[str]) -> None:
    """Show the lines of a run as they come, and add those to `alone` that say that a cell encoded by itself."""
    for line in lines:
        sys.stdout.write(line)
        sys.stdout.flush()
        if "encodes the rest of its corpus itself" in line:
            alone.append(line.strip())


def records(folder: Path) -> int:
    """Return the number of fits and cells that a run has completed."""
    return sum(1 for _ in (*folder.glob("fits/*/fit.json"), *folder.glob("cells/*/result.json")))


def _by_how_much(here: Content, there: Content) -> list[str]:
    """Return how far apart the metrics and rankings of each cell are that differs."""
    found = []
    for name, (_, metrics, ranking) in here.cells.items():
        if name not in there.cells or there.cells[name] == here.cells[name]:
            continue
        _, others, other_ranking = there.cells[name]
        of_metrics = max((abs(value - others.get(key, 0.0)) for key, value in metrics.items()), default=0.0)
        pairs = [(hits, (other_ranking or {}).get(query, {})) for query, hits in (ranking or {}).items()]
        of_scores = max(
            (abs(score - other.get(doc, 0.0)) for hits, other in pairs for doc, score in hits.items()), default=0
        )
        reordered = sum(list(hits) != list(other) for hits, other in pairs)
        found.append(
            f"{name}: metrics differ by {of_metrics:.2g} at most, scores by {of_scores:.2g}; "
            f"{reordered} of {len(pairs)} queries have other documents or another order"
        )
    return found


def main() -> int:
    """Run twice, compare, and return 1 where something differs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--encoders", type=int, default=2, metavar="N", help="workers that encode one corpus")
    parser.add_argument("--encode-above", type=int, default=500, metavar="N", help="documents of a large corpus")
    arguments, options = parser.parse_known_args()
    with tempfile.TemporaryDirectory(prefix="ray-nodes-") as temporary:
        folder = Path(temporary)
        assert run(folder, "here", options).wait() == 0
        expected = records(folder / "here")
        os.environ.update(VARIABLES)
        cluster = start_cluster()
        try:
            placed = f"address={cluster.address}, cpus=1"
            if arguments.encoders:
                placed += f", encoders={arguments.encoders}, encode_above={arguments.encode_above}"
            there = run(folder, "there", [*options, "--executor", f"ray({placed})", "--jobs", "2"], subprocess.PIPE)
            assert there.stdout is not None
            alone: list[str] = []
            shown = Thread(target=show, args=(there.stdout, alone))
            shown.start()
            while there.poll() is None and records(folder / "there") < expected / 2:
                time.sleep(0.2)
            sys.stdout.write(f"a node is killed after {records(folder / 'there')} of {expected} records\n")
            cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)
            assert there.wait() == 0
            shown.join()
        finally:
            ray.shutdown()
            cluster.shutdown()
        here, found = Content.of(folder / "here"), Content.of(folder / "there")
        wrong, apart = differences(here, found, {}) + alone, _by_how_much(here, found)
        fits = sum(1 for _ in (folder / "there").glob("fits/*/fit.json"))
    summary = f"{fits} fits, {len(found.cells)} cells: {len(wrong)} differences"
    sys.stdout.write("\n".join([summary, *wrong, *apart, ""]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
