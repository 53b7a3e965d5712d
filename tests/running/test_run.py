"""A run runs what is not complete, and nothing else."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.config.execution import ExecutionSettings
from bench.config.schema import RunConfig, from_mapping, load
from bench.errors import BenchError, StoreError
from bench.planning.jobs import Job
from bench.planning.plan import plan
from bench.planning.specs import CellSpec
from bench.report.analysis import Analysis
from bench.report.decision import Decision, decide
from bench.report.load import load_run
from bench.running.executors import Executor, Handle
from bench.running.overview import overview
from bench.running.run import Run, RunResult
from bench.running.tuning.study import folder_of
from bench.store.checkpoint_mark import CHECKPOINT_MARK, CHECKPOINTS
from bench.store.store import Store
from bench.store.studies import STUDY_FILE
from tests.toy_runs import InProcess, Silent

Configure = Callable[..., RunConfig]
RunInline = Callable[[RunConfig], RunResult]


def test_a_second_run_does_nothing(toy_config: Configure, run_inline: RunInline, probe_folder: Path) -> None:
    config = toy_config(strategies="words,both(words),toy", baseline="words", seeds="0,1", probes=str(probe_folder))
    first = run_inline(config)
    fits = {"words": 1, "both(words)": 1, "toy": 2}
    cells = {"words": 3, "both(words)": 3, "toy": 6}  # test, development and probe of each fit
    assert Counter(fit.strategy for fit in first.plan.fits) == fits
    assert Counter(cell.strategy for cell in first.plan.cells) == cells
    assert not first.failed
    assert first.done == 4 + 12 and first.exit_code == 0 and first.statuses == {"ok": 12}
    second = run_inline(config)
    assert second.done == 0 and second.statuses == {"ok": 12}


def test_a_new_probe_dataset_or_composite_trains_nothing_again(
    toy_config: Configure, run_inline: RunInline, probe_folder: Path, tmp_path: Path
) -> None:
    marker = tmp_path / "fits"
    shared = {"set": f"toy.marker={marker}"}
    run_inline(toy_config(**shared))
    run_inline(toy_config(**shared, probes=str(probe_folder)))
    run_inline(toy_config(**shared, strategies="toy,both(toy)", measures="mrr@10"))
    assert len(marker.read_text().splitlines()) == 1
    run_inline(toy_config(**shared, seeds="0,1"))
    assert len(marker.read_text().splitlines()) == 2


def test_failed_fits_run_again_only_on_request(toy_config: Configure, run_inline: RunInline, tmp_path: Path) -> None:
    marker = tmp_path / "fits"
    config = toy_config(strategies="toy,words", set=f"toy.does=raise,toy.marker={marker}".split(","))
    assert run_inline(config).exit_code == 1
    again = run_inline(config)
    assert again.done == 0 and again.exit_code == 1
    assert again.failed[0][1:] == ("failed", "ValueError: the first line")
    retried = run_inline(config.replace(overwrite="failed"))
    assert retried.done == 3 and len(marker.read_text().splitlines()) == 2


def test_not_applicable_fits_are_not_retried(toy_config: Configure, run_inline: RunInline) -> None:
    config = toy_config(strategies="toy,words", set="toy.does=refuse")
    run_inline(config)
    assert run_inline(config.replace(overwrite="failed")).done == 0


def test_overwrite_always_runs_everything_again(toy_config: Configure, run_inline: RunInline) -> None:
    config = toy_config()
    run_inline(config)
    assert run_inline(config.replace(overwrite="always")).done == 2


def test_a_fit_with_a_missing_artefact_runs_again_where_it_is_needed(
    toy_config: Configure, run_inline: RunInline, probe_folder: Path
) -> None:
    config = toy_config()
    store = run_inline(config).store
    shutil.rmtree(store.fit_folder(store.fits()[0].fit) / "model")
    assert store.problems() == [] and run_inline(config).done == 0, "records without weights are whole"
    outcome = run_inline(toy_config(probes=str(probe_folder)))
    assert outcome.done == 2, "the fit and the probe; the target is complete"
    assert outcome.statuses == {"ok": 2}


def test_the_advice_about_a_missing_artefact_works(toy_config: Configure, run_inline: RunInline) -> None:
    config = toy_config()
    store = run_inline(config).store
    fit = store.fits()[0].fit
    folder = store.fit_folder(fit)
    shutil.rmtree(folder / "model")
    with pytest.raises(StoreError, match=f"is missing: delete {re.escape(str(folder))} and run again"):
        store.artefact(fit)
    assert run_inline(config).done == 0, "to run again is not enough"
    shutil.rmtree(folder)
    assert run_inline(config).done == 1 and list(store.artefact(fit).iterdir())


def test_a_folder_that_cannot_be_written_and_a_missing_device_are_refused_first(
    toy_config: Configure, run_inline: RunInline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BenchError, match="file is a file, not a folder"):
        run_inline(toy_config(out=str(tmp_path / "file")))
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(BenchError, match="torch finds no CUDA device here"):
        run_inline(toy_config(device="cuda"))


def test_a_fit_with_a_damaged_artefact_runs_again_where_it_is_needed(
    toy_config: Configure, run_inline: RunInline, probe_folder: Path
) -> None:
    store = run_inline(toy_config()).store
    path = store.fit_folder(store.fits()[0].fit) / "model" / "seen.json"
    path.write_bytes(path.read_bytes().swapcase())
    assert run_inline(toy_config(probes=str(probe_folder))).statuses == {"ok": 2}


def test_a_job_with_a_damaged_record_runs_again(toy_config: Configure, run_inline: RunInline) -> None:
    store = run_inline(toy_config()).store
    (store.cell_folder(store.cells()[0].cell) / "result.json").write_text("{")
    assert len(store.problems()) == 1
    assert run_inline(toy_config()).done == 1 and store.problems() == []


def test_a_lost_component_runs_again_for_its_composite(
    toy_config: Configure, run_inline: RunInline, probe_folder: Path
) -> None:
    config = toy_config(strategies="both(toy),words", baseline="words")
    store = run_inline(config).store
    part = next(fit for fit in store.fits() if fit.strategy == "toy")
    composite = next(fit for fit in store.fits() if fit.strategy == "both(toy)")
    shutil.rmtree(store.fit_folder(part.fit))
    shutil.rmtree(store.fit_folder(composite.fit))
    assert [job.name for job in Run.prepare(config).pending()] == [part.fit, composite.fit]


@pytest.mark.parametrize("strategy", ["both(toy)", "both(both(toy))"])
def test_a_lost_component_of_a_complete_composite_runs_again_before_what_loads_it(
    toy_config: Configure, run_inline: RunInline, strategy: str
) -> None:
    config = toy_config(strategies=strategy, baseline=strategy)
    store = run_inline(config).store
    (part,) = (fit.fit for fit in store.fits() if fit.strategy == "toy")
    (lost,) = (cell.cell for cell in store.results() if cell.strategy == strategy)
    shutil.rmtree(store.fit_folder(part) / "model")
    shutil.rmtree(store.cell_folder(lost))
    jobs = {job.name: job.after for job in Run.prepare(config).pending()}
    assert jobs == {part: frozenset(), lost: {part}}
    assert run_inline(config).exit_code == 0


def test_a_run_leaves_its_configuration_to_be_given_back(toy_config: Configure, run_inline: RunInline) -> None:
    config = toy_config(strategies="toy,both(words, weight=0.3)", seeds="0,1", set="toy.bonus=1", max_length=32)
    store = run_inline(config).store
    call = store.invocations()[-1]
    assert call["exit_code"] == 0 and call["seconds"] > 0 and call["started"] <= call["ended"]
    assert call["versions"]["torch"] and call["machine_class"] and "commit" in call["git"]
    assert call["datasets"]["tiny"]["documents"] == 48
    assert from_mapping(load(store.folder / "run.json")) == config
    run_inline(config)
    assert len(store.invocations()) == 2


def test_an_executor_that_cannot_work_is_refused_before_anything_is_discarded(configure: Configure) -> None:
    run = Run.prepare(configure(overwrite="always"))
    study = folder_of(run.store, run.plan.studies[0].name) / STUDY_FILE
    checkpoint = run.store.folder / CHECKPOINTS / run.plan.fits[0].name / CHECKPOINT_MARK
    for path in (study, checkpoint):
        path.parent.mkdir(parents=True)
        path.touch()

    def refused(store: Store, execution: ExecutionSettings) -> Executor:
        raise BenchError("no cluster at this address")

    with pytest.raises(BenchError, match="no cluster"):
        run.execute(Silent(), refused)
    assert study.is_file() and checkpoint.is_file() and run.store.invocations() == []


@pytest.mark.parametrize(
    ("error", "exit_code"), [(StoreError("damaged"), 2), (OSError("full"), 2), (RuntimeError("a mistake"), 1)]
)
def test_a_run_that_an_error_ends_records_its_end(toy_config: Configure, error: Exception, exit_code: int) -> None:
    class Breaks(InProcess):
        def submit(self, job: Job) -> Handle:
            raise error

    run = Run.prepare(toy_config())
    with pytest.raises(type(error)):
        run.execute(Silent(), Breaks)
    (call,) = run.store.invocations()
    assert (call["exit_code"], call["jobs_done"]) == (exit_code, 0) and call["started"] <= call["ended"]
    assert overview(run.store).state == "ended"


def test_two_runs_do_not_write_into_one_folder(toy_config: Configure) -> None:
    pytest.importorskip("fcntl")
    config = toy_config()

    class Nested(InProcess):
        def submit(self, job: Job) -> Handle:
            Run.prepare(config).execute(Silent(), InProcess)
            return job.name

    with pytest.raises(BenchError, match="another run is writing"):
        Run.prepare(config).execute(Silent(), Nested)


@pytest.mark.parametrize("kind", ["model", "dataset"])
def test_another_model_or_dataset_of_the_same_name_is_refused(
    toy_config: Configure, run_inline: RunInline, tmp_path: Path, fake_model: Path, beir_folder: Path, kind: str
) -> None:
    config = toy_config()
    run_inline(config)
    source = fake_model if kind == "model" else beir_folder
    other = tmp_path / "elsewhere" / source.name
    shutil.copytree(source, other)
    same = {"model": str(other)} if kind == "model" else {"datasets": str(other)}
    assert run_inline(toy_config(**same)).done == 0, "the same content at another place is the same"
    changed = other / ("model.safetensors" if kind == "model" else "queries.jsonl")
    content = changed.read_bytes()
    changed.write_bytes(content + b"\0" * 4000 if kind == "model" else content.replace(b"the", b"some"))
    with pytest.raises(BenchError, match=f"holds results of another {kind} named '{source.name}'.*another --out"):
        Run.prepare(toy_config(**same))
    assert run_inline(toy_config(**same, out=str(tmp_path / "another"))).statuses == {"ok": 1}


def test_results_as_a_table(toy_config: Configure, run_inline: RunInline, probe_folder: Path) -> None:
    frame = run_inline(toy_config(seeds="0,1", probes=str(probe_folder))).frame()
    assert frame["seed"].tolist() == [0, 1]
    assert {"strategy", "ndcg@10", "ndcg@10/unseen", "cost.fit_seconds"} <= set(frame.columns)
    assert "forgetting.elsewhere.composition" in frame


def test_an_empty_run_is_an_empty_table(toy_config: Configure, tmp_path: Path) -> None:
    assert RunResult(Store(tmp_path / "none"), plan(toy_config())).frame().empty


def test_a_run_without_development_cells_gets_them_and_fits_nothing_again(
    toy_config: Configure, run_inline: RunInline
) -> None:
    config = toy_config(strategies="words,toy", baseline="words")
    store = run_inline(config).store
    for cell in store.cells():
        if cell.role == "development":
            shutil.rmtree(store.cell_folder(cell.cell))
    assert decided(store).by == "test", "as in records of an older version"
    pending = Run.prepare(config).pending()
    assert sorted(job.spec.strategy for job in pending) == ["toy", "words"]
    assert {job.spec.role for job in pending if isinstance(job.spec, CellSpec)} == {"development"}
    assert run_inline(config).done == 2
    assert decided(store).by == "made"


def test_with_few_labels_strategies_are_chosen_on_queries_made_from_the_corpus(
    toy_config: Configure, run_inline: RunInline
) -> None:
    store = run_inline(toy_config(strategies="words,toy", baseline="words", seeds="0,1")).store
    decision = decided(store)
    assert decision.by == "made"
    assert [(score.label, score.gain.n_seeds, score.gain.made) for score in decision.scores] == [("toy", 2, True)]
    (words,) = (cell for cell in store.cells() if cell.role == "development" and cell.strategy == "words")
    rows = store.per_query(words.cell)
    assert set(rows["seed"]) == {0, 1} and rows["made"].all()
    assert any("made from documents" in note for note in words.notes)


def decided(store: Store) -> Decision:
    run = load_run(store)
    return decide(Analysis(run), run.comparisons[0])
