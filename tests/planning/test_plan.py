"""What a configuration becomes: fits made once, parts first, identities that hold what they should and nothing else."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from bench.config.execution import ExecutionSettings
from bench.config.schema import RunConfig
from bench.errors import BenchError
from bench.planning import plan as planning
from bench.planning.jobs import jobs_of
from bench.planning.plan import Plan, plan
from bench.planning.specs import CellSpec, FitSpec
from bench.running.environment import JobEnvironment
from bench.store import provenance
from bench.store.store import Store

Configure = Callable[..., RunConfig]


def names(found: Plan) -> set[str]:
    return {fit.name for fit in found.fits}


def cells(found: Plan, role: str = "target") -> list[CellSpec]:
    return [cell for cell in found.cells if cell.role == role]


def test_every_combination_is_one_fit_and_one_cell(toy_config: Configure) -> None:
    found = plan(toy_config(strategies="toy,head", seeds="0,1,2", budget={"steps": [5, 10], "examples": [8, 16]}))
    assert len(found.fits) == len(cells(found)) == len(cells(found, "development")) == 2 * 3 * 4
    assert len(names(found)) == 24
    assert {(fit.budget.steps, fit.budget.examples) for fit in found.fits} == {(5, 8), (5, 16), (10, 8), (10, 16)}


def test_an_untrained_strategy_is_one_fit_for_all_budgets_and_seeds(toy_config: Configure) -> None:
    found = plan(toy_config(strategies="words,toy", seeds="0,1", budget={"steps": [5, 10]}))
    untrained = [fit for fit in found.fits if fit.strategy == "words"]
    assert len(untrained) == 1 and untrained[0].seed is None and not untrained[0].budget.limits
    assert len([cell for cell in cells(found) if cell.strategy == "words"]) == 1
    other = plan(
        toy_config(strategies="words", baseline="words", seeds="7", budget={"flops": 1e9}, set="train.batch_size=4")
    )
    assert other.fits[0].name == untrained[0].name


@pytest.mark.parametrize(
    "change",
    [
        {"seeds": "1"},
        {"budget": {"steps": 6}},
        {"budget": {"steps": 5, "examples": 9}},
        {"set": "toy.bonus=1"},
        {"set": "train.batch_size=4"},
        {"precision": "fp32"},
        {"max_length": 32},
    ],
)
def test_a_setting_that_can_change_a_result_changes_the_name(toy_config: Configure, change: dict[str, Any]) -> None:
    assert names(plan(toy_config())).isdisjoint(names(plan(toy_config(**change))))


@pytest.mark.parametrize(
    "change",
    [
        {"threads": 1},
        {"jobs": 2},
        {"out": "elsewhere"},
        {"overwrite": "always"},
        {"measures": "mrr@10"},
        {"top_k": 200},
        {"set": "toy.bonus=0.0"},
        {"strategies": "toy(bonus=0)", "baseline": "toy(bonus=0)"},
    ],
)
def test_a_setting_that_cannot_change_a_result_keeps_the_name(toy_config: Configure, change: dict[str, Any]) -> None:
    changed = plan(toy_config(**change))
    assert {fit.name.rpartition("--")[2] for fit in plan(toy_config()).fits} == {
        fit.name.rpartition("--")[2] for fit in changed.fits
    }


def test_measures_and_depth_belong_to_the_cell(toy_config: Configure) -> None:
    before, after = plan(toy_config()), plan(toy_config(measures="mrr@10", top_k=200))
    assert names(before) == names(after)
    assert before.cells[0].name != after.cells[0].name


def test_content_decides_not_place(toy_config: Configure, tmp_path: Path, beir_folder: Path, fake_model: Path) -> None:
    before = names(plan(toy_config()))
    moved = tmp_path / "moved" / beir_folder.name
    moved.parent.mkdir()
    beir_folder.rename(moved)
    assert names(plan(toy_config(datasets=str(moved)))) == before
    with (moved / "corpus.jsonl").open("a") as stream:
        stream.write(json.dumps({"_id": "new", "title": "", "text": "one more"}) + "\n")
    assert names(plan(toy_config(datasets=str(moved)))).isdisjoint(before)
    moved.rename(beir_folder)
    (fake_model / "config.json").write_text("{}")
    assert names(plan(toy_config())).isdisjoint(before)


def test_the_content_of_a_strategy_file_is_part_of_the_identity(toy_config: Configure, toy_file: Path) -> None:
    before = names(plan(toy_config()))
    toy_file.write_text(toy_file.read_text() + "\n# changed\n")
    assert names(plan(toy_config())).isdisjoint(before)


def test_a_raised_version_is_another_fit(toy_config: Configure, toy_file: Path) -> None:
    toy_file.write_text(toy_file.read_text().replace('name = "words"', 'name = "words"\n    version = 2'))
    assert plan(toy_config()).fits[0].version == 2


def test_the_machine_counts_under_a_budget_of_time_alone(
    toy_config: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hashes(**changes: Any) -> list[str]:
        return sorted(names(plan(toy_config(**changes))))

    steps, seconds = hashes(), hashes(budget={"seconds": 5})
    monkeypatch.setattr(
        planning, "machine_class", lambda threads, device, processes: f"another machine, {threads} threads"
    )
    assert hashes() == steps
    assert hashes(budget={"seconds": 5}) != seconds


@pytest.fixture
def beside(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Return a function that puts accelerators into this machine."""
    machine_class = planning.machine_class

    def put(name: str) -> None:
        monkeypatch.setattr(provenance, "accelerator", lambda: name)
        machine_class.cache_clear()

    yield put
    machine_class.cache_clear()


