"""The data of the HTML page hold texts only if the run's dataset is unchanged and texts are allowed."""

from __future__ import annotations

import json

import pytest

from bench.data.dataset import Dataset, DatasetInfo
from bench.data.locate import load_dataset
from bench.data.write import write_dataset
from bench.report.analysis import Analysis
from bench.report.explore import explore
from bench.report.load import load_run


@pytest.fixture
def domain(tmp_path, tiny_dataset):
    """A dataset named `domain` with the queries of planted cells."""
    queries = {f"q{number:03}": f"question {number}" for number in range(160)}
    doc = tiny_dataset.corpus.ids[0]
    splits = {"test": {query: {doc: 1} for query in queries}}
    dataset = Dataset(DatasetInfo("domain"), tiny_dataset.corpus, queries, splits)
    write_dataset(dataset, tmp_path / "data" / "domain")
    return tmp_path / "data" / "domain"


def page_data(planter, domain, plants, fingerprint, texts=True):
    planter.invoke(config={"datasets": ["domain"], "data_dir": str(domain.parent), "baseline": "base"})
    planter.run(plants, fingerprint=fingerprint)
    return json.dumps(explore(Analysis(load_run(planter.store)), texts))


def test_texts_are_shown_unless_they_are_excluded(planter, plant, untrained, domain):
    fingerprint = load_dataset(str(domain)).fingerprint
    plants = {"base": untrained(), "big": plant()}
    assert "question 7" in page_data(planter, domain, plants, fingerprint)
    assert "question 7" not in page_data(planter, domain, plants, fingerprint, texts=False)


def test_texts_that_changed_since_the_run_are_not_shown(planter, plant, untrained, domain):
    data = page_data(planter, domain, {"base": untrained(), "big": plant()}, "another")
    assert "question 7" not in data and "the dataset has changed since the run" in data
