"""What studies leave in a run folder, how it is read back, and how certain the choice is.

    tuning/<study>/study.json     what was tuned: written once, before the first trial
    tuning/<study>/trials.jsonl   one line for each trial, in order; trial 0 is the default

Both carry a digest of their content (`bench.records`). A line that the end of a process cut short is no trial: readers
leave it out, and the next trial overwrites it.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import stdev
from typing import Any

from pydantic import ConfigDict, Field

from bench.data.files import named_in_errors
from bench.errors import StoreError
from bench.records import DIGEST, StoredModel, with_digest, without_digest
from bench.store.files import DamagedError, read_json, record_text, write_durably

STUDY_FILE, TRIALS_FILE = "study.json", "trials.jsonl"
SCHEMA_VERSION = 2
"""Schema 1 had no digests."""


class Trial(StoredModel):
    """One set of hyperparameters, fitted and scored on development data."""

    model_config = ConfigDict(frozen=True)

    number: int
    params: dict[str, Any]
    """The values that were tried. Those of a component are named after it: `lora.lr`."""
    status: str = "ok"
    """`ok`, `diverged` (pruned), `not_applicable` or `failed`."""
    value: float | None = None
    """nDCG@10 on the development pool, or its mean over the folds; None where the trial gave no score."""
    folds: list[float] = Field(default_factory=list)
    """The value of each fold; a single value without folds."""
    scores: list[float] = Field(default_factory=list)
    """nDCG@10 of each development query, fold after fold: the same queries in the same order for every trial."""
    seconds: float = 0.0
    """Wall clock of the trial: fits and development evaluations, but not loading data and model."""
    fit_seconds: float = 0.0
    """The part of `seconds` that a budget of seconds would be charged."""
    reason: str = ""
    """Why the status is not `ok`; else empty."""


class Study(StoredModel):
    """A search for hyperparameters: what was tuned and what was tried."""

    model_config = ConfigDict(frozen=True)

    study: str
    """Readable name ending in a hash; also the name of the folder."""
    strategy: str
    dataset: str
    model: str
    budget: dict[str, float]
    """Limits of each trial's fit."""
    space: dict[str, dict[str, Any]]
    """Dimension -> its kind (`Choice`, `LogUniform`, `Uniform`) and its values or bounds."""
    defaults: dict[str, Any]
    """The values of trial 0."""
    folds: int = 1
    queries: int = 0
    """Development queries that score a trial, over all folds."""
    note: str = ""
    """Why the study has no trial, where it has none."""
    environment: dict[str, Any] = Field(default_factory=dict)
    trials: tuple[Trial, ...] = ()
    """Read from `trials.jsonl`; not a key of `study.json`."""

    def first(self, count: int) -> Study:
        """Return the study as it was after `count` trials. More may have been added since."""
        return self.with_trials(self.trials[:count])

    def with_trials(self, trials: Sequence[Trial]) -> Study:
        """Return the study with these trials instead of its own."""
        return self.model_copy(update={"trials": tuple(trials)})

    @property
    def best(self) -> Trial | None:
        """The trial with the highest value; the earliest one among equals."""
        return best_of(self.trials)

    @property
    def edges(self) -> dict[str, str]:
        """The ranges in which the best trial has the `highest` or the `lowest` value that was tried.

        A better value may lie beyond.
        """
        return edges(self.trials, [name for name, param in self.space.items() if param["kind"] != "Choice"])

    @property
    def tried(self) -> dict[str, list[Any]]:
        """The values of each dimension that were tried: the lowest and highest number, or every text."""
        return ranges_of(self.trials)

    @property
    def seconds(self) -> float:
        """Wall clock of all trials: the cost of tuning."""
        return sum(trial.seconds for trial in self.trials)

    @property
    def best_so_far(self) -> list[float | None]:
        """The highest value after each trial; None until a trial has a value."""
        curve: list[float | None] = []
        for trial in self.trials:
            known = [value for value in (*curve[-1:], trial.value) if value is not None]
            curve.append(max(known, default=None))
        return curve

    @property
    def gain(self) -> tuple[float, float] | None:
        """The gain of the best trial over the default, and its standard error over development queries.

        The gain is biased upwards, because the best trial was chosen on the same queries.
        """
        return None if self.best is None else self.over_default(self.best)

    def over_default(self, trial: Trial) -> tuple[float, float] | None:
        """Return a trial's gain over the default and its standard error; None where either trial has no value."""
        default = next((each for each in self.trials if each.number == 0), None)
        if default is None or default.value is None or trial.value is None:
            return None
        return trial.value - default.value, _standard_error(trial.scores, default.scores)

    @property
    def tied(self) -> list[Trial]:
        """The trials within one standard error (paired by query) of the best one, the best one included."""
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
        """Return what the record of a fit says about the study that chose its hyperparameters."""
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
            "tied_ranges": ranges_of(self.tied),
            "tried": self.tried,
            "edges": self.edges,
            "seconds": self.seconds,
            "note": self.note,
        }


