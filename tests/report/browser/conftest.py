"""A headless Chromium, and a report whose data hold markup and scripts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from bench.data.locate import load_dataset
from bench.report import write_report

QUERIES = 160
"""Queries of the planted cells."""
HOSTILE = "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"


def write_hostile(folder: Path) -> Path:
    """Write a BEIR folder named `domain` whose texts hold markup and scripts, and return it."""
    folder = folder / "data" / "domain"
    (folder / "qrels").mkdir(parents=True)
    with (folder / "corpus.jsonl").open("w", encoding="utf-8") as stream:
        for number in range(5):
            stream.write(json.dumps({"_id": f"d{number}", "title": "", "text": f"document {number} {HOSTILE}"}) + "\n")
    with (folder / "queries.jsonl").open("w", encoding="utf-8") as stream:
        for number in range(QUERIES):
            text = f"question {number} {HOSTILE} \u2028"
            stream.write(json.dumps({"_id": f"q{number:03}", "text": text}) + "\n")
    rows = [f"q{number:03}\td{number % 2}\t1" for number in range(QUERIES)]
    lines = ["query-id\tcorpus-id\tscore", *rows]
    (folder / "qrels" / "test.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def hostile_report(
    tmp_path_factory: pytest.TempPathFactory,
    planter_type: type[Any],
    plant: Callable[..., Any],
    untrained: Callable[..., Any],
) -> Path:
    """The HTML report of a run over two budgets whose data and strategy names hold markup and scripts.

    The strategy `evil` has no rankings in its records.
    """
    root = tmp_path_factory.mktemp("hostile")
    folder = write_hostile(root)
    fingerprint = load_dataset(str(folder)).fingerprint
    made = planter_type(root / "run")
    made.invoke(config={"baseline": "base", "datasets": ["domain"], "data_dir": str(folder.parent)})
    plants = {
        "base": untrained(probes={"web": 0.0}),
        "big": plant(gains=(0.1,), dev_gain=0.1, probes={"web": -0.05}),
        "evil<img src=x onerror=\"document.title='owned'\">": plant(is_ranked=False),
    }
    made.run(plants, seen=0.3, groups=4, fingerprint=fingerprint)
    fewer = {"big": plant(gains=(0.05,), dev_gain=0.1)}
    made.run(fewer, limits={"steps": 50}, seen=0.3, fingerprint=fingerprint)
    write_report(made.store, root / "out")
    return root / "out" / "report.html"


@pytest.fixture(scope="session")
def default_report(
    tmp_path_factory: pytest.TempPathFactory,
    planter_type: type[Any],
    plant: Callable[..., Any],
    untrained: Callable[..., Any],
) -> Path:
    """The HTML report of a run of the default strategies on one dataset, with one probe and drift."""
    root = tmp_path_factory.mktemp("default")
    old = {"measure": "ndcg@10", "before": 0.5, "after": 0.53, "ci_low": 0.01, "ci_high": 0.05, "p": 0.001, "n": 400}
    drift = {"old_index": {**old, "stratum": "all", "encoded_again": 0.6}}
    made = planter_type(root / "run")
    made.invoke(config={"baseline": "frozen"})
    plants = {
        "frozen": untrained(probes={"general": 0.0}),
        "bm25": untrained(gains=(0.03,), probes={"general": -0.4}),
        "prior": plant(probes={"general": 0.0}, seeds=(0,)),
        "full": plant(gains=(0.06,), dev_gain=0.06, probes={"general": -0.01}, seeds=(0,), drift=drift),
        "lora": plant(gains=(0.06,), dev_gain=0.05, probes={"general": -0.01}, seeds=(0,), artifact_bytes=1000),
        "hybrid(frozen)": plant(gains=(0.09,), dev_gain=0.04, probes={"general": -0.2}, seeds=(0,)),
    }
    made.run(plants, limits={"steps": 60}, model="all-MiniLM-L6-v2")
    write_report(made.store, root / "out")
    return root / "out" / "report.html"


@pytest.fixture(scope="session")
def page(chromium: Browser) -> Page:
    """A page in a headless Chromium that blocks no request and keeps a list of them; skips without Chromium."""
    return chromium.new_page()
