"""Recommendations: chosen on development data among strategies that meet every constraint, with a reason."""

from __future__ import annotations

import json

import pytest

from bench.cli import main
from bench.errors import BenchError
from bench.report.analysis import Analysis
from bench.report.load import load_run
from bench.report.recommend import Constraints, Recommendation, Scale, recommend
from bench.report.text import to_plain


def ask(store, constraints: Constraints = Constraints(), scale: Scale = Scale()) -> Recommendation:  # noqa: B008
    run = load_run(store)
    return recommend(Analysis(run), run.comparisons[0], constraints, scale)


@pytest.fixture(scope="module")
def store(tmp_path_factory, planter_type, plant, untrained):
    """A costly strategy that is best on development data, a cheap one, and one that leaves the index alone."""
    probes = {"web": 0.0}
    planter = planter_type(tmp_path_factory.mktemp("recommend"))
    planter.invoke()
    planter.run(
        {
            "base": untrained(probes=probes),
            "big": plant(gains=(0.12,), dev_gain=0.12, seconds=300.0, artifact_bytes=90_000_000, probes={"web": -0.05}),
            "small": plant(gains=(0.1,), dev_gain=0.09, seconds=100.0, artifact_bytes=1_000_000, probes=probes),
            "head": plant(gains=(0.06,), dev_gain=0.05, reindex="none", query_ms=30.0, probes=probes),
        }
    )
    return planter.store


def test_without_constraints_the_best_on_development_data_is_recommended(store):
    found = ask(store)
    assert found.label == "big" and found.decision.by == "development" and found.excluded == {}
    assert "95% CI" in to_plain(found.reason)


@pytest.mark.parametrize(
    ("constraints", "label", "violated"),
    [
        (Constraints(artifact_mb=10), "small", "artefact: 90 MB, above 10 MB"),
        (Constraints(train_seconds=120), "small", "fitting: 5 min 00 s, above 2 min 00 s"),
        (Constraints(forgetting=0.02), "small", "loses 0.0"),
        (Constraints(reindex=False), "head", "the stored index must change (encode)"),
    ],
)
def test_a_constraint_excludes_strategies_that_violate_it(store, constraints, label, violated):
    found = ask(store, constraints)
    assert found.label == label
    assert any(violated in words for words in found.excluded["big"])
    assert "Better than base but excluded: big" in to_plain(found.reason)


def test_the_baseline_is_kept_if_it_alone_meets_the_constraints(store):
    found = ask(store, Constraints(reindex=False, query_ms=20))
    assert found.label == "base" and "Keep base: every other strategy violates a constraint" in to_plain(found.reason)


def test_nothing_is_recommended_if_nothing_meets_the_constraints(store):
    found = ask(store, Constraints(query_ms=1))
    assert found.label is None and set(found.excluded) == {"base", "big", "small", "head"}


def test_the_baseline_is_kept_if_nothing_gains(planter, plant, untrained):
    found = ask(planter.run({"base": untrained(), "flat": plant(dev_gain=0.01)}))
    assert found.label == "base" and "Keep base" in to_plain(found.reason)


def test_forgetting_cannot_be_constrained_without_probes(planter, plant, untrained):
    store = planter.run({"base": untrained(), "big": plant(gains=(0.1,), dev_gain=0.1)})
    with pytest.raises(BenchError, match="--probes"):
        ask(store, Constraints(forgetting=0.01))


def test_projections_multiply_measured_rates_by_the_readers_numbers(store):
    scale = Scale(
        corpus_docs=1_600_000, queries_per_month=1_000_000, label_usd=0.5, usd_per_hour=3.6, refresh_per_month=2
    )
    found = ask(store, Constraints(), scale)
    lines = {line.item: line for line in found.projections["big"]}
    assert lines["labels"].usd == 450.0 and lines["labels"].once
    assert lines["training"].usd == pytest.approx(2 * 300 / 1000)
    assert lines["re-encoding"].usd == pytest.approx(2 * 1_600_000 / 160 / 1000)
    assert lines["serving"].usd == pytest.approx(0.012 * 1_000_000 / 1000)
    assert "7,700,000" not in lines["storage"].rate and "1,540 bytes per document" in lines["storage"].rate
    assert {line.item: line for line in found.projections["base"]}["re-encoding"].usd == 0.0


def test_nothing_is_projected_without_a_rate_and_a_number(store):
    assert {line.item for line in ask(store).projections["big"]} == {"training"}
    assert ask(store).projections["big"][0].usd is None


def test_the_command_prints_json_and_its_exit_code_is_1_if_nothing_fits(store, capsys):
    assert main(["recommend", str(store.folder), "--json"]) == 0
    (answer,) = json.loads(capsys.readouterr().out)["recommendations"]
    assert answer["recommended"] == "big" and answer["test"]["n_seeds"] == 3 and answer["test"]["ci_low"] > 0
    assert main(["recommend", str(store.folder), "--max-query-ms", "1", "--json"]) == 1


def test_the_command_shows_reason_and_projection(store, capsys):
    main(["recommend", str(store.folder), "--max-artifact-mb", "10", "--corpus-docs", "1e6"])
    printed = capsys.readouterr().out
    assert "Use small" in printed and "excluded: big" in printed and "re-encoding" in printed


def test_a_margin_given_later_is_post_hoc(planter, plant, untrained, capsys):
    store = planter.run({"base": untrained(), "flat": plant(dev_gain=0.01)})
    assert main(["recommend", str(store.folder), "--equivalence-margin", "0.3"]) == 0
    assert "equivalent to it within a margin of 0.300, post hoc" in " ".join(capsys.readouterr().out.split())
