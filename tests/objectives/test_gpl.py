"""GPL: trained on generated queries alone, beside labels that it never sees, and the point at 0 of a label curve."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bench.config.schema import ConfigError, RunConfig
from bench.data.sample import sample_dataset
from bench.data.splits import seen_by, training_data
from bench.data.write import write_dataset
from bench.planning.plan import plan
from bench.report.analysis import Analysis
from bench.report.load import load_run
from bench.running.run import RunResult

Configure = Callable[..., RunConfig]


@pytest.fixture
def written_folder(tmp_path: Path) -> Path:
    """The tiny dataset with a generated query for each document. One of them repeats a test query."""
    tiny = sample_dataset()
    written = {f"g-{doc}": f"where is the {doc.replace('-', ' ')} that I read of" for doc in tiny.corpus.ids}
    written["g-harbour-5"] = tiny.queries["q-harbour-5"].upper()
    dataset = replace(
        tiny,
        info=replace(tiny.info, name="written"),
        queries={**tiny.queries, **written},
        splits={**tiny.splits, "generated": {query: {query.removeprefix("g-"): 1} for query in written}},
        groups=dict.fromkeys(written, "pseudo:generated"),
    )
    write_dataset(dataset, tmp_path / "written")
    return tmp_path / "written"


def test_without_generated_queries_it_is_refused_at_planning(toy_config: Configure) -> None:
    config = toy_config(strategies="gpl", baseline="frozen", strategy_files=[])
    with pytest.raises(ConfigError, match=r"queries that a language model wrote, and tiny has none: .*--generate"):
        plan(config)


def test_it_and_its_teacher_see_no_label(written_folder: Path) -> None:
    from bench.data.locate import load_dataset

    data = training_data(load_dataset(str(written_folder)), 0, examples=8)
    shown = seen_by({"generated"}, data)
    assert (data.labels, shown.labels, len(shown.pairs)) == (8, 0, 47), "the repeat of a test query is gone"
    assert all(pair.query_id.startswith("g-") for pair in shown.pairs) and not shown.dev_qrels
    assert all(pair.query_id.startswith("q-") for pair in data.pairs)


def test_at_0_labels_it_trains_and_stands_in_the_curve_of_the_labelled(
    toy_config: Configure,
    run_inline: Callable[[RunConfig], RunResult],
    tiny_folder: Callable[[str], Path],
    written_folder: Path,
) -> None:
    done = run_inline(
        toy_config(
            strategies="bm25,ia3,gpl",
            baseline="frozen",
            strategy_files=[],
            datasets=str(written_folder),
            model=str(tiny_folder("bert")),
            budget={"steps": 2, "examples": [0, 8]},
        )
    )
    fits = list(done.store.fits())
    (teacher,) = (fit for fit in fits if fit.strategy == "rerank(frozen)")
    for fit in (teacher, *(each for each in fits if each.strategy == "gpl")):
        assert (fit.status, fit.report["examples"], fit.report["data"]["generated"]) == ("ok", 0, 47), fit.reason
    assert {fit.status for fit in fits if fit.strategy == "ia3"} == {"ok", "not_applicable"}
    (curve,) = Analysis(load_run(done.store, baseline="frozen")).budget_curves
    amounts = {label: [at.amount for at in points] for label, points in curve.lines.items()}
    assert amounts == {"bm25": [0], "gpl": [0], "ia3": [8]}
    assert curve.queries == "8 test queries", "a generated query makes no test query a seen one"
