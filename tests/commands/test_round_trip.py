"""Every setting can be given on the command line, in a YAML file and in a `run.json`, with the same result."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from bench.commands._settings import read_settings, run_options
from bench.config.schema import RunConfig, from_mapping, load

GIVEN: dict[str, tuple[list[str], Any]] = {
    "strategies": (["--strategies", "frozen, hybrid(lora, method=rrf)"], ("frozen", "hybrid(lora, method=rrf)")),
    "datasets": (["--datasets", "scifact,my-folder"], ("scifact", "my-folder")),
    "data_dir": (["--data-dir", "data"], "data"),
    "model": (["--model", "one,openai:http://127.0.0.1:1/v1#two"], ("one", "openai:http://127.0.0.1:1/v1#two")),
    "budget": (
        [
            "--budget-steps",
            "10",
            "--budget-steps",
            "20",
            "--budget-examples",
            "50",
            "--budget-trainable-params",
            "0.5%",
        ],
        {"steps": (10, 20), "examples": (50,), "trainable_params": (0.005,)},
    ),
    "usd_per_hour": (["--usd-per-hour", "2.5"], 2.5),
    "seeds": (["--seeds", "0,1", "--seeds", "2"], (0, 1, 2)),
    "probes": (["--probes", "boolq,stsb"], ("boolq", "stsb")),
    "measures": (
        ["--measures", "ndcg@10,SetF(beta=0.5,rel=2),P(rel=2)@5"],
        ("ndcg@10", "SetF(beta=0.5,rel=2)", "P(rel=2)@5"),
    ),
    "baseline": (["--baseline", "bm25"], "bm25"),
    "tune_trials": (["--tune-trials", "4"], 4),
    "min_gain": (["--min-gain", "0.05"], 0.05),
    "primary": (["--primary", "mrr@10"], "mrr@10"),
    "equivalence_margin": (["--equivalence-margin", "1%"], 0.01),
    "set": (["--set", "lora.r=16", "--set", "train.batch_size=64"], {"lora.r": "16", "train.batch_size": "64"}),
    "split": (["--split", "dev"], "dev"),
    "top_k": (["--top-k", "200"], 200),
    "precision": (["--precision", "fp32"], "fp32"),
    "base_weights": (["--base-weights", "nf4"], "nf4"),
    "max_length": (["--max-length", "128"], 128),
    "device": (["--device", "cpu"], "cpu"),
    "threads": (["--threads", "3"], 3),
    "jobs": (["--jobs", "2"], 2),
    "processes_per_fit": (["--processes-per-fit", "2"], 2),
    "timeout": (["--timeout", "90"], 90.0),
    "checkpoint_every": (["--checkpoint-every", "0"], 0.0),
    "executor": (["--executor", "slurm"], "slurm"),
    "strategy_files": (["--strategy-file", "a.py", "--strategy-file", "b.py"], ("a.py", "b.py")),
    "trust_remote_code": (["--trust-remote-code"], True),
    "out": (["--out", "somewhere"], "somewhere"),
    "overwrite": (["--overwrite", "failed"], "failed"),
    "report_to": (["--report-to", "tensorboard,mlflow"], ("tensorboard", "mlflow")),
    "no_report": (["--no-report"], True),
    "dry_run": (["--dry-run"], True),
}
"""Field -> its option on the command line, and the value it then has. No value is the default."""


def from_command_line(arguments: list[str]) -> RunConfig:
    command = click.Command("run", params=run_options(), callback=lambda config_file, **given: given)
    return read_settings(None, command.main(arguments, standalone_mode=False))


def test_every_setting_is_covered_here() -> None:
    assert GIVEN.keys() == RunConfig.model_fields.keys()


@pytest.mark.parametrize("name", GIVEN)
def test_a_setting_survives_every_way_of_giving_it(name: str, tmp_path: Path) -> None:
    arguments, expected = GIVEN[name]
    given = from_command_line(arguments)
    assert getattr(given, name) == expected
    assert getattr(RunConfig(), name) != expected
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(given.to_dict()), encoding="utf-8")
    (tmp_path / "run.json").write_text(json.dumps({"invocations": [{"config": given.to_dict()}]}), encoding="utf-8")
    assert from_mapping(load(tmp_path / "run.yaml")) == given
    assert from_mapping(load(tmp_path / "run.json")) == given


def test_all_settings_together(tmp_path: Path) -> None:
    given = from_command_line([argument for arguments, _ in GIVEN.values() for argument in arguments])
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(given.to_dict()), encoding="utf-8")
    assert from_mapping(load(tmp_path / "run.yaml")) == given