def test_the_device_counts_under_a_budget_of_time_where_it_is_not_the_fastest(
    toy_config: Configure, beside: Callable[[str], None], tmp_path: Path
) -> None:
    def fits(device: str, **changes: Any) -> set[str]:
        return names(plan(toy_config(device=device, **{"budget": {"seconds": 5}, **changes})))

    def calibrations(device: str) -> Path:
        return JobEnvironment(Store(tmp_path), ExecutionSettings(device=device)).calibrations

    beside("1 x Some GPU")
    assert fits("auto") == fits("cuda") == fits("cuda:0") != fits("cpu")
    assert fits("cuda:1") not in (fits("cuda"), fits("cpu"))
    assert fits("cpu", budget={"steps": 5}) == fits("cuda", budget={"steps": 5})
    assert calibrations("auto") == calibrations("cuda") != calibrations("cpu")
    beside("")
    assert fits("auto") == fits("cpu")
    assert planning.machine_class(2, "cpu") == planning.machine_class(2), "as records made so far name it"


def test_components_come_first_and_are_shared(toy_config: Configure) -> None:
    found = plan(toy_config(strategies="both(toy),both(both(toy), weight=0.3),toy"))
    order = [fit.strategy for fit in found.fits if "frozen" not in fit.strategy]
    assert order == ["toy", "both(toy)", "both(both(toy), weight=0.3)"]
    by_name = {fit.name: fit for fit in found.fits}
    inner = by_name[next(fit for fit in found.fits if fit.strategy == order[2]).components[0]]
    assert inner.strategy == "both(toy)" and by_name[inner.components[0]].strategy == "toy"
    measured = [cell.strategy for cell in cells(found) if "frozen" not in cell.strategy]
    assert measured == ["both(toy)", "both(both(toy), weight=0.3)", "toy"]


def test_a_component_has_no_cell_of_its_own(toy_config: Configure) -> None:
    found = plan(toy_config(strategies="both(toy)", baseline="both(toy)"))
    assert [cell.strategy for cell in found.cells] == ["both(toy)"]


def test_every_strategy_has_a_development_cell_for_the_queries_of_its_fits(toy_config: Configure) -> None:
    found = plan(toy_config(strategies="words,toy", seeds="0,1", budget={"steps": [5, 9], "examples": [8, 16]}))
    samples = [(cell.strategy, cell.seed, cell.samples) for cell in cells(found, "development")]
    assert len(samples) == 1 + 8
    every = {(seed, examples) for seed in (0, 1) for examples in (8, 16)}
    assert [set(one) for strategy, _, one in samples if strategy == "words"] == [every]
    assert {one for strategy, _, one in samples if strategy == "toy"} == {(each,) for each in every}
    order = [(cell.fit, cell.role) for cell in found.cells]
    assert all(order.index((fit, "development")) < order.index((fit, "target")) for fit, _ in order)


