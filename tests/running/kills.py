"""Kills runs with SIGKILL, runs them again, and compares with a run that nobody disturbed.

    python -m tests.running.kills [--moments 25] [--times 10] [--seed 0] [--only writes]

*At each write*: a run of toy strategies in one process dies right before the n-th wait for the disk, for every n. It
dies once with the file as it was written, and once with half of it, as a power cut may leave it.

*At random moments*: a run of `frozen` and `lora` with a tiny model and a process for each job is killed from
outside, parent first. Its jobs must end by themselves.

*Within a fit*: a fit of a tiny model is killed at 30% of its steps, its next attempt at 60%, the one after that at 90%.
The last attempt must have resumed from a checkpoint, with no more than the budget in all attempts together.

After the next run the same metrics, rankings and weights must be there, and nothing else: no file in the run folder, no
temporary file, no partial segment of the cache, no process.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from bench.budget import OVERRUN
from bench.records import USABLE
from tests.running.test_local import SMALL_PRELOAD

ROOT = Path(__file__).resolve().parents[2]
UNCOMPARED = frozenset({"run.json", "run.previous.json", ".lock"})
"""Files of a run that hold its times, or nothing."""
MODES = ("whole", "half")
PRELOAD = [*SMALL_PRELOAD, "bench.running.run", "bench.training.encoder_task", "tests.toy_runs"]


@dataclass(frozen=True)
class Content:
    """What a run holds, without times and costs."""

    files: frozenset[str]
    weights: Mapping[str, str]
    cells: Mapping[str, Any]
    """Name -> status, metrics and ranking."""

    @classmethod
    def of(cls, folder: Path) -> Content:
        """Read the content of a run folder. Damaged records are an error."""
        from bench.report.lacking import lacking
        from bench.store.store import RANKING, Store

        store = Store(folder)
        assert lacking(store) == [], lacking(store)
        files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
        weights = {
            str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in folder.glob("fits/*/model/**/*")
            if path.is_file()
        }
        cells = {}
        for cell in store.cells():
            ranking = store.ranking(cell.cell).as_run() if RANKING in cell.files else None
            cells[cell.cell] = cell.status, cell.metrics, ranking
        return cls(frozenset(files - UNCOMPARED), weights, cells)


def differences(expected: Content, found: Content, folders: Mapping[str, Path]) -> list[str]:
    """Return what a run and the folders beside it hold that they should not, or lack.

    Args:
        expected: the run that nobody disturbed.
        found: the run that was killed and run again.
        folders: what must be empty of temporary files -> the folder.
    """
    wrong = [f"a file too many: {name}" for name in sorted(found.files - expected.files)]
    wrong += [f"a file is missing: {name}" for name in sorted(expected.files - found.files)]
    wrong += [
        f"other weights: {name}" for name, digest in expected.weights.items() if found.weights.get(name) != digest
    ]
    wrong += [f"another result: {name}" for name, cell in expected.cells.items() if found.cells.get(name) != cell]
    for what, folder in folders.items():
        wrong += [f"{what}: {path.name}" for path in folder.rglob("*") if _is_left_over(path)]
    return wrong


def _is_left_over(path: Path) -> bool:
    return path.name.startswith(("adaptbench-", ".")) or path.suffix == ".partial"


# --- at each write ----------------------------------------------------------------------------------------------------


def toy_values(folder: Path) -> dict[str, Any]:
    """Write toy strategies, a toy model and a toy dataset, and return the configuration of a run with them."""
    from bench.data.sample import sample_dataset
    from tests.conftest import write_beir
    from tests.toy_runs import TOY

    (folder / "toys.py").write_text(TOY, encoding="utf-8")
    model = folder / "fake-model"
    model.mkdir()
    header = json.dumps({"layer.weight": {"dtype": "F32", "shape": [100, 10], "data_offsets": [0, 4000]}}).encode()
    (model / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    return {
        "strategies": "words,both(toy)",
        "baseline": "words",
        "datasets": str(write_beir(sample_dataset(), folder / "tiny")),
        "model": str(model),
        "strategy_files": [str(folder / "toys.py")],
        "budget": {"steps": 5},
        "device": "cpu",
        "measures": "ndcg@10,recall@100",
    }


def run_toys(
    values: Mapping[str, Any], temporary: str, kill_at: int = 0, mode: str = "whole", count: Any = None
) -> None:
    """Run toy strategies in this process.

    Args:
        values: the configuration.
        temporary: the folder of temporary files and of the cache.
        kill_at: the wait for the disk before which the process dies; 0 is none.
        mode: one of `MODES`.
        count: receives the number of waits.
    """
    from bench.config.schema import from_mapping
    from bench.running.process_group import end_with_parent
    from bench.running.run import Run
    from tests.toy_runs import InProcess, Silent

    end_with_parent()
    tempfile.tempdir, os.environ["BENCH_CACHE"] = temporary, f"{temporary}/cache"
    original, waits = os.fsync, 0

    def fsync(descriptor: int) -> None:
        nonlocal waits
        waits += 1
        if waits == kill_at:
            if mode == "half" and not os.path.isdir(f"/proc/self/fd/{descriptor}"):  # noqa: PTH112 - no path
                os.ftruncate(descriptor, os.fstat(descriptor).st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)
        original(descriptor)

    os.fsync = fsync
    Run.prepare(from_mapping(dict(values))).execute(Silent(), InProcess)
    if count is not None:
        count.value = waits


class WriteKills:
    """Kills runs of toy strategies at their writes.

    Args:
        folder: a folder for everything.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.values = toy_values(folder)
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(PRELOAD)
        self.temporary = folder / "temporary"
        self.temporary.mkdir()
        self.count = self.context.Value("i", 0)
        self._run("undisturbed", count=self.count)
        self.expected = Content.of(folder / "undisturbed")

    @property
    def writes(self) -> int:
        """The number of waits for the disk of an undisturbed run."""
        return int(self.count.value)

    def kill(self, number: int, mode: str) -> list[str]:
        """Kill a run at one write, run it again, and return what differs from the undisturbed run."""
        name = f"{mode}-{number}"
        assert self._run(name, kill_at=number, mode=mode) == -signal.SIGKILL
        assert self._run(name) == 0
        found = Content.of(self.folder / name)
        wrong = differences(self.expected, found, {"temporary": self.temporary})
        shutil.rmtree(self.folder / name)
        return wrong

    def _run(self, name: str, **settings: Any) -> int | None:
        values = self.values | {"out": str(self.folder / name)}
        process = self.context.Process(target=run_toys, args=(values, str(self.temporary)), kwargs=settings)
        process.start()
        process.join()
        return process.exitcode


