"""A run folder that somebody else wrote runs no code."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from bench.config.execution import ExecutionSettings
from bench.errors import BenchError
from bench.exporting.selection import UntrustedCodeError, execution_settings, require_strategies
from bench.planning.registry import Registry
from bench.records import FitRecord
from bench.running.environment import JobEnvironment
from bench.store.store import Store

EVIL = """
from pathlib import Path

Path(__file__).with_name("ran").write_text("code of a record ran")

from bench.encoders.base import BaseEncoder


class Evil(BaseEncoder):
    name = "evil"
"""


def record(strategy: str, **values: object) -> FitRecord:
    return FitRecord(
        fit="a-fit", strategy=strategy, dataset="d", model="m", seed=None, status="ok", **values  # type: ignore[arg-type]
    )  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A run whose configuration names a strategy file and allows code of models."""
    (tmp_path / "evil.py").write_text(EVIL)
    found = Store(tmp_path / "run")
    config = {"strategies": ["evil"], "strategy_files": [str(tmp_path / "evil.py")], "trust_remote_code": True}
    found.put_invocation({"config": config, "command": ["python"]})
    return found


def test_strategy_files_and_remote_code_of_a_run_are_not_taken_over(store: Store, tmp_path: Path) -> None:
    settings = execution_settings(store)
    assert settings.strategy_files == ()
    assert not settings.trust_remote_code
    with (
        JobEnvironment(store, settings) as environment,
        pytest.raises(UntrustedCodeError, match=r"--strategy-file .*evil\.py"),
    ):
        require_strategies(environment, record("evil"))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("axis", ["objective", "representation"])
def test_an_axis_of_a_strategy_file_is_named_too(store: Store, axis: str) -> None:
    with (
        JobEnvironment(store, execution_settings(store)) as environment,
        pytest.raises(UntrustedCodeError, match="'mine' from a strategy file"),
    ):
        require_strategies(environment, record("lora", hyperparameters={axis: "mine(a=1)"}))


def test_a_file_that_is_given_again_is_used(store: Store, tmp_path: Path) -> None:
    with JobEnvironment(store, execution_settings(store, [str(tmp_path / "evil.py")], True)) as environment:
        require_strategies(environment, record("evil"))
        assert environment.execution.trust_remote_code
    assert (tmp_path / "ran").exists()


def test_a_class_that_a_record_names_is_not_imported_from_the_current_folder(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for entry in ("", str(tmp_path)):
        monkeypatch.setattr(sys, "path", [entry, *sys.path])
        with JobEnvironment(store, execution_settings(store)) as environment:
            require_strategies(environment, record("evil:Evil"))
            for load in (environment.registry.get, environment.registry.objective):
                with pytest.raises(BenchError, match="not imported from the current folder"):
                    load("evil:Evil")
    assert not (tmp_path / "ran").exists()
    assert Registry().get("evil:Evil").name == "evil"  # the user named it


def test_an_endpoint_that_a_record_names_gets_no_request(store: Store) -> None:
    settings = execution_settings(store)
    with (
        JobEnvironment(store, settings) as environment,
        pytest.raises(BenchError, match="a record names the endpoint"),
    ):
        environment.model("openai:http://127.0.0.1:9/v1#m")
    with JobEnvironment(store, ExecutionSettings()) as environment:
        assert environment.model("openai:http://127.0.0.1:9/v1#m").name == "m"


def test_the_commands_offer_the_options(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    from bench.cli import main

    for name in ("export", "similarity"):
        assert main([name, "--help"]) == 0
        shown = capsys.readouterr().out
        assert "--strategy-file" in shown
        assert "--trust-remote-code" in shown


def test_the_record_of_an_invocation_is_data(store: Store) -> None:
    assert json.loads((store.folder / "run.json").read_text())
