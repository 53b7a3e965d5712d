"""`adaptbench speed`: the speed of the harness itself beside the plain library, as ratios."""

from __future__ import annotations

import argparse
from pathlib import Path

from bench.config.schema import DATASETS, SPEED_STRATEGIES

SUMMARY = "the speed of the harness itself beside the plain library, as ratios"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to measure, on what, and how thoroughly."""
    parser.add_argument("--quick", action="store_true", help="small slices: minutes, and less certain")
    parser.add_argument(
        "--only", metavar="A,B,...", help="encode, train, evaluate, bm25, whole; all of them where nothing is said"
    )
    parser.add_argument("--strategies", metavar="A,B,...", default=",".join(SPEED_STRATEGIES), help="of the whole job")
    parser.add_argument("--dataset", metavar="NAME", default=DATASETS[0], help="a dataset with training pairs")
    parser.add_argument("--data-dir", metavar="DIR", help="folder that holds dataset folders")
    parser.add_argument("--model", metavar="NAME", help="base model; nothing is all-MiniLM-L6-v2")
    parser.add_argument("--device", metavar="NAME", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--threads", metavar="N", type=int, default=0, help="CPU threads of both sides; 0 is all cores")
    parser.add_argument("--rounds", metavar="N", type=int, default=0, help="how often each comparison is repeated")
    parser.add_argument("--split", metavar="NAME", default="test", help="split whose queries are searched")
    parser.add_argument("--json", action="store_true", help="print every round as JSON")


def run(args: argparse.Namespace) -> int:
    """Measure and print; returns the exit code."""
    from dataclasses import replace

    from bench.commands._console import console, emit_json, err_console
    from bench.data.dataset import Dataset
    from bench.data.locate import load_dataset
    from bench.errors import BenchError
    from bench.expression import parse_list
    from bench.models.locate import base_model
    from bench.planning.registry import Registry
    from bench.running.worker import set_threads
    from bench.speed.measuring import COMPARISONS, measure, sentences, table
    from bench.speed.workload import FULL, QUICK, Workload
    from bench.store.provenance import cores

    if args.threads < 0 or args.rounds < 0:
        raise BenchError("--threads and --rounds are whole numbers above 0")
    threads = args.threads or cores()
    set_threads(threads)
    dataset = load_dataset(args.dataset, Path(args.data_dir) if args.data_dir else None)
    if not isinstance(dataset, Dataset):
        raise BenchError(f"{args.dataset} holds sentence pairs, not a corpus to search")
    sizes = QUICK if args.quick else FULL
    workload = Workload(
        base=base_model(args.model),
        dataset=dataset,
        registry=Registry(),
        strategies=tuple(str(found) for found in parse_list(args.strategies)),
        sizes=replace(sizes, rounds=args.rounds or sizes.rounds),
        device=_device(args.device),
        split=args.split,
    )
    names = [part.strip() for part in args.only.split(",")] if args.only else list(COMPARISONS)
    progress = err_console()
    measurement = measure(workload, names, threads, lambda text: progress.print(f"measuring: {text}", markup=False))
    if args.json:
        emit_json(measurement.to_dict())
        return 0
    screen = console()
    screen.print(table(measurement))
    for line in sentences(measurement):
        screen.print(line, markup=False)
    return 0


def _device(asked: str) -> str:
    from bench.models.device import require

    require(asked)
    if asked != "auto":
        return asked
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
