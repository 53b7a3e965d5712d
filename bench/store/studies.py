"""What studies leave in a run folder, how it is read back, and how sure the choice was. Standard library only.

    tuning/<study>/study.json     what was tuned: written once, before the first trial
    tuning/<study>/trials.jsonl   one line a trial, in order; trial 0 is the default

A line that was cut short by the end of its process is no trial: it is left out, and written over by the next one.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from statistics import stdev
from typing import Any

from bench.errors import StoreError

STUDY_FILE, TRIALS_FILE = "study.json", "trials.jsonl"
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Trial:
    """One set of hyperparameters, fitted and scored on development data."""

    number: int
    params: dict[str, Any]
    """What was tried; a part's are named after it: `lora.lr`."""
    status: str = "ok"
    """`ok`, `diverged` (pruned), `not_applicable` or `failed`."""
    value: float | None = None
    """nDCG@10 on the development pool, or its mean over the folds; None where nothing came of it."""
    folds: list[float] = field(default_factory=list)
    """The value of each fold; one without folds."""
    scores: list[float] = field(default_factory=list)
    """nDCG@10 of each development query, fold after fold: the same queries in the same order for every trial."""
    seconds: float = 0.0
    """Wall clock of the trial: fits and development evaluations, but not loading data and model."""
    fit_seconds: float = 0.0
    """The part of it that a budget of seconds would be charged."""
    reason: str = ""


@dataclass(frozen=True)
class Study:
    """A search for hyperparameters: what was tuned and what was tried."""

    study: str
    """Readable name ending in a hash; also the folder's name."""
    strategy: str
    dataset: str
    model: str
    budget: dict[str, float]
    """Limits of each trial's fit."""
    space: dict[str, dict[str, Any]]
    """Dimension -> its kind (`Choice`, `LogUniform`, `Uniform`) and its values or bounds."""
    defaults: dict[str, Any]
    """What trial 0 tries."""
    folds: int = 1
    queries: int = 0
    """Development queries that score a trial, over all folds."""
    note: str = ""
    """Why there is no trial, where there is none."""
    environment: dict[str, Any] = field(default_factory=dict)
    trials: tuple[Trial, ...] = ()

    def first(self, count: int) -> Study:
        """Return the study as it was after `count` trials: more may have been added since."""
        return replace(self, trials=self.trials[:count])

    @property
    def best(self) -> Trial | None:
        """The trial with the highest value, the earliest one among equals."""
        scored = [trial for trial in self.trials if trial.value is not None]
        return max(scored, key=lambda trial: (trial.value or 0.0, -trial.number), default=None)

    @property
    def seconds(self) -> float:
        """Wall clock of all trials: what tuning cost."""
        return sum(trial.seconds for trial in self.trials)

    @property
    def best_so_far(self) -> list[float | None]:
        """The highest value after each trial; None until one has a value."""
        curve: list[float | None] = []
        for trial in self.trials:
            known = [value for value in (*curve[-1:], trial.value) if value is not None]
            curve.append(max(known, default=None))
        return curve

    @property
    def gain(self) -> tuple[float, float] | None:
        """What the best trial gains over the default, and its standard error over development queries.

        It is too high as an estimate, as the best of several is chosen on the very same queries.
        """
        return None if self.best is None else self.over_default(self.best)

    def over_default(self, trial: Trial) -> tuple[float, float] | None:
        """What a trial gains over the default, and its standard error; None where one of the two has no value."""
        default = next((each for each in self.trials if each.number == 0), None)
        if default is None or default.value is None or trial.value is None:
            return None
        return trial.value - default.value, _standard_error(trial.scores, default.scores)

    @property
    def tied(self) -> list[Trial]:
        """The trials, the best among them, that are within one standard error (paired by query) of the best."""
        best = self.best
        if best is None:
            return []
        return [
            trial
            for trial in self.trials
            if trial.value is not None
            and (best.value or 0.0) - trial.value <= _standard_error(best.scores, trial.scores)
        ]

    def summary(self) -> dict[str, Any]:
        """Return what a fit's record says of the study that chose its hyperparameters."""
        best, gain = self.best, self.gain
        return {
            "study": self.study,
            "trials": len(self.trials),
            "folds": self.folds,
            "queries": self.queries,
            "best_trial": None if best is None else best.number,
            "params": {} if best is None else dict(best.params),
            "value": None if best is None else best.value,
            "default_value": self.trials[0].value if self.trials else None,
            "gain": None if gain is None else gain[0],
            "gain_error": None if gain is None else gain[1],
            "tied": [trial.number for trial in self.tied],
            "tied_ranges": tied_ranges(self.tied),
            "seconds": self.seconds,
            "note": self.note,
        }


