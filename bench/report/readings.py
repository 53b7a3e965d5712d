"""What readers made of a comparison's rankings: values per strategy and query, differences, and the gap closed.

The gap closed is (strategy - none) / (gold - none): the share of the way from no passage to the relevant passage. It is
undefined where gold and none do not differ reliably, because a ratio to noise means nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from bench.report.comparison import Comparison
from bench.report.findings import Finding
from bench.statistics.pairwise import PairwiseTest
from bench.statistics.resampling import bootstrap_means, interval
from bench.statistics.significance import Design, compare, compare_all
from bench.store.answers import GOLD, NONE, AnswerRecord, answer_records, per_query_answers

if TYPE_CHECKING:
    import pandas as pd

HEADLINES = ("f1", "match", "em", "support", "log_likelihood")
"""The measures of the first table of a reader."""
MEASURES = (
    *HEADLINES, "bleu", "rouge_l", "meteor", "bert_score", "faithfulness", "hallucination", "abstention",
    "false_abstention",
)  # fmt: skip
"""The measures of answers, in the order of tables."""
TESTED = ("f1", "match", "log_likelihood")
"""The measures by which strategies are told apart, and for which the gap is given."""
NAMES = {
    "f1": "F1", "match": "match", "em": "exact match", "support": "token support",
    "log_likelihood": "log-likelihood of the gold answer", "bleu": "BLEU", "rouge_l": "ROUGE-L", "meteor": "METEOR",
    "bert_score": "BERTScore", "faithfulness": "faithfulness", "hallucination": "hallucination rate",
    "abstention": "abstention where it is right", "false_abstention": "abstention where it is wrong",
}  # fmt: skip
LOWER_IS_BETTER = frozenset(("hallucination", "false_abstention"))
NEED_PASSAGES = frozenset(("support", "faithfulness", "hallucination", "false_abstention"))
"""Measures that have no value where a reader is shown no passage."""
UNITS = {"log_likelihood": "nats a token"}
_FEWEST = 3
"""Strategies from which gains are correlated."""


@dataclass(frozen=True)
class Gap:
    """The share of the gap between none and gold that a strategy closes, with its 95% interval over queries."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Readings:
    """One reader over the rankings of one comparison."""

    record: AnswerRecord
    comparison: Comparison
    frame: pd.DataFrame
    """Columns `context`, `query`, and the measures."""

    @cached_property
    def labels(self) -> list[str]:
        """The candidates that the reader read for in every usable seed, in the order of the comparison."""
        read = set(self.frame["context"])
        candidates = self.comparison.candidates
        return [label for label in self.comparison.scored if {c.cell for c in candidates[label].usable} <= read]

    @cached_property
    def measures(self) -> list[str]:
        """The measures that have values in every context in which they can have one."""
        return [name for name in MEASURES if self.queries(name)]

    def values(self, label: str, measure: str) -> np.ndarray:
        """Return the values of a candidate, of `none` or of `gold`, shape (seeds, queries with this measure)."""
        table = self._tables[measure]
        cells = [label] if label in (NONE, GOLD) else [c.cell for c in self.comparison.candidates[label].usable]
        return np.array([table[cell].to_numpy(dtype=float) for cell in cells])

    def mean(self, label: str, measure: str) -> float:
        """Return the mean over seeds and queries; NaN where there are none."""
        if label == NONE and measure in NEED_PASSAGES:
            return float("nan")
        values = self.values(label, measure)
        return float(values.mean()) if values.size else float("nan")

    def queries(self, measure: str) -> list[str]:
        """Return the queries that have a value of a measure in every context in which it can have one."""
        return list(self._tables[measure].index)

    def groups(self, measure: str) -> Sequence[str] | None:
        """Return the groups of dependent queries among those with a value of a measure; None where there are none."""
        return self.comparison.dependent(self._mask(measure))

    @cached_property
    def families(self) -> dict[str, list[Finding]]:
        """Measure -> every candidate against the baseline, one Holm-adjusted family; nothing without pairs."""
        found = {measure: self._family(measure) for measure in TESTED}
        return {measure: family for measure, family in found.items() if family}

    @cached_property
    def further_families(self) -> dict[str, list[Finding]]:
        """As `families`, for the measures beside those that tell strategies apart."""
        found = {measure: self._family(measure) for measure in self.measures if measure not in TESTED}
        return {measure: family for measure, family in found.items() if family}

    def _family(self, measure: str) -> list[Finding]:
        baseline, queries = self.comparison.baseline, self.queries(measure)
        if baseline not in self.labels or len(self.labels) < 2 or len(queries) < 2:
            return []
        labels = [baseline, *(label for label in self.labels if label != baseline)]
        tests = compare_all({x: self.values(x, measure) for x in labels}, baseline, self._design(labels, measure))
        return [Finding(test, "all", self.comparison.candidates[test.other].ranked, True) for test in tests]

    @cached_property
    def reach(self) -> dict[str, PairwiseTest]:
        """Measure -> the test of gold against none: what passages can do for this reader at all."""
        tests = {}
        for measure in (name for name in TESTED if len(self.queries(name)) > 1):
            none, gold = (self.values(name, measure) for name in (NONE, GOLD))
            tests[measure] = compare(none, gold, (NONE, GOLD), self._design([NONE, GOLD], measure))
        return tests

    def gap(self, label: str, measure: str) -> Gap | None:
        """Return the share of the gap that a candidate closes. None where gold - none is within noise."""
        reach = self.reach.get(measure)
        if reach is None or reach.ci_low <= 0 <= reach.ci_high:
            return None
        columns = [self.values(name, measure).mean(axis=0) for name in (label, NONE, GOLD)]
        own, none, gold = (float(column.mean()) for column in columns)
        samples = bootstrap_means(np.stack(columns, axis=1), self.groups(measure))
        with np.errstate(divide="ignore", invalid="ignore"):
            shares = (samples[:, 0] - samples[:, 1]) / (samples[:, 2] - samples[:, 1])
        return Gap((own - none) / (gold - none), *interval(shares[np.isfinite(shares)]))

    def correlation(self, measure: str) -> tuple[float, int] | None:
        """Return Spearman's correlation over strategies of gains in the primary measure and in a measure of answers.

        Returns:
            The correlation and the number of strategies; None with fewer than three, or where one side has no spread.
        """
        from scipy import stats

        gains = self.gains(measure)
        if len(gains) < _FEWEST or any(np.ptp(side) == 0 for side in zip(*gains.values(), strict=True)):
            return None
        return float(stats.spearmanr(*zip(*gains.values(), strict=True)).statistic), len(gains)

    def over_queries(self, label: str, measure: str) -> float:
        """Return Spearman's correlation over queries of a candidate's gain in the primary measure and in another one.

        It is NaN where one of the gains is the same for every query.
        """
        from scipy import stats

        baseline, mask = self.comparison.baseline, self._mask(measure)
        ranking, answers = (
            (values[label] - values[baseline])
            for values in (
                {name: self.comparison.scores(name)[:, mask].mean(axis=0) for name in (label, baseline)},
                {name: self.values(name, measure).mean(axis=0) for name in (label, baseline)},
            )
        )
        if len(ranking) < _FEWEST or np.ptp(ranking) == 0 or np.ptp(answers) == 0:
            return float("nan")
        return float(stats.spearmanr(ranking, answers).statistic)

    def gains(self, measure: str) -> dict[str, tuple[float, float]]:
        """Return candidate -> its gain over the baseline in the primary measure and in a measure of answers.

        Both are means over the queries that were read.
        """
        baseline, mask = self.comparison.baseline, self._mask(measure)
        if baseline not in self.labels:
            return {}
        ranking = {label: float(self.comparison.scores(label)[:, mask].mean()) for label in self.labels}
        answers = {label: self.mean(label, measure) for label in self.labels}
        return {
            label: (ranking[label] - ranking[baseline], answers[label] - answers[baseline])
            for label in self.labels
            if label != baseline
        }

    def ranking_gains(self, measure: str) -> dict[str, PairwiseTest]:
        """Return candidate -> the test of its gain in the primary measure over the queries with a value of a measure.

        Empty without the baseline.
        """
        baseline, mask = self.comparison.baseline, self._mask(measure)
        if baseline not in self.labels:
            return {}
        values = {label: self.comparison.scores(label)[:, mask] for label in self.labels}
        tests = compare_all(values, baseline, self._design(self.labels, measure))
        return {test.other: test for test in tests}

    @cached_property
    def _tables(self) -> dict[str, pd.DataFrame]:
        """Measure -> its values, a row for each query and a column for each context."""
        tables = {name: self.frame.pivot(index="query", columns="context", values=name) for name in MEASURES}
        for name, table in tables.items():
            if name in NEED_PASSAGES:
                table = table.drop(columns=NONE)
            tables[name] = table.dropna().sort_index()
        return tables

    def _mask(self, measure: str) -> np.ndarray:
        """Return which queries of the comparison have a value of a measure of answers, shape (queries,)."""
        known = set(self.queries(measure))
        return np.array([query in known for query in self.comparison.queries])

    def _design(self, labels: Sequence[str], measure: str) -> Design:
        candidates = {label: self.comparison.candidates[label] for label in labels if label not in (NONE, GOLD)}
        return Design(
            seeds={label: candidates[label].seeds if label in candidates else [-1] for label in labels},
            untrained=tuple(x for x in labels if x not in candidates or not candidates[x].trained),
            groups=self.groups(measure),
            margin=self.comparison.margin.value,
        )


