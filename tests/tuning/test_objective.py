"""A trial sees training and development queries alone, and is scored on those that it was not fitted on."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any

import pytest

from bench.config.schema import RunConfig
from bench.data.dataset import TrainingData
from bench.errors import BenchError
from bench.planning.plan import plan
from bench.planning.study_spec import StudySpec
from bench.running.tuning import objective as module
from bench.running.tuning.objective import LoadedOnce, folds_of
from bench.running.tuning.study import folder_of, load_completed
from bench.store.studies import TRIALS_FILE
from tests.toy_studies import objective_of, trials_of


def logged(tmp_path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]


def test_folds_split_the_training_queries_and_keep_the_development_queries(tiny_training: TrainingData) -> None:
    folds = folds_of(tiny_training)
    held = [set(fold.dev_qrels) for fold in folds]
    assert len(folds) == 3
    assert set.union(*held) == set(tiny_training.train_queries)
    assert sum(map(len, held)) == len(tiny_training.train_queries)
    for fold in folds:
        assert set(fold.train_queries) == set(tiny_training.train_queries) - set(fold.dev_qrels)
        assert fold.dev_queries.keys() == fold.dev_qrels.keys()
        assert set(fold.dev_qrels).isdisjoint(tiny_training.dev_qrels)
    assert [sorted(each) for each in held] == [sorted(fold.dev_qrels) for fold in folds_of(tiny_training)]


def test_a_trial_is_the_mean_over_folds_and_never_sees_a_test_query(
    study: StudySpec, environment: Any, tmp_path: Path, tiny_dataset: Any
) -> None:
    found = objective_of(study, environment)(0, {"quality": 0.5})
    assert found.status == "ok" and len(found.folds) == 3
    assert found.value == pytest.approx(sum(found.folds) / 3)
    assert len(found.scores) == len(tiny_dataset.qrels("train"))
    assert found.seconds >= found.fit_seconds > 0
    for seen in logged(tmp_path):
        assert set(seen["train"]).isdisjoint(seen["dev"])
        assert set(seen["train"] + seen["dev"]) == set(tiny_dataset.qrels("train"))
        assert seen["seed"] == [0, 0]


def test_with_many_training_queries_the_development_split_scores_a_trial(
    study: StudySpec, environment: Any, tmp_path: Path, tiny_dataset: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FOLDED_BELOW", 10)
    found = objective_of(study, environment)(0, {"quality": 0.5})
    assert len(found.folds) == 1 and len(found.scores) == len(tiny_dataset.qrels("dev"))
    assert [set(seen["dev"]) for seen in logged(tmp_path)] == [set(tiny_dataset.qrels("dev"))]


def test_divergence_prunes_a_trial_at_its_first_fold(study: StudySpec, environment: Any, tmp_path: Path) -> None:
    found = objective_of(study, environment)(3, {"quality": 0.95})
    assert (found.status, found.value, found.folds) == ("diverged", None, [])
    assert "the loss was nan" in found.reason
    assert len(logged(tmp_path)) == 1


def test_a_trial_that_fails_is_recorded_and_a_default_that_fails_ends_the_study(
    configure: Callable[..., RunConfig], study_in: Callable[..., StudySpec], environment: Any
) -> None:
    objective = objective_of(study_in(plan(configure())), environment)
    found = objective(2, {"quality": 0.5, "kind": "never"})
    assert (found.status, found.value) == ("failed", None)
    assert found.reason == "RuntimeError: this kind never works"
    with pytest.raises(RuntimeError, match="this kind never works"):
        objective(0, {"quality": 0.5, "kind": "never"})


def test_a_study_is_run_resumed_and_extended(study: StudySpec, environment: Any, tmp_path: Path) -> None:
    study = replace(study, trials=4)
    whole = trials_of(study, environment)
    assert [trial.number for trial in whole.trials] == [0, 1, 2, 3]
    assert whole.trials[0].params == {"quality": 0.1}
    assert whole.best is not None and whole.best.value == max(trial.value or 0 for trial in whole.trials)
    assert load_completed(study, environment.store) == whole

    path = folder_of(environment.store, study.name) / TRIALS_FILE
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:2]) + lines[2][:40])  # the process was killed while it wrote
    assert load_completed(study, environment.store) is None
    fitted = len(logged(tmp_path))
    again = trials_of(replace(study, trials=5), environment)
    assert len(logged(tmp_path)) - fitted <= 3 * 3, "the first two trials are not made again"
    assert [trial.params for trial in again.trials[:4]] == [trial.params for trial in whole.trials]
    assert [trial.value for trial in again.trials[:4]] == [trial.value for trial in whole.trials]
    assert load_completed(study, environment.store) == again.first(4)


def test_too_few_labels_keep_the_defaults(study: StudySpec, environment: Any) -> None:
    study = replace(study, training=replace(study.training, selection_floor=100))
    found = trials_of(study, environment)
    assert found.trials == () and found.best is None
    assert found.note == "40 labels, fewer than 100: shipped defaults"
    assert trials_of(study, environment) == found


def test_a_composite_and_its_components_are_tried_together(
    configure: Callable[..., RunConfig], study_in: Callable[..., StudySpec], environment: Any
) -> None:
    config = configure(strategies="both(dial, plain)", set=["train.selection_floor=20", "dial.kind=plain"])
    spec = study_in(plan(config), "both(dial, plain)")
    low, high = (objective_of(spec, environment)(0, {"share": 0.5, "dial.quality": quality}) for quality in (0.1, 0.85))
    assert low.value is not None and high.value is not None and high.value > low.value


def test_a_model_is_read_once_and_each_fit_has_a_copy(tiny_bert: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    reads = []
    load = type(tiny_bert).load
    monkeypatch.setattr(type(tiny_bert), "load", lambda self, device="cpu": reads.append(1) or load(self, device))
    once = LoadedOnce.of(tiny_bert)
    first, second = once.load(), once.load()
    assert len(reads) == 1 and once.fingerprint == tiny_bert.fingerprint
    with torch.no_grad():
        next(first.parameters()).zero_()
    for untouched in (second, once.load()):
        assert float(next(untouched.parameters()).detach().abs().sum()) > 0


def test_a_dataset_of_sentence_pairs_is_refused(study: StudySpec, environment: Any, tmp_path: Path) -> None:
    folder = tmp_path / "pairs"
    folder.mkdir()
    (folder / "test.jsonl").write_text('{"s1": "a b", "s2": "a c", "score": 3.0}\n{"s1": "x", "s2": "y", "score": 1}\n')
    with pytest.raises(BenchError):
        trials_of(replace(study, dataset=str(folder), name="other"), environment)


def test_no_fit_of_a_study_inherits_the_settings_of_another(
    study: StudySpec, environment: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settings are read-only, and every fit has a meter of its own."""
    kind, settings, meters = environment.registry.get("dial"), [], []
    plain = kind.fit

    def fit(self: Any, *args: Any) -> Any:
        settings.append(self.resources.training)
        meters.append(self.resources.meter)
        with pytest.raises(FrozenInstanceError):
            self.resources.training = replace(self.resources.training, mini_batch=2)
        return plain(self, *args)

    monkeypatch.setattr(kind, "fit", fit)
    objective = objective_of(study, environment)
    for number in range(2):
        assert objective(number, {"quality": 0.5}).status == "ok"
    assert settings == [replace(study.training, selection_floor=1)] * 6
    assert len({id(meter) for meter in meters}) == 6