def best_of(trials: Sequence[Trial]) -> Trial | None:
    """Return the trial with the highest value, the earliest one among equals; None where no trial has a value."""
    scored = [trial for trial in trials if trial.value is not None]
    return max(scored, key=lambda trial: (trial.value or 0.0, -trial.number), default=None)


def edges(trials: Sequence[Trial], names: Sequence[str]) -> dict[str, str]:
    """Return dimension -> `highest` or `lowest`, where the best trial has that value of all that were tried.

    Args:
        trials: those without a value count as tried.
        names: the numeric dimensions to look at.
    """
    best, found = best_of(trials), {}
    for name in names if best is not None else ():
        values = {trial.params[name] for trial in trials}
        if best is not None and len(values) > 1 and best.params[name] in (min(values), max(values)):
            found[name] = "highest" if best.params[name] == max(values) else "lowest"
    return found


def ranges_of(trials: Sequence[Trial]) -> dict[str, list[Any]]:
    """Return for each dimension the values of some trials: the lowest and highest number, or every text."""
    ranges: dict[str, list[Any]] = {}
    for name in trials[0].params if trials else ():
        values = [trial.params[name] for trial in trials]
        numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
        ranges[name] = [min(values), max(values)] if numeric else sorted(set(values), key=str)
    return ranges


def studies(folder: Path) -> list[Study]:
    """Return the studies of a run folder, ordered by name, without damaged ones.

    Raises:
        StoreError: a newer version of AdaptBench wrote one.
    """
    return [study for study, _ in _scan(folder) if study is not None]


def damaged_studies(folder: Path) -> list[str]:
    """Return a sentence for each damaged study of a run folder, with its path."""
    return [problem for _, problem in _scan(folder) if problem]


def _scan(folder: Path) -> Iterator[tuple[Study | None, str]]:
    """Yield each study of a run folder, or what is wrong with it."""
    for path in sorted((Path(folder) / "tuning").glob(f"*/{STUDY_FILE}")):
        try:
            yield read(path.parent), ""
        except DamagedError as error:
            yield None, str(error)


def read(folder: Path) -> Study:
    """Return the study that its own folder holds.

    Raises:
        StoreError: a newer version of AdaptBench wrote it.
        DamagedError: it is not what was written.
    """
    path = folder / STUDY_FILE
    values = read_json(path)
    version = values.pop("schema_version", None)
    if not isinstance(version, int):
        raise DamagedError(f"{path} is damaged (it has no schema_version): delete its folder and run again")
    if version > SCHEMA_VERSION:
        raise StoreError(f"{path}: a study of schema {version}: update adaptbench")
    has_digests = version > 1
    try:
        study = Study.from_json_values(without_digest(values) if has_digests else values)
    except StoreError as error:
        raise DamagedError(f"{path} is damaged ({error}): delete its folder and run again") from error
    return study.with_trials(_trials(folder / TRIALS_FILE, has_digests))


def _trials(path: Path, has_digests: bool) -> list[Trial]:
    trials: list[Trial] = []
    for number, line in enumerate(_whole_lines(path)):
        try:
            values = json.loads(line)
            if has_digests or DIGEST in values:
                values = without_digest(values)
            trial = Trial.from_json_values(values)
            if trial.number != number:
                raise StoreError(f"trial {trial.number} where trial {number} belongs")
        except (StoreError, ValueError, TypeError, RecursionError) as error:
            message = f"{path}:{number + 1}: not a trial ({error}): delete its folder and run again"
            raise DamagedError(message) from error
        trials.append(trial)
    return trials


def begin(folder: Path, study: Study) -> None:
    """Write `study.json`. From here on the study exists."""
    folder.mkdir(parents=True, exist_ok=True)
    values = {"schema_version": SCHEMA_VERSION} | with_digest(study.model_dump(exclude={"trials"}))
    write_durably(folder / STUDY_FILE, record_text(values))


def append(folder: Path, trial: Trial) -> None:
    """Add a trial, and wait until it is on the disk."""
    path = folder / TRIALS_FILE
    whole = "".join(f"{line}\n" for line in _whole_lines(path))
    with named_in_errors(path), path.open("r+b" if path.exists() else "wb") as stream:
        stream.seek(len(whole.encode()))
        stream.truncate()
        stream.write(f"{json.dumps(with_digest(trial.model_dump()))}\n".encode())
        stream.flush()
        os.fsync(stream.fileno())


def _whole_lines(path: Path) -> list[str]:
    """Return the lines of a file that end in a line break."""
    if not path.is_file():
        return []
    return path.read_bytes().decode("utf-8", errors="replace").split("\n")[:-1]


def _standard_error(one: Sequence[float], other: Sequence[float]) -> float:
    """Return the standard error of the mean paired difference; 0 where there are fewer than two pairs."""
    if len(one) != len(other) or len(one) < 2:
        return 0.0
    return stdev(first - second for first, second in zip(one, other, strict=True)) / math.sqrt(len(one))
