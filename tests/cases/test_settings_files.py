"""Settings files and values that parsers stumble over: tags, bombs, deep nesting, digits, home folders."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

import pytest

from bench.budget import parse_amount
from bench.cli import main
from bench.config.schema import from_mapping, load
from bench.data.catalogue import read_entry
from bench.errors import BenchError

BOMB = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(("text", "where"), [
    (BOMB, "run.yaml:4: .*anchors unfold"),
    ("a: &a [*a]\n", "run.yaml:1: .*an anchor holds itself"),
    ("a: &a {b: *a}\n", "run.yaml:1: .*an anchor holds itself"),
    ("strategies: bm25\nseeds: !!bool maybe\n", "run.yaml:2: not YAML: KeyError"),
    ("seeds: !!int ''\n", "run.yaml:1: not YAML"),
    ("seeds: !!timestamp never\n", "run.yaml:1: not YAML"),
    ("seeds: !!python/object/apply:os.system [x]\n", "run.yaml:1: not YAML: could not determine a constructor"),
    ("seeds: " + "9" * 5000, "run.yaml:1: not YAML: Exceeds the limit"),
    ("seeds: 0x" + "f" * 5000, "run.yaml:1: not YAML: Exceeds the limit"),
    ("a: " + "[" * 3000, "run.yaml: the YAML is nested too deeply"),
    ("? [a, b]\n: 1\n", "run.yaml:1: not YAML: found unhashable key"),
    ("invocations: [7]\n", "run.yaml: expected keys and values"),
    ('seeds: "\\ud83d"\n', "run.yaml:1: .*no text in UTF-8"),
    ("seeds: \u00b2\n", "run.yaml:1: .* is not a whole number"),
    ("seeds: \u0661\n", "run.yaml:1: .* is not a whole number"),
    ("seeds: 1e400\n", "run.yaml:1: .* is not a whole number"),
])  # fmt: skip
def test_a_settings_file_gives_an_error_with_file_and_line(text: str, where: str, tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(text, encoding="utf-8")
    start = time.perf_counter()
    with pytest.raises(BenchError, match=where):
        load(path)
    assert time.perf_counter() - start < 5


def test_anchors_that_are_used_a_few_times_are_read(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("strategies: &s [bm25, frozen]\nseeds: [0, 1]\nset: {lora: &l {r: 4}, dora: *l}\n")
    assert from_mapping(load(path)).overrides("dora") == {"r": "4"}


@pytest.mark.parametrize(
    "text", ["15" + " " * 4000 + "x", "9" * 5000 + "x", "1e", "." * 4000, "\u00b2", "1" + " " * 4000]
)
def test_an_amount_is_read_or_refused_at_once(text: str) -> None:
    start = time.perf_counter()
    with suppress(BenchError):
        assert parse_amount(text, "steps") == 1
    assert time.perf_counter() - start < 1


@pytest.mark.parametrize("arguments", [
    ["inspect", "~nouser-at-all/data"], ["inspect", "~nouser-at-all"], ["import", "~nouser-at-all/a.csv", "--out", "x"],
    ["clean", "~nouser-at-all/data"], ["run", "--datasets", "~nouser-at-all/x"], ["run", "--model", "~nouser-at-all/m"],
    ["run", "--strategies", "run:~nouser-at-all/a.trec"], ["inspect", "a" * 5000], ["inspect", "./" + "a" * 300],
    ["inspect", "scifact?max_length=\u00b2"], ["inspect", "scifact?max_length=" + "9" * 5000],
])  # fmt: skip
def test_paths_that_can_be_none_are_mistakes_of_the_user(
    arguments: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    assert capsys.readouterr().err.startswith("adaptbench: ")


@pytest.mark.parametrize("value", ["9" * 5000, "0x" + "f" * 5000, "[" * 3000, '"a"', "1.5", "\u00b2", "[1"])
def test_a_description_of_a_dataset_gives_an_error_with_its_file(value: str, tmp_path: Path) -> None:
    path = tmp_path / "dataset.toml"
    path.write_text(f"max_length = {value}\ndocuments = {value}\nlicence = {value}\n", encoding="utf-8")
    with pytest.raises(BenchError, match=r"dataset\.toml: "):
        read_entry(path, "toy")