def without_samples(found: Sequence[Readings]) -> list[Readings]:
    """Return the readers of a comparison, adapted ones last, without smaller samples that lie within larger ones.

    `answer` makes such a sample of the reader before, beside an adapted one that reads fewer queries.
    """
    kept = [readings for readings in found if not any(_includes(other, readings) for other in found)]
    return sorted(kept, key=lambda readings: bool(readings.record.adaptation))


def _includes(larger: Readings, smaller: Readings) -> bool:
    samples = dict.fromkeys(("queries", "generate"))
    reader, other = (
        (each.record.reader_fingerprint, each.record.prompt, {**each.record.settings, **samples})
        for each in (larger, smaller)
    )
    (asked, written), (fewer_asked, fewer_written) = sizes = [
        (each.record.n_queries, len(each.queries("f1"))) for each in (larger, smaller)
    ]
    is_larger = asked >= fewer_asked and written >= fewer_written and sizes[0] != sizes[1]
    return is_larger and reader == other and set(smaller.measures) <= set(larger.measures)


def readings_of(comparison: Comparison) -> tuple[list[Readings], list[str]]:
    """Return what each reader made of a comparison's rankings, and a sentence for each record that is not used."""
    records, problems = answer_records(comparison.store)
    cells = [cell for candidate in comparison.candidates.values() for cell in candidate.usable]
    contents = {cell.fingerprints.get("dataset", "") for cell in cells}
    found = []
    for record in records:
        if (record.dataset, record.split) != (comparison.dataset, comparison.split):
            continue
        if record.fingerprints.get("dataset") not in contents:
            problems.append(f"answers/{record.name} was made on other content of {record.dataset}")
            continue
        frame = per_query_answers(comparison.store, record)
        missing = [name for name in MEASURES if name not in frame]  # an older record, or one without a judge
        readings = Readings(record, comparison, frame.assign(**dict.fromkeys(missing, np.nan)))
        if readings.labels:
            found.append(readings)
    return found, problems
