"""Recommendations: chosen on development data among what keeps every constraint, reported on test, with a reason."""

from __future__ import annotations

import json

import pytest

from bench.commands import recommend as command
from bench.errors import BenchError
from bench.report.findings import Analysis
from bench.report.load import load_run
from bench.report.recommend import Limits, Recommendation, Scale, recommend
from bench.report.text import to_plain


def ask(store, limits: Limits = Limits(), scale: Scale = Scale()) -> Recommendation:  # noqa: B008
    run = load_run(store)
    return recommend(run, Analysis(run), run.comparisons[0], limits, scale)


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


def test_without_constraints_the_best_on_development_data_is_taken(store):
    found = ask(store)
    assert found.label == "big" and found.choice.by == "development" and found.excluded == {}
    assert "95% interval" in to_plain(found.reason)


@pytest.mark.parametrize(
    ("limits", "label", "broken"),
    [
        (Limits(artifact_mb=10), "small", "artefact: 90 MB, above 10 MB"),
        (Limits(train_seconds=120), "small", "fitting: 5 min 00 s, above 2 min 00 s"),
        (Limits(forgetting=0.02), "small", "loses 0.0"),
        (Limits(reindex=False), "head", "the stored index would have to change (encode)"),
    ],
)
def test_a_constraint_excludes_what_breaks_it_and_says_so(store, limits, label, broken):
    found = ask(store, limits)
    assert found.label == label
    assert any(broken in said for said in found.excluded["big"])
    assert "Better than base but excluded: big" in to_plain(found.reason)


def test_where_only_the_baseline_keeps_the_constraints_it_stays(store):
    found = ask(store, Limits(reindex=False, query_ms=20))
    assert found.label == "base" and "Stay base: everything else breaks a constraint" in to_plain(found.reason)


def test_where_nothing_keeps_the_constraints_nothing_is_taken(store):
    found = ask(store, Limits(query_ms=1))
    assert found.label is None and set(found.excluded) == {"base", "big", "small", "head"}


def test_where_nothing_gains_the_baseline_stays(planter, plant, untrained):
    found = ask(planter.run({"base": untrained(), "flat": plant(dev_gain=0.01)}))
    assert found.label == "base" and "stay base" in to_plain(found.reason)


def test_forgetting_cannot_be_limited_without_probes(planter, plant, untrained):
    store = planter.run({"base": untrained(), "big": plant(gains=(0.1,), dev_gain=0.1)})
    with pytest.raises(BenchError, match="--probes"):
        ask(store, Limits(forgetting=0.01))


def test_projections_multiply_measured_rates_by_the_readers_numbers(store):
    scale = Scale(
        corpus_docs=1_600_000, queries_per_month=1_000_000, label_usd=0.5, usd_per_hour=3.6, refresh_per_month=2
    )
    found = ask(store, Limits(), scale)
    lines = {line.item: line for line in found.projections["big"]}
    assert lines["labels"].usd == 450.0 and lines["labels"].once
    assert lines["training"].usd == pytest.approx(2 * 300 / 1000)
    assert lines["re-encoding"].usd == pytest.approx(2 * 1_600_000 / 160 / 1000)
    assert lines["serving"].usd == pytest.approx(0.012 * 1_000_000 / 1000)
    assert "7,700,000" not in lines["storage"].rate and "1,540 bytes a document" in lines["storage"].rate
    assert {line.item: line for line in found.projections["base"]}["re-encoding"].usd == 0.0


def test_what_was_not_measured_or_not_given_is_not_projected(store):
    assert {line.item for line in ask(store).projections["big"]} == {"training"}
    assert ask(store).projections["big"][0].usd is None


def test_the_command_prints_json_and_says_by_its_exit_code_that_nothing_fits(store, capsys):
    import argparse

    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    assert command.run(parser.parse_args([str(store.folder), "--json"])) == 0
    (answer,) = json.loads(capsys.readouterr().out)["recommendations"]
    assert answer["recommended"] == "big" and answer["test"]["n_seeds"] == 3 and answer["test"]["ci_low"] > 0
    assert command.run(parser.parse_args([str(store.folder), "--max-query-ms", "1", "--json"])) == 1


def test_the_command_shows_reason_and_projection(store, capsys):
    import argparse

    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    command.run(parser.parse_args([str(store.folder), "--max-artifact-mb", "10", "--corpus-docs", "1e6"]))
    said = capsys.readouterr().out
    assert "take small" in said and "excluded: big" in said and "re-encoding" in said