# --- at random moments ------------------------------------------------------------------------------------------------


class MomentKills:
    """Kills runs of the command line at some moment.

    Args:
        folder: a folder for everything.
    """

    def __init__(self, folder: Path) -> None:
        from bench.data.sample import sample_dataset
        from tests.conftest import build_model, write_beir

        self.folder, self.temporary = folder, folder / "temporary"
        self.temporary.mkdir()
        model = build_model("bert", folder / "tiny-bert")
        dataset = write_beir(sample_dataset(), folder / "tiny")
        settings = ["train.batch_size=8", "train.selection_floor=8", "lora.r=4", "lora.lr=0.01"]
        self.options = ["--strategies", "frozen,lora", "--datasets", str(dataset), "--model", str(model)]
        self.options += ["--budget-steps", "10", "--precision", "fp32", "--device", "cpu", "--threads", "1", "--quiet"]
        self.options += [word for setting in settings for word in ("--set", setting)]
        began = time.monotonic()
        assert self._finish("undisturbed") == 0
        self.seconds = time.monotonic() - began
        """How long an undisturbed run takes."""
        self.expected = Content.of(folder / "undisturbed")

    def kill(self, after: float) -> list[str]:
        """Kill a run after some seconds, run it again, and return what differs from the undisturbed run."""
        name = f"run-{after:.3f}"
        process = self._start(name)
        time.sleep(after)
        started = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        process.kill()
        process.wait()
        _, alive = psutil.wait_procs(started, timeout=60)
        wrong = [f"still runs after its parent: {' '.join(child.cmdline())[:80]}" for child in alive]
        for child in alive:
            child.kill()
        if (code := self._finish(name)) != 0:
            return [*wrong, f"the next run ended with code {code}"]
        folders = {"temporary": self.temporary, "cache": self.folder / f"cache-{name}"}
        wrong += differences(self.expected, Content.of(self.folder / name), folders)
        shutil.rmtree(self.folder / name)
        shutil.rmtree(folders["cache"])
        return wrong

    def _start(self, name: str) -> subprocess.Popen[bytes]:
        own = {"TMPDIR": str(self.temporary), "BENCH_CACHE": str(self.folder / f"cache-{name}"), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "bench", "run", *self.options, "--out", str(self.folder / name)]
        return subprocess.Popen(
            command, cwd=ROOT, env=os.environ | own, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def _finish(self, name: str) -> int:
        return self._start(name).wait()


# --- within a fit -----------------------------------------------------------------------------------------------------

SHARES = (0.3, 0.6, 0.9)
"""Of the steps: where each attempt at a fit is killed."""
REFRESHING = "lora(objective=mined(contrastive,source=model,refreshes=2))"
FITS = {"full": 1.0, "lora": 1.0, "linear": 4.0, REFRESHING: 4.0}
"""What is fitted, and its seconds where they are the budget. Encoding and mining take a share of the last two."""
FIT_STEPS = 20
_LONGEST_STEP = 1.0
"""Seconds of a step, of mining and of the end of a fit, on a busy machine."""
TIMES_OF_REPORT = {"train_seconds", "reader_seconds"}


def run_fit(values: Mapping[str, Any], temporary: str, share: float = 0.0) -> None:
    """Run a strategy in this process, which dies after a share of the steps of its fit; 0 lets it live."""
    from bench.config.schema import from_mapping
    from bench.running.process_group import end_with_parent
    from bench.running.run import Run
    from tests.toy_runs import InProcess, Silent

    end_with_parent()
    gc.freeze()  # what the fork server has imported: collecting it takes longer than the fit
    tempfile.tempdir, os.environ["BENCH_CACHE"] = temporary, f"{temporary}/cache"

    class Mortal(InProcess):
        def add(self, job: Any, name: str, values: dict[str, Any]) -> None:
            if share and name == "step" and values["step"] > share * values["total"]:
                os.kill(os.getpid(), signal.SIGKILL)
            super().add(job, name, values)

    Run.prepare(from_mapping(dict(values)), role="probe").execute(Silent(), Mortal)  # a probe measures no latency


def _plan_and_seconds(state: Path) -> tuple[int, float]:
    """Return the planned steps and the charged seconds of a checkpoint."""
    import torch

    values = torch.load(state, weights_only=True)
    return values["report"]["planned_steps"], values["seconds"]


def _flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


_KILLED = "killed"
"""Folder of the run whose fit is killed."""


class FitKills:
    """Kills a fit of a tiny model at shares of its steps, one attempt after the other.

    Args:
        folder: a folder for everything.
        strategy: what is fitted.
        budget: its limits.
        checkpoint_every: seconds between two checkpoints, at most.
    """

    def __init__(self, folder: Path, strategy: str, budget: Mapping[str, float], checkpoint_every: float) -> None:
        from bench.data.sample import sample_dataset
        from tests.conftest import build_model, write_beir

        self.folder, self.temporary, self.budget = folder, folder / "temporary", budget
        self.temporary.mkdir(parents=True)
        self.values = {
            "strategies": strategy,
            "baseline": strategy,
            "datasets": str(write_beir(sample_dataset(), folder / "tiny")),
            "model": str(build_model("bert", folder / "tiny-bert")),
            "budget": dict(budget),
            "set": [f"train.{each}" for each in ("batch_size=8", "selection_floor=8", "dropout=true", "warmup=0")]
            + ["train.evaluations=4", f"{strategy.partition('(')[0]}.lr=0.005"],
            "precision": "fp32",
            "device": "cpu",
            "threads": 1,
            "checkpoint_every": checkpoint_every,
        }
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(PRELOAD)
        self.kills = 0
        assert self._run("undisturbed") == 0
        self.expected = Content.of(folder / "undisturbed")
        self.report, record = self._fit("undisturbed")
        assert record.status in USABLE, record.reason

    def kill(self, damages: bool = False) -> list[str]:
        """Kill a fit at each of `SHARES`, let the next attempt end, and return what differs from the undisturbed one.

        Args:
            damages: change a byte of the second checkpoint, so that the third attempt begins again and says so.
        """
        left = list[tuple[int, float]]()
        for share in SHARES:
            state = self._killed_at(share)
            if state is not None and "seconds" in self.budget:
                left.append(_plan_and_seconds(state))
            if damages and share == SHARES[1]:
                assert state is not None
                _flip_a_byte(state)
        assert self._run(_KILLED) == 0
        report, record = self._fit(_KILLED)
        wrong = self._unlike_an_interrupted_one(report, record, damages)
        wrong += self._unlike_the_undisturbed_one(report) if "steps" in self.budget else self._beyond(record, left)
        shutil.rmtree(self.folder / _KILLED)
        return wrong

    def _killed_at(self, share: float) -> Path | None:
        """Kill an attempt at a share of its steps, and return the state of its newest checkpoint, if there is one."""
        code = self._run(_KILLED, share=share)
        ran_out_of_time = code == 0 and "seconds" in self.budget
        assert code == -signal.SIGKILL or ran_out_of_time, code
        self.kills += not ran_out_of_time
        return next((self.folder / _KILLED).glob("checkpoints/*/state-*.pt"), None)

    @staticmethod
    def _unlike_an_interrupted_one(report: dict[str, Any], record: Any, damages: bool) -> list[str]:
        """Return what is missing in a resumed fit. The note about a damaged checkpoint is taken out of its report."""
        wrong = [] if record.environment.get("resumed_after_step") else ["the last attempt did not resume"]
        notes = [note for note in report["notes"] if "began again: its checkpoint is damaged" in note]
        report["notes"] = [note for note in report["notes"] if note not in notes]
        wrong += [] if len(notes) == damages else [f"notes: {notes}"]
        return wrong + ([] if record.status in USABLE else [f"{record.status}: {record.reason}"])

    def _unlike_the_undisturbed_one(self, report: dict[str, Any]) -> list[str]:
        """Return what differs from the undisturbed fit, under a budget in steps."""
        found = Content.of(self.folder / _KILLED)
        wrong = differences(self.expected, found, {"temporary": self.temporary})
        return wrong + [f"another {key}: {report[key]}" for key in report if report[key] != self.report[key]]

    def _beyond(self, record: Any, left: Sequence[tuple[int, float]]) -> list[str]:
        """Return what is wrong with a fit under a budget in seconds, whose result depends on the clock."""
        found = Content.of(self.folder / _KILLED).files - self.expected.files
        wrong = [f"a file too many: {path}" for path in found if "calibr" not in path]
        return wrong + self._beyond_seconds(record, left)

    def _beyond_seconds(self, record: Any, left: Sequence[tuple[int, float]]) -> list[str]:
        """Return how a fit went beyond its seconds, or lost what its checkpoints said of plan and charge."""
        report, charged, limit = record.report, record.cost["fit_seconds"], OVERRUN * self.budget["seconds"]
        plans, seconds = {report["planned_steps"], *(plan for plan, _ in left)}, [each for _, each in left]
        wrong = [] if len(plans) == 1 else [f"several plans: {plans}"]
        wrong += [] if seconds == sorted(seconds) and charged >= max(seconds) else [f"{charged} s after {seconds}"]
        if record.status == "ok":
            wrong += [] if report["steps"] == report["planned_steps"] else [f"{report['steps']} steps"]
        wrong += [] if charged <= limit + _LONGEST_STEP else [f"{charged:.2f} s, and {limit:.2f} are allowed"]
        return wrong

    def _fit(self, name: str) -> tuple[dict[str, Any], Any]:
        """Return what the report of a fit says besides times, with its learning curve, and the record."""
        from bench.store.store import Store

        store = Store(self.folder / name)
        (record,) = store.fits()
        curve = store.curve(record.fit).drop(columns="seconds").to_csv()
        report = {key: value for key, value in record.report.items() if key not in TIMES_OF_REPORT}
        return report | {"curve": curve}, record

    def _run(self, name: str, share: float = 0.0) -> int | None:
        values = self.values | {"out": str(self.folder / name)}
        process = self.context.Process(target=run_fit, args=(values, str(self.temporary), share))
        process.start()
        process.join()
        return process.exitcode


def main() -> int:
    """Kill at every write, at random moments and within fits, print what differs, and return 1 where something does."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--moments", type=int, default=25, metavar="N", help="kills at random moments")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument("--times", type=int, default=10, metavar="N", help="fits that are killed, of each kind")
    parser.add_argument("--only", choices=("writes", "moments", "fits"), help="one of the three kinds of kills")
    arguments = parser.parse_args()
    failures = 0
    for title, found in (
        ("writes", _at_writes()),
        ("moments", _at_moments(arguments.moments, arguments.seed)),
        ("fits", _within_fits(arguments.times)),
    ):
        if arguments.only not in (None, title):
            continue
        kills = 0
        for where, wrong in found:
            kills += 1
            failures += bool(wrong)
            for each in wrong:
                sys.stdout.write(f"{where}: {each}\n")
        sys.stdout.write(f"{title}: {kills} {'fits, killed up to three times each' if title == 'fits' else 'kills'}\n")
        sys.stdout.flush()
    sys.stdout.write(f"{failures} runs differ from the undisturbed one\n")
    return int(failures > 0)


def _at_writes() -> Iterator[tuple[str, list[str]]]:
    with tempfile.TemporaryDirectory() as folder:
        kills = WriteKills(Path(folder))
        for number in range(1, kills.writes + 1):
            for mode in MODES:
                yield f"write {number}, {mode}", kills.kill(number, mode)


def _at_moments(moments: int, seed: int) -> Iterator[tuple[str, list[str]]]:
    draw = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        kills = MomentKills(Path(folder))
        for _ in range(moments):
            after = draw.uniform(0, kills.seconds)
            yield f"after {after:.2f} of {kills.seconds:.2f} s", kills.kill(after)


def _within_fits(times: int) -> Iterator[tuple[str, list[str]]]:
    for strategy, seconds in FITS.items():
        for budget in ({"steps": FIT_STEPS}, {"seconds": seconds}):
            with tempfile.TemporaryDirectory() as folder:
                kills = FitKills(Path(folder), strategy, budget, checkpoint_every=0.2)
                for number in range(times):
                    yield f"{strategy}, {budget}, {number + 1}", kills.kill()
                sys.stdout.write(f"{strategy}, {budget}: {times} fits, {kills.kills} kills\n")
                sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
