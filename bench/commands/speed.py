"""Measure the speed of the harness beside the plain library, as ratios."""

from __future__ import annotations

from pathlib import Path

from bench.commands._options import COUNT, DATASET, STRATEGIES, command, data_dir, flag, json_flag, option
from bench.config.schema import DATASETS, SPEED_STRATEGIES


@command(__doc__)
@flag("--quick", help="use small slices: faster, and less certain")
@option("--only", metavar="A,B,...", help="encode, train, evaluate, bm25, whole  [default: all of them]")
@option("--strategies", type=STRATEGIES, default=",".join(SPEED_STRATEGIES), help="strategies of the whole job")
@option("--dataset", type=DATASET, default=DATASETS[0], help="a dataset with training pairs")
@data_dir
@option("--model", metavar="NAME", help="base model  [default: all-MiniLM-L6-v2]")
@option("--device", metavar="NAME", default="auto", help="auto, cpu or cuda")
@option("--threads", type=COUNT, metavar="N", help="CPU threads of both sides  [default: all cores]")
@option("--rounds", type=COUNT, metavar="N", help="how often each comparison is repeated  [default: as its size asks]")
@option("--split", metavar="NAME", default="test", help="split whose queries are searched")
@json_flag("print every round as JSON")
def main(
    quick: bool, only: str | None, strategies: str, dataset: str, data_dir: Path | None, model: str | None, device: str,
    threads: int | None, rounds: int | None, split: str, as_json: bool,
) -> int:  # fmt: skip
    """Measure and print; returns the exit code."""
    from dataclasses import replace

    from bench.commands._console import console, emit_json, err_console
    from bench.data.dataset import Dataset
    from bench.data.locate import load_dataset
    from bench.errors import BenchError
    from bench.expression import parse_list
    from bench.models.locate import base_model
    from bench.planning.registry import Registry
    from bench.running.process import set_threads
    from bench.speed.measuring import COMPARISONS, measure, sentences, table
    from bench.speed.workload import FULL, QUICK, Workload
    from bench.store.provenance import cores

    threads = threads or cores()
    set_threads(threads)
    data = load_dataset(dataset, data_dir)
    if not isinstance(data, Dataset):
        raise BenchError(f"{dataset} holds sentence pairs, not a corpus to search")
    sizes = QUICK if quick else FULL
    workload = Workload(
        base=base_model(model),
        dataset=data,
        registry=Registry(),
        strategies=tuple(str(expression) for expression in parse_list(strategies)),
        sizes=replace(sizes, rounds=rounds or sizes.rounds),
        device=_device(device),
        split=split,
    )
    chosen = [part.strip() for part in only.split(",")] if only else list(COMPARISONS)
    progress = err_console()
    measurement = measure(workload, chosen, threads, lambda text: progress.print(f"measuring: {text}", markup=False))
    if as_json:
        emit_json(measurement.to_dict())
        return 0
    screen = console()
    screen.print(table(measurement))
    for line in sentences(measurement):
        screen.print(line, markup=False)
    return 0


def _device(requested: str) -> str:
    from bench.models.device import require

    require(requested)
    if requested != "auto":
        return requested
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
