"""The configuration of a run from YAML, the command line and Python, and its error messages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.budget import Budget
from bench.config.execution import ExecutionSettings
from bench.config.schema import ConfigError, RunConfig, from_mapping, load, merged
from bench.errors import BenchError
from bench.store.provenance import cores


def test_the_defaults_are_a_small_run_of_what_is_embedded() -> None:
    config = RunConfig()
    assert config.strategies == ("bm25", "frozen", "prior", "hybrid(frozen)", "full", "lora")
    assert config.datasets == ("pydocs",) and config.model == ("",) and config.seeds == (0,)
    assert config.budgets() == [Budget(steps=60)] and config.top_k == 100 and config.out == "results/default"


def test_lists_of_limits_sweep_and_multiply() -> None:
    config = from_mapping({"budget_steps": "100,200", "budget_examples": "50,200,800"})
    assert len(config.budgets()) == 6
    assert Budget(examples=200, steps=100) in config.budgets()


@pytest.mark.parametrize(("variable", "threads"), [("3", 3), ("2,1", 2), ("", None), ("0", None), ("many", None)])
def test_a_job_takes_the_threads_that_the_environment_allows(
    variable: str, threads: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", variable)
    own = max(1, cores() // 2)
    assert ExecutionSettings.of(from_mapping({"jobs": 2})).threads == (threads or own)
    assert ExecutionSettings.of(from_mapping({"jobs": 2, "threads": 5})).threads == 5


def test_a_budget_given_replaces_the_default_one() -> None:
    assert from_mapping({"budget_seconds": 60}).budgets() == [Budget(seconds=60.0)]


@pytest.mark.parametrize(
    ("text", "limits"),
    [
        ("budget: {steps: 150, trainable_params: 0.5%}", {"steps": 150, "trainable_params": 0.005}),
        ("budget: {steps: 150, trainable_params: 100%}", {"steps": 150, "trainable_params": 1.0}),
        ("budget: {flops: 1e15, memory: 8GiB}", {"flops": 1e15, "memory": 8 * 2**30}),
        ("budget-steps: 2k", {"steps": 2000}),
        ("budget: {usd: 0.5}\nusd_per_hour: 3", {"usd": 0.5}),
    ],
)
def test_limits_as_people_write_them(tmp_path: Path, text: str, limits: dict[str, Any]) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(text)
    assert from_mapping(merged(load(path), {})).budgets()[0].limits == pytest.approx(limits)


def test_a_file_can_set_everything_that_the_command_line_sets(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(
        "strategies: [frozen, 'hybrid(lora, method=rrf)']\n"
        "datasets: my-folder\n"
        "seeds: [0, 1, 2]\n"
        "set:\n  lora: {r: 32}\n  train.batch_size: 64\n"
        "strategy-file: my.py\n"
    )
    config = from_mapping(load(path))
    assert config == from_mapping(
        {
            "strategies": "frozen,hybrid(lora,method=rrf)",
            "datasets": "my-folder",
            "seeds": "0,1,2",
            "set": ["lora.r=32", "train.batch_size=64"],
            "strategy_files": ["my.py"],
        }
    )
    assert config.training().batch_size == 64 and config.overrides("lora") == {"r": "32"}


def test_the_command_line_is_laid_over_the_file_limit_by_limit() -> None:
    file = {"budget": {"steps": 150}, "set": {"lora.r": 8, "lora.lr": 0.001}, "seeds": [0, 1]}
    config = from_mapping(merged(file, {"budget_examples": "50", "set": ["lora.r=16"], "seeds": "7"}))
    assert config.budgets() == [Budget(steps=150, examples=50)]
    assert config.set == {"lora.r": "16", "lora.lr": "0.001"} and config.seeds == (7,)


def test_a_run_json_can_be_given_back(tmp_path: Path) -> None:
    budget = {"steps": [1, 2], "trainable_params": ["0.5%", "100%"]}
    config = from_mapping({"strategies": "frozen,lora(r=4)", "budget": budget, "set": "train.dropout=true"})
    path = tmp_path / "run.json"
    path.write_text(json.dumps({"invocations": [{"config": {"seeds": [9]}}, {"config": config.to_dict()}]}))
    assert from_mapping(load(path)) == config


def test_precision_and_length_reach_the_training_settings() -> None:
    training = from_mapping({"precision": "fp32", "max_length": 128, "set": "train.dropout=yes"}).training()
    assert (training.precision, training.max_length, training.dropout) == ("fp32", 128, True)


def test_measures_get_their_canonical_names_and_the_primary_one_is_among_them() -> None:
    assert from_mapping({"primary": "recall@50"}).measures == (*RunConfig().measures, "recall@50")
    assert from_mapping({"measures": "RR@10,Recall@5"}).measures == ("mrr@10", "recall@5", "ndcg@10")
    config = from_mapping({"measures": "Recall@5", "primary": "RR@10"})
    assert config.measures == ("recall@5", "mrr@10") and config.primary == "mrr@10"
    with pytest.raises(BenchError, match="unknown measure 'ndgc@10', did you mean"):
        from_mapping({"primary": "ndgc@10"})
    with pytest.raises(BenchError, match="unknown measure"):
        from_mapping({"measures": "ndgc@10"})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"strategis": "lora"}, "did you mean 'strategies'"),
        ({"budget": {"step": 5}}, "did you mean 'steps'"),
        ({"budget_stps": 5}, "did you mean 'budget_steps'"),
        ({"budget_steps": "many"}, "'many' is not an amount"),
        ({"budget_steps": 0}, "must be above 0"),
        ({"budget_trainable_params": "150%", "budget_steps": 5}, "150% is more than 100%"),
        ({"budget_examples": 50}, "does not stop it"),
        ({"budget_usd": 1}, "--usd-per-hour"),
        ({"budget": 5}, "expected limits such as"),
        ({"seeds": "1.5"}, "not a whole number"),
        ({"seeds": []}, "at least one"),
        ({"top_k": 10}, "at least 100"),
        ({"overwrite": "allways"}, "did you mean 'always'"),
        ({"precision": "bf-16"}, "did you mean 'bf16'"),
        ({"timeout": 0}, "above 0"),
        ({"dry_run": "maybe"}, "neither true nor false"),
        ({"set": "lora.r"}, "expected strategy.option=value"),
        ({"set": "r=16"}, "expected strategy.option=value"),
        ({"set": "train.batch_sise=2"}, "did you mean 'batch_size'"),
        ({"set": "train.batch_size=two"}, "option train.batch_size must be a whole number, got 'two'"),
        ({"set": "train.precision=bf16"}, "use --precision"),
        ({"strategies": "hybrid("}, "expected a name"),
        ({"model": None}, "a value is missing"),
        ({"budget_steps": "1e400"}, "larger than the largest number"),
        ({"budget_steps": "50%"}, "'50%' is not an amount such as 200"),
        ({"budget_steps": 1.5}, "1.5 is not a whole number"),
        ({"timeout": "-3"}, "^timeout must be above 0, got -3"),
        ({"min_gain": -1}, "^min_gain must be above 0, got -1"),
        ({"usd_per_hour": "-1"}, "^usd_per_hour must be above 0, got -1"),
        ({"strategies": {"lora": {"r": 8, "lr": 0.1}}}, r"under 'set': write lora\(r=8, lr=0.1\)"),
        ({"strategies": ["frozen", {"lora": {"r": 8}}]}, r"write lora\(r=8\)"),
        ({"datasets": [["a"]]}, r"datasets: \['a'\] is a list where one value belongs: write a"),
        ({"datasets": {"a": 1}}, "write it without brackets and keys"),
        ({"datasets": [None]}, "datasets: a value is missing"),
        ({"out": [1]}, r"out: \[1\] is a list where one value belongs: write 1"),
        ({"out": True}, "put it in quotes"),
        ({"set": 5}, "expected strategy.option=value"),
        ({"model": "a", "models": "b"}, "model is set twice, here as 'models': remove one"),
        ({"budget": {"steps": 5}, "budget-steps": 6}, "budget_steps is set twice, here as 'budget-steps'"),
        ({"seeds": True}, "seeds: YAML reads this word as true"),
        ({"top_k": [100]}, "top_k: .* is a list where one value belongs: write 100"),
        ({"precision": ["fp32"]}, "precision: .* is a list where one value belongs: write fp32"),
        ({"jobs": None}, "jobs: a value is missing"),
        ({"overwrite": None}, "overwrite: a value is missing"),
        ({"equivalence_margin": 0}, "^equivalence_margin must be above 0, got 0"),
        ({"equivalence_margin": "2 points"}, "is not an amount such as 0.02 or 2%"),
        ({"device": "tpu"}, "unknown device 'tpu'"),
        ({"device": "cude"}, "did you mean 'cuda'"),
        ({"set": "train.batch_size=0"}, "batch_size must be above 0, got 0"),
        ({"set": "train.mini_batch=-1"}, "mini_batch must be at least 0"),
        ({"set": "train.weight_decay=nan"}, "nan is not a finite number"),
        ({"set": "train.warmup=2"}, "a share of the steps"),
    ],
)
def test_mistakes_are_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(BenchError, match=message):
        from_mapping(values)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seeds: [0]\nstrategis: lora\n", r"run\.yaml:2: unknown setting 'strategis'"),
        ("seeds: [0\n", r"run\.yaml:2: not YAML"),
        ("- a\n", "expected keys and values"),
        ('{"invocations": []}', "there is no invocation in it"),
        ("seeds: 0\nout: a\nseeds: 1\n", r"run\.yaml:3: 'seeds' is set twice, first in line 1: remove one"),
        ("budget:\n  steps: 5\n  steps: 6\n", r"run\.yaml:3: 'steps' is set twice"),
        ("out: [1]\n", r"run\.yaml:1: out: \[1\] is a list"),
        ("strategies:\n  lora: {r: 8}\n", r"run\.yaml:1: strategies: .*write lora\(r=8\)"),
        ("seeds: 2026-02-31\n", "not YAML: day is out of range"),
        ("out: a\x00b\n", "not YAML: "),
    ],
)
def test_mistakes_in_a_file_are_named_with_their_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(text)
    with pytest.raises(BenchError, match=message):
        load(path)


def test_a_file_that_is_not_utf_8_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_bytes(b"seeds: 0\nout: caf\xe9\n")
    with pytest.raises(BenchError, match=r"run\.yaml:2: not UTF-8 \(.*\); save the file as UTF-8"):
        load(path)
    path.write_bytes(b"\xef\xbb\xbfseeds: 0\n")
    assert load(path) == {"seeds": 0}


def test_a_budget_given_from_python_is_laid_over_the_file_too() -> None:
    config = from_mapping(
        merged({"budget": {"steps": 5}, "models": "a"}, {"budget": {"trainable-params": 7}, "model": "b"})
    )
    assert config.budgets() == [Budget(steps=5, trainable_params=7)] and config.model == ("b",)


def test_a_file_that_does_not_exist() -> None:
    with pytest.raises(BenchError, match=r"nowhere\.yaml: No such file"):
        load(Path("nowhere.yaml"))


def test_every_field_is_documented() -> None:
    assert all(field.description for field in RunConfig.model_fields.values())


def test_mistakes_in_python_are_one_sentence_too() -> None:
    with pytest.raises(ConfigError, match=r"^unknown setting 'strategis', did you mean 'strategies'\? Known: [^\n]*$"):
        RunConfig(strategis="lora")
    with pytest.raises(ConfigError, match=r"^top_k must be at least 100, got 5$"):
        RunConfig(top_k=5)
    with pytest.raises(ConfigError, match=r"^jobs must be at least 1, got 0$"):
        RunConfig().replace(jobs=0)
    assert RunConfig(strategies="lora, full", budget={"steps": "2k"}).replace(seeds=3) == RunConfig(
        strategies=("lora", "full"), budget={"steps": (2000,)}, seeds=(3,)
    )


def test_the_embedded_corpus_comes_with_its_probe_and_a_named_dataset_with_none() -> None:
    assert from_mapping(merged({}, {})).probes == ("general",)
    assert from_mapping(merged({}, {"probes": ""})).probes == ()
    assert from_mapping(merged({}, {"probes": "none"})).probes == ()
    assert from_mapping(merged({"probes": ["none"]}, {})).probes == ()
    assert from_mapping(merged({}, {"datasets": "scifact"})).probes == ()
