"""The command line, a YAML file and `run.json` say the same things, every one of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench.cli import Parser
from bench.commands import run
from bench.config.schema import RunConfig, from_mapping, load, merged

SAID: dict[str, tuple[list[str], Any]] = {
    "strategies": (["--strategies", "frozen, hybrid(lora, method=rrf)"], ("frozen", "hybrid(lora, method=rrf)")),
    "datasets": (["--datasets", "scifact,my-folder"], ("scifact", "my-folder")),
    "data_dir": (["--data-dir", "data"], "data"),
    "model": (["--model", "one,openai:http://127.0.0.1:1/v1#two"], ("one", "openai:http://127.0.0.1:1/v1#two")),
    "budget": (
        ["--budget-steps", "10,20", "--budget-examples", "50", "--budget-trainable-params", "0.5%"],
        {"steps": (10, 20), "examples": (50,), "trainable_params": (0.005,)},
    ),
    "usd_per_hour": (["--usd-per-hour", "2.5"], 2.5),
    "seeds": (["--seeds", "0,1,2"], (0, 1, 2)),
    "probes": (["--probes", "boolq,stsb"], ("boolq", "stsb")),
    "measures": (["--measures", "ndcg@10,RBP(p=0.8,rel=2),P(rel=2)@5"], ("ndcg@10", "RBP(p=0.8,rel=2)", "P(rel=2)@5")),
    "baseline": (["--baseline", "bm25"], "bm25"),
    "tune_trials": (["--tune-trials", "4"], 4),
    "min_gain": (["--min-gain", "0.05"], 0.05),
    "primary": (["--primary", "mrr@10"], "mrr@10"),
    "equivalence_margin": (["--equivalence-margin", "1%"], 0.01),
    "set": (["--set", "lora.r=16", "--set", "train.batch_size=64"], {"lora.r": "16", "train.batch_size": "64"}),
    "split": (["--split", "dev"], "dev"),
    "top_k": (["--top-k", "200"], 200),
    "precision": (["--precision", "fp32"], "fp32"),
    "max_length": (["--max-length", "128"], 128),
    "device": (["--device", "cpu"], "cpu"),
    "threads": (["--threads", "3"], 3),
    "jobs": (["--jobs", "2"], 2),
    "timeout": (["--timeout", "90"], 90.0),
    "executor": (["--executor", "slurm"], "slurm"),
    "strategy_files": (["--strategy-file", "a.py", "--strategy-file", "b.py"], ("a.py", "b.py")),
    "trust_remote_code": (["--trust-remote-code"], True),
    "out": (["--out", "somewhere"], "somewhere"),
    "overwrite": (["--overwrite", "failed"], "failed"),
    "report_to": (["--report-to", "tensorboard,mlflow"], ("tensorboard", "mlflow")),
    "no_report": (["--no-report"], True),
    "dry_run": (["--dry-run"], True),
}
"""Field -> how the command line says it, and what it then is: none of these is the default."""


def from_command_line(arguments: list[str]) -> RunConfig:
    parser = Parser(prog="adaptbench run")
    run.add_arguments(parser)
    known = RunConfig.model_fields.keys()
    given = {
        name: value
        for name, value in vars(parser.parse_args(arguments)).items()
        if name in known or name.startswith("budget_")
    }
    return from_mapping(merged({}, given))


def test_every_setting_is_covered_here() -> None:
    assert SAID.keys() == RunConfig.model_fields.keys()


@pytest.mark.parametrize("name", SAID)
def test_a_setting_survives_every_way_of_saying_it(name: str, tmp_path: Path) -> None:
    arguments, expected = SAID[name]
    said = from_command_line(arguments)
    assert getattr(said, name) == expected
    assert getattr(RunConfig(), name) != expected
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(said.to_dict()), encoding="utf-8")
    (tmp_path / "run.json").write_text(json.dumps({"invocations": [{"config": said.to_dict()}]}), encoding="utf-8")
    assert from_mapping(load(tmp_path / "run.yaml")) == said
    assert from_mapping(load(tmp_path / "run.json")) == said


def test_all_settings_together(tmp_path: Path) -> None:
    said = from_command_line([argument for arguments, _ in SAID.values() for argument in arguments])
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(said.to_dict()), encoding="utf-8")
    assert from_mapping(load(tmp_path / "run.yaml")) == said
