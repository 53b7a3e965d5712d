"""A training that was interrupted resumes from its checkpoint, and ends as if nobody had disturbed it."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from bench.budget import Budget, Meter
from bench.config.schema import RunConfig
from bench.contract import Blueprint
from bench.data.dataset import TrainingData
from bench.models.base import BaseModel
from bench.objectives.joint import READER_FOLDER, Joint
from bench.readers.local import LocalReader
from bench.records import FitReport, with_digest
from bench.running.fit import run_fit
from bench.running.run import Run
from bench.running.scorer import Scorer
from bench.store.checkpoint_mark import CHECKPOINTS
from bench.store.checkpoints import CheckpointFolder, clear_checkpoints
from bench.store.store import FIT_MARK, Store
from bench.strategy.ranks import OneProcess
from bench.strategy.settings import TrainingSettings
from bench.training.monitor import snapshot
from bench.training.observer import FitObserver, observed
from bench.training.resume import TrainingCheckpoints, kept_in
from bench.training.score_loss import ScoreLoss
from tests.interrupted_strategies import interrupted_strategy

MakeResources = Callable[..., Any]
STEPS, KILLED = 6, 5
ALWAYS = 1e-6
"""Seconds between two checkpoints: one after each step."""
TIMES = {"train_seconds", "curve", "reader_seconds"}


class Killed(Exception):
    """Stands for the death of a process."""


def module_of(strategy: Any) -> torch.nn.Module:
    return next(getattr(strategy, name) for name in ("_module", "_ranker", "model") if hasattr(strategy, name))


def values_of(strategy: Any, report: FitReport) -> dict[str, Any]:
    """Return everything about a fit that is no time."""
    module = module_of(strategy)
    curve = [(point.step, point.loss, point.learning_rate, point.dev) for point in report.curve]
    weights = {name: each.tolist() for name, each in snapshot(getattr(module, "model", module)).items()}
    return {"report": report.model_dump(exclude=TIMES), "curve": curve, "weights": weights}


@pytest.fixture
def attempt(
    tiny_bert: BaseModel, tiny_resources: MakeResources, tiny_training: TrainingData, tmp_path: Path
) -> Callable[..., tuple[dict[str, Any], FitObserver, Any]]:
    """Return a function that makes one attempt at a fit, and dies after so many steps."""

    def run(
        expression: str, folder: CheckpointFolder | None = None, killed: int = 0, **settings: Any
    ) -> tuple[dict[str, Any], FitObserver, Any]:
        def progress(event: str, values: dict[str, Any]) -> None:
            if event == "step" and values["step"] == killed:
                raise Killed

        torch.manual_seed(killed)  # what a process has drawn before must not matter
        resources = tiny_resources(
            tiny_bert, **{"selection_floor": 1000, "dev_queries": 8, "evaluations": 3, **settings}
        )
        resources = replace(resources, progress=progress)
        blueprint = Blueprint.of(expression)
        components = [part.build(resources, ()) for part in blueprint.components]
        strategy = blueprint.build(resources, components)
        resources.meter.start()
        with observed(resources.meter) as seen, kept_in(folder):
            report = strategy.fit(tiny_training, Budget(steps=STEPS), 0)
        resources.meter.stop()
        return values_of(strategy, report), seen, resources

    return run


def folder_at(path: Path, every: float = ALWAYS, **identity: str) -> CheckpointFolder:
    return CheckpointFolder(path / "fit", {"fit": "fit", **identity}, every)


@pytest.mark.parametrize(
    ("expression", "settings"),
    [
        ("full", {"dropout": True}),
        ("lora(objective=mined(contrastive,source=model,refreshes=2))", {"selection_floor": 1}),
        ("adalora", {}),
        ("tsdae", {}),
        ("linear", {}),
        ("rerank(frozen)", {"dropout": True, "selection_floor": 1}),
    ],
)
def test_a_resumed_training_ends_as_an_undisturbed_one(
    expression: str, settings: dict[str, Any], attempt: Callable[..., Any], tmp_path: Path
) -> None:
    undisturbed, _, _ = attempt(expression, **settings)
    with pytest.raises(Killed):
        attempt(expression, folder_at(tmp_path), killed=KILLED, **settings)
    folder = folder_at(tmp_path)
    resumed, seen, resources = attempt(expression, folder, **settings)
    assert folder.resumed_after == KILLED - 1 and folder.notes == []
    assert resumed == undisturbed
    assert folder not in [getattr(resources, each.name) for each in fields(resources)], "a strategy could write into it"
    assert seen.steps == STEPS and seen.problem(STEPS) == ""


def written(path: Path, more: Any = (), **identity: str) -> CheckpointFolder:
    """Return a folder with a checkpoint after step 3, which an attempt with this code left."""
    folder = folder_at(path, **identity)
    folder.read("code")
    for step in (2, 3):
        folder.write({"tensor": torch.ones(3), "text": "kept", "more": more}, step)
    return folder


def names(path: Path) -> list[str]:
    return sorted(each.name for each in path.rglob("*") if each.is_file())


def test_the_newest_checkpoint_alone_is_kept_and_read_once(tmp_path: Path) -> None:
    folder = written(tmp_path)
    assert names(tmp_path) == ["checkpoint.json", "state-3.pt"]
    later = folder_at(tmp_path)
    state = later.read("code")
    assert state is not None and state["text"] == "kept" and later.resumed_after == 3 and not later.notes
    assert later.read("code") is None, "a second training in the same fit"
    later.write({}, step=4)
    assert names(tmp_path) == ["checkpoint.json"], "it can no longer be resumed"
    third = folder_at(tmp_path)
    assert third.read("code") is None and "it trains more than once" in third.notes[0]
    folder.remove()
    assert names(tmp_path) == []


def damage(path: Path, name: str) -> None:
    content = bytearray((path / "fit" / name).read_bytes())
    content[len(content) // 2] ^= 1
    (path / "fit" / name).write_bytes(content)


def by_hand(path: Path) -> None:
    """Write a file of the right digest that names no checkpoint."""
    (path / "fit" / "checkpoint.json").write_text(json.dumps(with_digest({"step": 3})))


@pytest.mark.parametrize(
    ("spoil", "later", "code", "reason"),
    [
        (by_hand, {}, "code", "its checkpoint is damaged"),
        (lambda path: damage(path, "state-3.pt"), {}, "code", "its checkpoint is damaged"),
        (lambda path: (path / "fit" / "state-3.pt").unlink(), {}, "code", "its checkpoint is damaged"),
        (lambda path: damage(path, "checkpoint.json"), {}, "code", "digest"),
        (lambda path: None, {"machine": "B", "fit": "other"}, "code", "fit, machine changed since its checkpoint"),
        (lambda path: None, {}, "edited", "code of the strategy changed"),
        (lambda path: folder_at(path).refuse("it keeps a secret"), {}, "code", "it keeps a secret"),
        (lambda path: written(path, {"object": Killed()}, machine="A"), {}, "code", "holds more than plain values"),
    ],
)
def test_a_checkpoint_that_is_damaged_or_foreign_is_dropped_with_a_note(
    spoil: Callable[[Path], None], later: dict[str, str], code: str, reason: str, tmp_path: Path
) -> None:
    written(tmp_path, machine="A")
    spoil(tmp_path)
    folder = folder_at(tmp_path, **{"machine": "A", **later})
    assert folder.read(code) is None and folder.resumed_after is None
    assert [reason in note and "began again" in note for note in folder.notes] == [True], folder.notes
    assert names(tmp_path) == []


def test_a_full_disk_costs_the_checkpoint_and_not_the_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = written(tmp_path)

    def full(state: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed")

    monkeypatch.setattr(torch, "save", full)
    folder.write({}, step=4)
    assert names(tmp_path) == ["checkpoint.json", "state-3.pt"], "the earlier checkpoint stays"
    assert "state-4.pt cannot be written" in caplog.text


def test_a_state_that_cannot_be_written_costs_the_checkpoint_and_not_the_fit(tmp_path: Path) -> None:
    written(tmp_path).write({"strategy": lambda: None}, step=4)
    assert names(tmp_path) == ["checkpoint.json"]
    folder = folder_at(tmp_path)
    assert folder.read("code") is None and "is no plain values" in folder.notes[0]


def test_a_file_where_the_folder_of_checkpoints_shall_be_costs_no_fit(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "fit").touch()
    folder = folder_at(tmp_path)
    folder.write({}, step=1)
    assert "cannot be written" in caplog.text


def training(
    folder: CheckpointFolder, meter: Meter | None = None, **strategy: Any
) -> tuple[TrainingCheckpoints, FitReport]:
    """Return the checkpoints of a training of 100 steps that has begun, and its report."""
    resources = SimpleNamespace(meter=meter or Meter(), memory=None, ranks=OneProcess())
    own: Any = SimpleNamespace(resources=resources, components=(), name="secretive", **strategy)
    with kept_in(folder):
        checkpoints = TrainingCheckpoints(own, SimpleNamespace(mini_batch=0))  # type: ignore[arg-type]
    report = FitReport(planned_steps=100)
    stateless: Any = SimpleNamespace(report=report, state_dict=dict, load_state_dict=lambda state: None)
    checkpoints.use_monitor(stateless)
    checkpoints.begin(torch.nn.Linear(1, 1), stateless, stateless)
    return checkpoints, report


def test_what_cannot_be_resumed_exactly_begins_again_and_says_so(tmp_path: Path) -> None:
    checkpoints, report = training(folder_at(tmp_path), training_state=lambda: None)
    report.steps = 5
    checkpoints.after_step()
    folder = folder_at(tmp_path)
    assert folder.read("code") is None and "secretive does not say what it keeps between steps" in folder.notes[0]


@pytest.mark.parametrize(
    ("every", "at", "expected"),
    [
        (10.0, {9: 0.5, 10: 0.9, 20: 1.1, 21: 1.2, 99: 2.0, 100: 9.0}, [20]),  # a tenth of the steps, after a second
        (10.0, {5: 9.0, 6: 10.5, 10: 11.0, 20: 12.0, 33: 22.1}, [6, 20, 33]),  # ten seconds
        (10.0, {100: 50.0}, []),  # none after the last step
    ],
)
def test_checkpoints_are_due_at_tenths_of_the_steps_and_after_some_time(
    every: float, at: dict[int, float], expected: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, now, made = folder_at(tmp_path, every), [0.0], list[int]()
    monkeypatch.setattr("bench.training.resume.time.monotonic", lambda: now[0])
    checkpoints, report = training(folder, training_state=lambda: None)
    monkeypatch.setattr(folder, "refuse", lambda reason: made.append(report.steps))
    for report.steps, now[0] in at.items():
        checkpoints.after_step()
    assert made == expected


def test_what_an_interrupted_attempt_trained_counts_and_nothing_may_change_in_between() -> None:
    def attempt(state: Any, steps: int, spoil: float = 0.0) -> tuple[FitObserver, Any]:
        layer = torch.nn.Linear(2, 1)
        optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
        with observed() as seen, seen.phase("steps"):
            if state is not None:
                layer.load_state_dict(state["layer"])
                layer.weight.data += spoil
                seen.load_state_dict(state["seen"], optimizer)
            for _ in range(steps):
                layer(torch.ones(1, 2)).sum().backward()
                optimizer.step()
            kept = {"seen": seen.state_dict(optimizer), "layer": layer.state_dict()}
        return seen, kept

    _, kept = attempt(None, 3)
    assert attempt(kept, 2)[0].problem(5) == ""
    assert "took 6 steps, 5 are accounted for" in attempt(kept, 3)[0].problem(5)
    assert "changed 1 times without an optimiser step" in attempt(kept, 2, spoil=0.5)[0].problem(5)


@pytest.mark.parametrize("processes", [1, 2])
def test_a_meter_continues_from_the_seconds_that_were_charged(processes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("bench.budget.time.perf_counter", lambda: now[0])
    meter = Meter(processes)
    meter.start()
    meter.charge(50.0)
    meter.resume(8.0, before_steps=50.0 * processes - 3.0)
    now[0] = 1.5
    assert meter.seconds == 8.0 + 3.0 + 1.5 * processes


def test_what_comes_before_the_first_step_is_charged_once_and_its_longest_attempt_counts(tmp_path: Path) -> None:
    charged = []
    for before in (5.0, 9.0, 7.0, 5.0):
        meter = Meter()
        meter.charge(before)
        checkpoints, report = training(
            folder_at(tmp_path), meter, training_state=dict, resume_training=lambda state: None
        )
        meter.charge(10.0)
        report.steps += 1
        checkpoints.after_step()
        charged.append(meter.seconds)
    assert charged == [15.0, 29.0, 39.0, 49.0]


def test_what_a_strategy_does_to_name_its_state_is_charged(tmp_path: Path) -> None:
    meter, excluded = Meter(), list[bool]()

    def training_state() -> dict[str, Any]:
        excluded.append(meter.is_excluding)
        return {}

    checkpoints, report = training(folder_at(tmp_path), meter, training_state=training_state)
    report.steps = 5
    checkpoints.after_step()
    assert excluded == [False]


def test_checkpoints_of_complete_fits_are_cleared(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for fit in ("complete", "again", "unfinished"):
        written(tmp_path / CHECKPOINTS / fit)
    for fit in ("complete", "again"):
        (store.fit_folder(fit)).mkdir(parents=True)
        (store.fit_folder(fit) / FIT_MARK).touch()
    clear_checkpoints(store, {"again"})
    assert sorted(each.name for each in (tmp_path / CHECKPOINTS).iterdir()) == ["again", "unfinished"]


def stored(values: Any, path: Path) -> Any:
    """Return values as a checkpoint gives them back."""
    torch.save(values, path / "values.pt")
    return torch.load(path / "values.pt", weights_only=True)


def test_what_is_computed_once_for_a_training_is_part_of_a_checkpoint(tmp_path: Path) -> None:
    """Computed again, in another batch, it would differ in the last bits."""
    representation: Any = SimpleNamespace(temperature=None)
    model: Any = torch.nn.Linear(1, 1)
    losses = [ScoreLoss(representation, model, representation, TrainingSettings(), nullcontext) for _ in range(2)]
    losses[0]._known, losses[0]._guided = {b"a": torch.ones(2)}, {b"b": (torch.zeros(1), torch.ones(1))}
    losses[1].set_extra_state(stored(losses[0].get_extra_state(), tmp_path))
    assert str(losses[1].get_extra_state()) == str(losses[0].get_extra_state())


def test_what_rerank_has_chosen_is_part_of_a_checkpoint(tiny_resources: MakeResources, tiny_bert: BaseModel) -> None:
    first, second = (Blueprint.of("rerank(frozen)").build(tiny_resources(tiny_bert), ()) for _ in range(2))
    first.weight, first._looks = 0.25, {0.5: (0.25, {"scores": {"0.25": 0.5}})}
    second.resume_training(first.training_state())
    assert (second.weight, second._looks) == (first.weight, first._looks)


def test_the_reader_that_joint_has_trained_is_part_of_a_checkpoint(tmp_path: Path) -> None:
    def objective(name: str) -> Joint:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        (folder / "model.safetensors").write_bytes(name.encode())
        joint = Joint(None, SimpleNamespace(scratch=tmp_path))  # type: ignore[arg-type]
        joint._reader, joint._round, joint.reader_seconds = LocalReader(folder, "reader"), len(name), float(len(name))
        return joint

    second, first = objective("second round"), objective("first")
    first.resume_training(stored(second.training_state(), tmp_path))
    assert (first._round, first.reader_seconds) == (second._round, second.reader_seconds)
    first.save(tmp_path / "saved")
    assert (tmp_path / "saved" / READER_FOLDER / "model.safetensors").read_bytes() == b"second round"


STOPS = interrupted_strategy(
    "stops",
    """
    if step == 4 and os.path.exists(os.environ["STOPPING"]):
        raise RuntimeError("stopped")
    """,
)
"""It raises after four steps while a file is there."""


def test_a_checkpoint_of_other_hyperparameters_is_dropped(
    toy_config: Callable[..., RunConfig],
    tiny_folder: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A study that is made again may choose others for a fit of the same name."""
    file, stopping = tmp_path / "stops.py", tmp_path / "stopping"
    file.write_text(STOPS, encoding="utf-8")
    stopping.touch()
    monkeypatch.setenv("STOPPING", str(stopping))
    config = toy_config(
        strategies="stops", baseline="stops", model=str(tiny_folder("bert")), budget={"steps": 6}, threads=1,
        strategy_files=[str(file)], checkpoint_every=0.001, set={"train.batch_size": "4"},
    )  # fmt: skip
    run = Run.prepare(config)
    (spec,), store = run.plan.fits, Store(Path(config.out))
    assert run_fit(spec, store, Scorer.of(spec, store), run.execution).reason == "RuntimeError: stopped"
    stopping.unlink()
    chosen = replace(spec, config={**spec.config, "lr": 0.003})
    monkeypatch.setattr("bench.running.fit.with_chosen_options", lambda spec, store: (chosen, None))
    record = run_fit(spec, store, Scorer.of(spec, store), run.execution)
    assert record.status == "ok" and "resumed_after_step" not in record.environment
    assert any("hyperparameters changed since its checkpoint" in note for note in record.report["notes"])
