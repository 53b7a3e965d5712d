"""Flips single bits in every kind of file that a run or the cache holds, and reads each file as the harness does.

    python benchmarks/flips.py [--flips 2000] [--seed 0] [--only KIND ...]

A flip is *accepted* where reading gives another value, and neither an error nor a named problem. A damaged file of the
cache is made again, which is right. A flip that changes no value, such as one in the white space of JSON, is harmless.

Logs, leases and `.progress` are left out: no result is read from them.
"""

from __future__ import annotations

import argparse
import logging
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
from safetensors.numpy import save_file

from bench.data.docstrings import Docstring
from bench.data.pydocs import SHARES, read_cache, write_cache
from bench.errors import BenchError, StoreError
from bench.evaluation.measured_once import seconds_measured_once
from bench.records import CellResult, CurvePoint, FitRecord
from bench.report.lacking import lacking
from bench.retrieval.cache import VectorCache, text_key
from bench.retrieval.ranking import Ranking
from bench.store import answers, preferences, studies
from bench.store.checkpoints import CheckpointFolder
from bench.store.packed import pack
from bench.store.store import Store
from bench.store.studies import Study, Trial

REMADE = "remade"
"""What reading gives where the harness makes the content again."""
FIT, CELL, STUDY = "lora--toy--10-steps--s0--0123456789", "lora--toy--test--9876543210", "lora--toy--study--aaaaaaaaaa"
READER, SHEET = "toy--test--reader--bbbbbbbbbb", "s0123456789ab"
OUTCOMES = ("refused", "remade", "harmless", "accepted", "crashed")


@dataclass(frozen=True)
class Kind:
    """A kind of file: its path, and a function that reads it as the harness does."""

    name: str
    path: Path
    read: Callable[[], object]
    """Returns a value to compare, or `REMADE`. Raises a `BenchError` where the file is refused."""


def make_kinds(folder: Path) -> list[Kind]:
    """Write one file of every kind and return them."""
    store = _run(folder / "run")
    fit, cell, study = store.fit_folder(FIT), store.cell_folder(CELL), store.folder / "tuning" / STUDY
    calibration = folder / "calibrations"
    resources: Any = SimpleNamespace(calibrations=calibration)
    seconds_measured_once(resources.calibrations, "lora", lambda: 0.25)
    segment = _segment(folder / "vectors")
    pydocs = folder / "pydocs.json"
    entry = Docstring("package.module.name", "package.module", "what a function returns", "The text of a docstring.")
    write_cache(pydocs, {split: [entry] for split in SHARES})
    checkpoint = _checkpoint(folder / "checkpoint")
    sheets = store.folder / answers.FOLDER / preferences.SHEETS
    packed = folder / "packed"
    packed.mkdir()
    pack(store.folder, packed / "records.tar.xz")

    def named(value: Callable[[], object]) -> Callable[[], object]:
        def read() -> object:
            if problems := lacking(store):
                raise StoreError(problems[0])
            return value()

        return read

    return [
        Kind("run.json", store.folder / "run.json", named(store.invocations)),
        Kind("run.previous.json", store.folder / "run.previous.json", lambda: _previous(store)),
        Kind("fit.json", fit / "fit.json", lambda: store.fit(FIT)),
        Kind("result.json", cell / "result.json", lambda: store.cell(CELL)),
        Kind("study.json", study / "study.json", lambda: studies.read(study)),
        Kind("trials.jsonl", study / "trials.jsonl", named(lambda: studies.read(study))),
        Kind("curve.parquet", fit / "curve.parquet", lambda: store.curve(FIT).to_dict()),
        Kind("train_relevant.parquet", fit / "train_relevant.parquet", lambda: store.train_relevant(FIT)),
        Kind("per_query.parquet", cell / "per_query.parquet", lambda: store.per_query(CELL).to_dict()),
        Kind("ranking.trec.gz", cell / "ranking.trec.gz", lambda: store.ranking(CELL).as_run()),
        Kind("model/", fit / "model" / "model.safetensors", lambda: _bytes(store.artefact(FIT))),
        Kind("records.tar.xz", packed / "records.tar.xz", lambda: _packed(packed)),
        Kind("checkpoint.json", checkpoint / "checkpoint.json", lambda: _resumed(checkpoint)),
        Kind("state.pt", next(checkpoint.glob("state-*.pt")), lambda: _resumed(checkpoint)),
        Kind("answers.json", store.folder / answers.FOLDER / READER / answers.MARK, lambda: _answers(store)),
        Kind("answers' parquet", store.folder / answers.FOLDER / READER / answers.PER_QUERY, lambda: _answers(store)),
        Kind("readings", store.folder / answers.FOLDER / f"readings--{READER}.jsonl", lambda: _reading(store)),
        Kind("sheet", sheets / f"{SHEET}.json", lambda: _judged(store)),
        Kind("judged sheet", sheets / f"{SHEET}.judged.json", lambda: _judged(store)),
        Kind("cache segment", segment, lambda: _vectors(folder / "vectors")),
        Kind("calibration", next(calibration.iterdir()), lambda: _seconds(resources)),
        Kind("pydocs", pydocs, lambda: read_cache(pydocs) or REMADE),
    ]


