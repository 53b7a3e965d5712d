"""What people preferred: judged sheets read back, as preference rates with intervals and the judges' agreement."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from bench.answering.sheet import CHOICES, COLUMNS, FIRST, TIE
from bench.errors import DataError
from bench.judging.sheet import read_rows
from bench.report.comparison import Comparison
from bench.report.findings import Finding
from bench.report.load import LoadedRun
from bench.statistics.agreement import cohen_kappa, fleiss_kappa
from bench.statistics.pairwise import PairwiseTest
from bench.statistics.significance import Design, compare, correct
from bench.store.preferences import SheetPair, SheetRecord, sheet_record
from bench.store.store import Store

_NEEDED = ("sheet", "pair", "choice")
_BASELINE, _STRATEGY = "baseline", "strategy"


@dataclass(frozen=True)
class Preference:
    """How often people preferred the answers of a strategy to those of the baseline."""

    comparison: str
    strategy: str
    baseline: str
    pairs: int
    """Pairs with a choice. Each is another query, and the answers differ."""
    wins: float
    ties: float
    losses: float
    """Shares of the choices, as means over judges and then over pairs."""
    same: int
    """Drawn queries on which both gave the same answer. They are not on the sheet."""
    finding: Finding | None
    """The test that the rate is one half; None with fewer than two pairs."""

    @property
    def rate(self) -> float:
        """The preference rate: wins, and half of the ties."""
        return self.wins + self.ties / 2

    @property
    def interval(self) -> tuple[float, float]:
        """The 95% interval of the rate over queries, within 0 and 1."""
        if self.finding is None:
            return float("nan"), float("nan")
        low, high = ((1 + end) / 2 for end in (self.finding.low, self.finding.high))
        return max(low, 0.0), min(high, 1.0)

    def as_json(self) -> dict[str, Any]:
        """Return everything as JSON values; None where there is no value."""
        low, high = self.interval
        plain = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "finding"}
        p = self.finding.p if self.finding is not None else None
        values = {**plain, "rate": self.rate, "low": low, "high": high, "p": p}
        return {name: None if value != value else value for name, value in values.items()}


@dataclass(frozen=True)
class Agreement:
    """How far judges agree on the pairs that all of them judged."""

    judges: int
    pairs: int
    same: float
    """The share of equal choices, as a mean over pairs of judges."""
    kappa: float
    """Cohen's kappa of two judges, Fleiss' of more; NaN where every choice is the same."""

    @property
    def name(self) -> str:
        """The name of the kappa."""
        return "Cohen's kappa" if self.judges == 2 else "Fleiss' kappa"


@dataclass(frozen=True)
class Preferences:
    """What came of the judged files of a sheet."""

    sheet: SheetRecord
    judges: Mapping[str, int]
    """File -> number of pairs with a choice."""
    preferences: Sequence[Preference]
    agreement: Agreement | None
    """None with one judge, or where no pair was judged by all."""


def preferences(run: LoadedRun, files: Sequence[Path]) -> Preferences:
    """Return what judges preferred.

    Args:
        run: the run that the sheet belongs to.
        files: the sheet with choices, one file for each judge.

    Raises:
        DataError: a file is malformed, lacks a pair, belongs to another sheet or holds no choice; the message names the
            file and the line.
        StoreError: the record of the sheet is damaged.
    """
    if len({path.resolve() for path in files}) < len(files):
        raise DataError("a judged file is named twice: each judge has a file")
    read = [read_judged(path, run.store) for path in files]
    sheet = read[0][0]
    for path, (other, _) in zip(files, read, strict=True):
        if other.sheet != sheet.sheet:
            raise DataError(f"{path}:2: sheet {other.sheet!r}, but {files[0]} holds the sheet {sheet.sheet!r}")
    choices = [choice for _, choice in read]
    found = [each for comparison in run.comparisons for each in _of_comparison(comparison, sheet, choices)]
    judges = {str(path): len(own) for path, own in zip(files, choices, strict=True)}
    return Preferences(sheet, judges, found, _agreement(choices))


def read_judged(path: Path, store: Store) -> tuple[SheetRecord, dict[str, str]]:
    """Return the record of a judged sheet, and pair -> choice without the pairs that have none.

    Raises:
        DataError: as in `preferences`.
    """
    sheet: SheetRecord | None = None
    lines: dict[str, int] = {}
    choices: dict[str, str] = {}
    line = 1
    for line, row in read_rows(path, _NEEDED):
        where = f"{path}:{line}"
        if sheet is None:
            sheet = sheet_record(store, row["sheet"])
            if sheet is None:
                raise DataError(f"{where}: the run has no sheet {row['sheet']!r}")
        if row["sheet"] != sheet.sheet:
            raise DataError(f"{where}: sheet {row['sheet']!r}, but the rows before are of {sheet.sheet!r}")
        pair = row["pair"].strip().removesuffix(".0")  # spreadsheets may write whole numbers so
        if pair not in sheet.pairs:
            raise DataError(f"{where}: the sheet has no pair {row['pair']!r}")
        if pair in lines:
            raise DataError(f"{where}: pair {pair!r} stands in line {lines[pair]} already")
        lines[pair] = line
        if choice := row["choice"].strip().lower().removesuffix(".0"):
            if choice not in CHOICES:
                raise DataError(f"{where}: choice {row['choice']!r} is not one of {', '.join(CHOICES)}")
            choices[pair] = choice
    if sheet is None:
        raise DataError(f"{path}:{line}: the file has no pair")
    if missing := [pair for pair in sheet.pairs if pair not in lines]:
        raise DataError(
            f"{path}:{line}: the file ends without {len(missing)} of the {len(sheet.pairs)} pairs of the sheet, such "
            f"as pair {missing[0]!r}. A pair without a choice keeps its row"
        )
    if not choices:
        raise DataError(f"{path}:{line}: the column {COLUMNS[-1]} is empty in all rows")
    return sheet, choices


def _of_comparison(
    comparison: Comparison, sheet: SheetRecord, choices: Sequence[Mapping[str, str]]
) -> list[Preference]:
    """Return the preferences of a comparison, Holm-corrected over its strategies."""
    strategies = sheet.same.get(comparison.name, {})
    votes = {strategy: _votes(comparison.name, strategy, sheet, choices) for strategy in strategies}
    tested = [strategy for strategy, found in votes.items() if len(found) > 1]
    tests = correct([_test(comparison, strategy, votes[strategy]) for strategy in tested]) if tested else []
    findings = {test.other: Finding(test, "all") for test in tests}
    found = []
    for strategy, own in votes.items():
        shares = np.array(list(own.values())).reshape(-1, 3).mean(axis=0) if own else [float("nan")] * 3
        wins, ties, losses = map(float, shares)
        found.append(
            Preference(
                comparison.name, strategy, sheet.baseline[comparison.name], len(own), wins, ties, losses,
                strategies[strategy], findings.get(strategy),
            )
        )  # fmt: skip
    return found


def _votes(
    comparison: str, strategy: str, sheet: SheetRecord, choices: Sequence[Mapping[str, str]]
) -> dict[str, tuple[float, float, float]]:
    """Return query -> the shares of judges who preferred the strategy, found both alike, and preferred the baseline."""
    found = {}
    for name, pair in sheet.pairs.items():
        if (pair.comparison, pair.strategy) != (comparison, strategy):
            continue
        words = Counter(_preferred(pair, own[name]) for own in choices if name in own)
        if total := words.total():
            found[pair.query] = (words[_STRATEGY] / total, words[TIE] / total, words[_BASELINE] / total)
    return found


def _preferred(pair: SheetPair, choice: str) -> str:
    if choice == TIE:
        return TIE
    return _STRATEGY if (choice == FIRST) == pair.strategy_is_first else _BASELINE


def _test(comparison: Comparison, strategy: str, votes: Mapping[str, tuple[float, float, float]]) -> PairwiseTest:
    """Return the test that a strategy is preferred as often as the baseline. Its difference is twice the rate - 1."""
    mask = np.array([query in votes for query in comparison.queries])
    queries = [query for query in comparison.queries if query in votes]
    rates = np.array([votes[query][0] + votes[query][1] / 2 for query in queries])
    names = comparison.baseline, strategy
    design = Design(untrained=names, groups=comparison.dependent(mask), margin=0.0)
    return compare(1 - rates, rates, names, design)


def _agreement(choices: Sequence[Mapping[str, str]]) -> Agreement | None:
    """Return the agreement of judges on the sides of the pairs that all of them judged."""
    if len(choices) < 2:
        return None
    shared = [pair for pair in choices[0] if all(pair in own for own in choices)]
    if not shared:
        return None
    words = [[own[pair] for pair in shared] for own in choices]
    same = np.mean([np.mean(np.array(one) == np.array(two)) for one, two in combinations(words, 2)])
    if len(words) == 2:
        kappa = cohen_kappa(*words)
    else:
        items = zip(*words, strict=True)
        kappa = fleiss_kappa(np.array([[item.count(word) for word in CHOICES] for item in items]))
    return Agreement(len(choices), len(shared), float(same), kappa)