def tied_ranges(tied: Sequence[Trial]) -> dict[str, list[Any]]:
    """Return for each dimension the values that equally good trials have: lowest and highest, or all that are text."""
    ranges: dict[str, list[Any]] = {}
    for name in tied[0].params if tied else ():
        values = [trial.params[name] for trial in tied]
        numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
        ranges[name] = [min(values), max(values)] if numeric else sorted(set(values), key=str)
    return ranges


def studies(folder: Path) -> list[Study]:
    """Return the studies of a run folder, ordered by name.

    Raises:
        StoreError: one was written by a newer version, or is damaged.
    """
    root = Path(folder) / "tuning"
    return [read(path.parent) for path in sorted(root.glob(f"*/{STUDY_FILE}"))]


def read(folder: Path) -> Study:
    """Read a study from its own folder.

    Raises:
        StoreError: it was written by a newer version, or is damaged.
    """
    path = folder / STUDY_FILE
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        if raw["schema_version"] > SCHEMA_VERSION:
            raise StoreError(f"{path}: a study of schema {raw['schema_version']}: update adaptbench")
        known = {each.name for each in fields(Study)} - {"trials"}
        study = Study(**{name: value for name, value in raw.items() if name in known})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path} is damaged ({error}): delete its folder and run again") from error
    return replace(study, trials=tuple(_trials(folder / TRIALS_FILE)))


def _trials(path: Path) -> list[Trial]:
    trials: list[Trial] = []
    for number, line in enumerate(_whole_lines(path)):
        try:
            trial = Trial(**json.loads(line))
            if trial.number != number:
                raise ValueError(f"trial {trial.number} where trial {number} belongs")
        except (ValueError, TypeError) as error:
            raise StoreError(f"{path}:{number + 1}: not a trial ({error}): delete its folder and run again") from error
        trials.append(trial)
    return trials


def begin(folder: Path, study: Study) -> None:
    """Write `study.json`; from here on the study exists."""
    folder.mkdir(parents=True, exist_ok=True)
    values: Mapping[str, Any] = {name: value for name, value in asdict(study).items() if name != "trials"}
    _write(folder / STUDY_FILE, json.dumps({"schema_version": SCHEMA_VERSION, **values}, indent=1) + "\n")


def append(folder: Path, trial: Trial) -> None:
    """Add a trial, and wait until it is on the disk."""
    path = folder / TRIALS_FILE
    lines = [*_whole_lines(path), json.dumps(asdict(trial))]
    whole = "".join(f"{line}\n" for line in lines[:-1])
    with path.open("r+b" if path.exists() else "wb") as stream:
        stream.seek(len(whole.encode()))
        stream.truncate()
        stream.write(f"{lines[-1]}\n".encode())
        stream.flush()
        os.fsync(stream.fileno())


def _whole_lines(path: Path) -> list[str]:
    """Return the lines of a file that end as lines do."""
    if not path.is_file():
        return []
    return path.read_bytes().decode("utf-8", errors="replace").split("\n")[:-1]


def _write(path: Path, text: str) -> None:
    with path.open("wb") as stream:
        stream.write(text.encode())
        stream.flush()
        os.fsync(stream.fileno())


def _standard_error(one: Sequence[float], other: Sequence[float]) -> float:
    """Return the standard error of the mean paired difference; 0 where there are fewer than two pairs."""
    if len(one) != len(other) or len(one) < 2:
        return 0.0
    return stdev(first - second for first, second in zip(one, other, strict=True)) / math.sqrt(len(one))