def examine(kind: Kind, bits: Sequence[int]) -> Iterator[tuple[int, str]]:
    """Yield each bit and what became of its flip: one of `OUTCOMES`."""
    whole, content = kind.read(), kind.path.read_bytes()
    for bit in bits:
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        kind.path.write_bytes(flipped)
        try:
            value = kind.read()
            outcome = "remade" if value == REMADE else "harmless" if value == whole else "accepted"
        except BenchError:
            outcome = "refused"
        except Exception as error:  # anything else is a fault of the harness
            logging.getLogger("flips").warning("%s, bit %d: %r", kind.name, bit, error)
            outcome = "crashed"
        finally:
            kind.path.write_bytes(content)
        yield bit, outcome


def spread(kind: Kind, regions: int) -> list[int]:
    """Return one bit in each of so many equal regions of a file, its first and its last bit included."""
    last = 8 * kind.path.stat().st_size - 1
    return sorted({round(last * region / (regions - 1)) for region in range(regions)})


def _run(folder: Path) -> Store:
    store = Store(folder)
    shared: dict[str, Any] = {"strategy": "lora", "dataset": "toy", "model": "tiny", "seed": 0, "status": "ok"}
    (store.begin_fit(FIT) / "model").mkdir(exist_ok=True)
    weights = np.random.default_rng(0).normal(size=(8, 32)).astype(np.float32)
    save_file({"lora.weight": weights}, store.fit_folder(FIT) / "model" / "model.safetensors")
    curve = [CurvePoint(step=step, seconds=step / 4, loss=1 / step, dev=0.5) for step in range(1, 11)]
    record = FitRecord(fit=FIT, tuning={"study": STUDY, "trials": 3}, hyperparameters={"lr": 0.01, "r": 4}, **shared)
    store.put_fit(record, curve, {f"d{number}" for number in range(20)})
    frame = pd.DataFrame({"query": [f"q{number}" for number in range(40)], "seen": False})
    frame["ndcg@10"] = np.random.default_rng(1).random(40)
    hits = {f"q{number}": [(f"d{rank}", 1.0 / (rank + 1)) for rank in range(10)] for number in range(40)}
    metrics = {"ndcg@10": float(frame["ndcg@10"].mean())}
    store.put_cell(CellResult(cell=CELL, fit=FIT, split="test", metrics=metrics, **shared), frame, Ranking(hits))
    described = {"strategy": "lora", "dataset": "toy", "model": "tiny", "budget": {"steps": 10.0}}
    studies.begin(folder / "tuning" / STUDY, Study(study=STUDY, space={}, defaults={"lr": 0.01}, **described))
    for number in range(3):
        trial = Trial(number=number, params={"lr": 0.01 * (number + 1)}, value=0.5 + number / 10, scores=[0.25, 0.75])
        studies.append(folder / "tuning" / STUDY, trial)
    answered = answers.AnswerRecord(
        name=READER, dataset="toy", split="test", reader="tiny", reader_fingerprint="0" * 16, prompt={}, settings={}
    )
    answers.put_answers(store, answered, pd.DataFrame({"context": "none", "query": ["q0", "q1"], "f1": [0.25, 0.75]}))
    reading = {"key": "k", "text": "tea", "prompt_tokens": 5, "tokens": 1, "seconds": 0.5}
    answers.ReadingCache.of_run(store, READER).add([reading])
    pair = {"comparison": "toy", "strategy": "lora", "query": "q0", "strategy_is_first": True}
    hidden = {"sheet": SHEET, "answers": READER, "baseline": {"toy": "frozen"}, "pairs": {"1": pair}}
    preferences.put_sheet(store, preferences.SheetRecord.from_json_values(hidden))
    preferences.put_judged(store, preferences.JudgedRecord(sheet=SHEET, choices=[{"1": preferences.FIRST}]))
    for seconds in (1.5, 2.5):
        config = {"baseline": "frozen", "primary": "ndcg@10"}
        planned = {"fits": [FIT], "cells": [CELL]}
        store.put_invocation({"config": config, "planned": planned, "seconds": seconds})
    return store