def test_a_new_seed_asks_the_untrained_strategies_its_development_queries_and_nothing_else(
    toy_config: Configure,
) -> None:
    before, after = (plan(toy_config(strategies="words,toy", seeds=seeds)) for seeds in ("0", "0,1"))
    new = {cell.name: cell for cell in after.cells if cell.name not in {old.name for old in before.cells}}
    assert [(cell.strategy, cell.role) for cell in new.values() if cell.seed != 1] == [("words", "development")]


def test_the_floor_of_selection_belongs_to_a_development_cell(toy_config: Configure) -> None:
    plain = plan(toy_config(strategies="words,toy"))
    changed = plan(toy_config(strategies="words,toy", set="train.selection_floor=5"))
    one, other = (
        next(cell for cell in cells(found, "development") if cell.strategy == "words") for found in (plain, changed)
    )
    assert one.name != other.name and (one.selection_floor, other.selection_floor) == (100, 5)


def test_a_baseline_alone_leaves_nothing_to_choose(toy_config: Configure) -> None:
    assert cells(plan(toy_config(strategies="toy", baseline="toy")), "development") == []


@pytest.mark.parametrize(
    ("composite", "around"),
    [
        ("both(toy)", "both(frozen)"),
        ("both(toy, weight=0.3)", "both(frozen, weight=0.3)"),
        ("both(both(toy))", "both(both(frozen))"),
        ("both(words)", None),
        ("both(frozen)", None),
        ("toy", None),
        ("hybrid(distill(lora, teacher=rerank(frozen)))", "hybrid(frozen)"),
        ("rerank(hybrid(lora(r=4)))", "rerank(hybrid(frozen))"),
        ("hybrid(run:some.trec)", None),
    ],
)
def test_a_composite_is_planned_with_the_same_one_around_the_frozen_model(
    composite: str, around: str | None, toy_config: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("some.trec").write_text("q1 Q0 d1 1 1.0 x\n")
    found = plan(toy_config(strategies=composite, baseline="words"))
    others = [cell.strategy for cell in cells(found) if cell.strategy not in (composite, "words")]
    assert others == ([around] if around else [])
    assert any(around in note for note in found.notes) if around else not any("is added: it" in n for n in found.notes)


def test_the_frozen_model_in_a_composite_is_the_one_that_the_component_names(
    toy_config: Configure, fake_model: Path
) -> None:
    found = plan(toy_config(strategies=f"both(toy({fake_model}))", baseline="words"))
    assert f"both(frozen({fake_model}))" in {cell.strategy for cell in cells(found)}


def test_a_composite_of_trained_components_has_their_seeds(toy_config: Configure) -> None:
    trained = plan(toy_config(strategies="both(toy)", baseline="both(toy)", seeds="0,1"))
    assert sorted(fit.seed for fit in trained.fits if fit.strategy == "both(toy)") == [0, 1]
    untrained = plan(toy_config(strategies="both(words)", baseline="both(words)", seeds="0,1"))
    assert [fit.seed for fit in untrained.fits] == [None, None]


def test_an_option_that_names_a_strategy_is_a_component(toy_config: Configure) -> None:
    found = plan(toy_config(strategies="both(words, teacher=both(toy))", baseline="words"))
    composite = next(fit for fit in found.fits if fit.strategy.startswith("both(words"))
    by_name = {fit.name: fit.strategy for fit in found.fits}
    assert [by_name[part] for part in composite.components] == ["words", "both(toy)"]
    assert composite.config == {"teacher": "both(toy)"}
    plain = plan(toy_config(strategies="both(words, teacher=some/model)", baseline="words"))
    assert len(next(fit for fit in plain.fits if fit.strategy.startswith("both")).components) == 1


def test_another_base_model_is_a_row_of_the_table_of_the_runs_model(toy_config: Configure, tmp_path: Path) -> None:
    other = tmp_path / "other-model"
    other.mkdir()
    save_file({"weight": np.ones(3, dtype=np.float32)}, other / "model.safetensors")
    found = plan(toy_config(strategies=f"words,words({other})", baseline="words"))
    assert {fit.model_name for fit in found.fits} == {"fake-model"}
    assert len({fit.fingerprints["model"] for fit in found.fits if fit.fingerprints}) == 2


def test_models_are_an_axis(toy_config: Configure, fake_model: Path, tmp_path: Path) -> None:
    other = tmp_path / "other-model"
    other.mkdir()
    save_file({"weight": np.ones(3, dtype=np.float32)}, other / "model.safetensors")
    found = plan(toy_config(model=[str(fake_model), str(other)]))
    assert {fit.model_name for fit in found.fits} == {"fake-model", "other-model"}


def test_probes_are_cells_of_the_same_fit(toy_config: Configure, probe_folder: Path, beir_folder: Path) -> None:
    found = plan(toy_config(probes=[str(probe_folder), str(beir_folder)]))
    assert len(found.fits) == 1
    assert [(cell.role, cell.dataset_name, cell.fit) for cell in found.cells] == [
        ("target", "tiny", found.fits[0].name),
        ("probe", "elsewhere", found.fits[0].name),
    ]


def test_the_baseline_is_always_among_the_strategies(toy_config: Configure) -> None:
    found = plan(toy_config(strategies="toy", baseline="words"))
    assert {fit.strategy for fit in found.fits} == {"toy", "words"}
    assert "words is added" in found.notes[0]


def test_timed_fits_are_shuffled_within_a_seed(toy_config: Configure) -> None:
    strategies = ",".join(f"toy(bonus={number})" for number in range(1, 9))
    found = plan(toy_config(strategies=strategies, baseline="toy(bonus=1)", seeds="0,1", budget={"seconds": 5}))
    orders = [[fit.strategy for fit in found.fits if fit.seed == seed] for seed in (0, 1)]
    assert orders[0] != orders[1] and sorted(orders[0]) == sorted(orders[1])
    assert all(job.alone for job in jobs_of(found, [fit.name for fit in found.fits]))


def test_specs_survive_pickle_and_json(toy_config: Configure, probe_folder: Path) -> None:
    found = plan(toy_config(strategies="both(toy)", baseline="both(toy)", probes=str(probe_folder)))
    for fit in found.fits:
        assert FitSpec.from_dict(json.loads(json.dumps(fit.to_dict()))) == fit == pickle.loads(pickle.dumps(fit))
    for cell in found.cells:
        assert CellSpec.from_dict(json.loads(json.dumps(cell.to_dict()))) == cell == pickle.loads(pickle.dumps(cell))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"strategies": "toi"}, "did you mean 'toy'"),
        ({"strategies": "toy(bonsu=1)"}, "did you mean 'bonus'"),
        ({"strategies": "toy(bonus=much)"}, "option bonus must be a number, got 'much'"),
        ({"strategies": "both"}, r"takes 1 component: write both\(STRATEGY\)"),
        ({"strategies": "toy(words, head)"}, "takes no components: write toy"),
        ({"set": "lora.r=8"}, "unknown strategy of this run in 'set lora.r'"),
        ({"datasets": "nowhere/at-all"}, "no such folder"),
        ({"split": "tset"}, "did you mean 'test'"),
        ({"model": "./nowhere"}, "does not exist"),
    ],
)
def test_mistakes_are_named_before_anything_runs(toy_config: Configure, change: dict[str, Any], text: str) -> None:
    with pytest.raises(BenchError, match=text):
        plan(toy_config(**change))


def test_sentence_pairs_are_a_probe_and_no_target(toy_config: Configure, tmp_path: Path) -> None:
    pairs = tmp_path / "pairs"
    pairs.mkdir()
    rows = [{"s1": f"a {n}", "s2": f"b {n}", "score": n} for n in range(4)]
    (pairs / "test.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = plan(toy_config(probes=str(pairs)))
    assert found.cells[1].measures == () and found.datasets[str(pairs)].similarity
    with pytest.raises(BenchError, match="--probes"):
        plan(toy_config(datasets=str(pairs)))
    assert plan(toy_config(datasets=str(pairs)).replace(strategies=("words",), baseline="words")).fits
