"""The walk-throughs of docs/architecture.md, followed to the letter, give parts that pass the contract and run."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bench.contract import CLAUSES, Blueprint, check

if TYPE_CHECKING:
    from bench.contract.subprocess_reload import ReloadProcess
    from bench.models.base import BaseModel

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
STRATEGIES = (
    "lora(objective=hardest)",
    "lora(representation=max-sim)",
    "lora(objective=hardest, representation=max-sim)",
)


@pytest.fixture
def my_files(tmp_path: Path) -> list[Path]:
    """The examples of the page, saved under the names that the page gives them."""
    names = re.findall(r"Save it as\s+`(\w+\.py)`", PAGE)
    examples = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    for name, example in zip(names, examples, strict=True):
        (tmp_path / name).write_text(example, encoding="utf-8")
    return [tmp_path / name for name in names]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_examples_pass_the_contract(
    strategy: str, my_files: Sequence[Path], tiny_bert: BaseModel, reload_process: ReloadProcess
) -> None:
    results = check(Blueprint.of(strategy, files=my_files), tiny_bert, reload_process=reload_process)
    assert [result.clause for result in results] == list(CLAUSES)
    assert [str(result) for result in results if not result.ok] == []


def test_a_run_with_the_examples_ends_in_its_report(
    my_files: Sequence[Path],
    tiny_folder: Callable[[str], Path],
    beir_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from bench.cli import main

    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    files = [argument for file in my_files for argument in ("--strategy-file", str(file))]
    code = main([
        "run", *files, "--strategies", ",".join(["frozen", *STRATEGIES]), "--datasets", str(beir_folder),
        "--model", str(tiny_folder("bert")), "--budget-steps", "4", "--set", "train.batch_size=8", "--threads", "1",
        "--precision", "fp32", "--device", "cpu", "--probes", "none", "--quiet", "--out", str(tmp_path / "run"),
    ])  # fmt: skip
    assert code == 0
    report = (tmp_path / "run" / "report.md").read_text(encoding="utf-8")
    assert [strategy for strategy in STRATEGIES if f"`{strategy}`" not in report] == []


def test_a_representation_that_compares_padding_is_caught(my_files: Sequence[Path], tiny_bert: BaseModel) -> None:
    file = next(file for file in my_files if file.stem == "maxsim")
    text = file.read_text(encoding="utf-8")
    right = ".masked_fill(padding, -1.0).amax(dim=3)"
    assert right in text
    file.write_text(text.replace(right, ".mean(dim=3)"), encoding="utf-8")
    (result,) = check(Blueprint.of("lora(representation=max-sim)", files=[file]), tiny_bert, names=["batch"])
    assert not result.ok
    assert "include padding" in result.detail