def _previous(store: Store) -> object:
    """Return what is read where `run.json` is damaged."""
    mark = store.folder / "run.json"
    content = mark.read_bytes()
    mark.write_bytes(b"{")
    try:
        return store.invocations()
    finally:
        mark.write_bytes(content)


def _bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def _packed(folder: Path) -> object:
    store = Store(folder)
    return store.fits(), store.cells(), store.per_query(CELL).to_dict(), store.invocations(), store.studies()


def _checkpoint(folder: Path) -> Path:
    """Write the checkpoint of a training, and return its folder."""
    import torch

    kept = CheckpointFolder(folder, {"fit": FIT}, every=1.0)
    kept.read("code")
    kept.write({"module": torch.arange(64.0), "seconds": 1.5}, step=3)
    return folder


def _resumed(folder: Path) -> object:
    """Return what a later attempt finds in a copy, or that it begins again: it removes a damaged checkpoint."""
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(shutil.copytree(folder, Path(scratch) / "fit"))
        kept = CheckpointFolder(copy, {"fit": FIT}, every=1.0)
        state = kept.read("code")
    return REMADE if state is None else (kept.resumed_after, state["module"].tolist(), state["seconds"])


def _reading(store: Store) -> object:
    """Return the stored reading, or that the reader must answer again."""
    kept = answers.ReadingCache.of_run(store, READER)
    return dict(kept["k"]) if "k" in kept else REMADE


def _answers(store: Store) -> object:
    records, problems = answers.answer_records(store)
    if problems:
        raise StoreError(problems[0])
    return [(record, answers.per_query_answers(store, record).to_dict()) for record in records]


def _judged(store: Store) -> object:
    sheets, problems = preferences.judged_sheets(store)
    if problems:
        raise StoreError(problems[0])
    return sheets


_TEXTS = [text_key(f"text {number}") for number in range(8)]
_VECTORS = np.random.default_rng(2).normal(size=(8, 16)).astype(np.float32)


def _segment(folder: Path) -> Path:
    space = VectorCache(folder).space("weights")
    space.put(_TEXTS, _VECTORS, 2.0)
    return next(space.folder.iterdir())


def _vectors(folder: Path) -> object:
    """Return vectors and their cost, or that all are encoded again. A vector that is wrong shows."""
    out = np.zeros_like(_VECTORS)
    missing, seconds = VectorCache(folder).space("weights", note=lambda text: None).get(_TEXTS, out)
    there = [number for number in range(len(_TEXTS)) if number not in missing]
    return REMADE if missing and (out[there] == _VECTORS[there]).all() else (out.tolist(), seconds)


def _seconds(resources: Any) -> object:
    seconds = seconds_measured_once(resources.calibrations, "lora", lambda: -1.0)
    return REMADE if seconds == -1.0 else seconds


def main() -> int:
    """Flip bits at random, print a table of outcomes, and return 1 where a flip was accepted."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--flips", type=int, default=2000, metavar="N", help="flips of each kind of file")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument("--only", nargs="+", metavar="KIND", help="kinds of file by name")
    arguments = parser.parse_args()
    logging.getLogger("adaptbench").setLevel(logging.ERROR)
    draw, total = random.Random(arguments.seed), Counter[str]()
    sys.stdout.write(f"| file | bits | flips | {' | '.join(OUTCOMES)} |\n|---|{'---:|' * (2 + len(OUTCOMES))}\n")
    with tempfile.TemporaryDirectory() as folder:
        for kind in make_kinds(Path(folder)):
            if arguments.only and kind.name not in arguments.only:
                continue
            size = 8 * kind.path.stat().st_size
            bits = draw.sample(range(size), min(arguments.flips, size))
            counts = Counter(outcome for _, outcome in examine(kind, bits))
            total += counts
            shown = " | ".join(f"{counts[outcome]:,}" for outcome in OUTCOMES)
            sys.stdout.write(f"| `{kind.name}` | {size:,} | {len(bits):,} | {shown} |\n")
            sys.stdout.flush()
    shown = " | ".join(f"{total[outcome]:,}" for outcome in OUTCOMES)
    sys.stdout.write(f"| all | | {total.total():,} | {shown} |\n")
    return int(total["accepted"] + total["crashed"] > 0)


if __name__ == "__main__":
    sys.exit(main())
