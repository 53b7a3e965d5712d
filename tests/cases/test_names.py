"""Names that collide, and paths with characters that mean something in a list."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bench.config.schema import from_mapping
from bench.data.locate import DatasetName
from bench.planning.naming import distinct_names
from bench.store.store import Store


@pytest.mark.parametrize("name", ["faq, 2024", "a,b", ",a", "one,two, three", "q?x=1", "50% off, now", "a;b,c&d"])
def test_an_existing_path_is_taken_whole(
    name: str, make_dataset: Callable[..., Path], run_bm25: Callable[..., int], tmp_path: Path
) -> None:
    folder = make_dataset(["tea is green", "milk is white"], ["green tea", "white milk"], name=name)
    other = make_dataset(["red wine", "black ink"], ["wine", "ink"], name="plain")
    config = from_mapping({"datasets": f"{folder},{other}", "strategies": "bm25"})
    assert config.datasets == (str(folder), str(other))
    assert run_bm25(folder, other) == 0
    assert {cell.dataset for cell in Store(tmp_path / "out").results()} == {name, "plain"}


@pytest.mark.parametrize("places", [
    ("a/data", "b/data"), ("x/checkpoint-4", "y/checkpoint-4"), ("a/b/c", "a2/b/c"), ("data", "data/data"),
    ("v1.0/final", "v1.1/final"), ("Data/x", "data/x"),
])  # fmt: skip
def test_names_that_collide_get_the_end_of_their_paths(places: tuple[str, str], tmp_path: Path) -> None:
    paths = [tmp_path / place for place in places]
    names = distinct_names([(path.name, str(path), f"content{n}") for n, path in enumerate(paths)])
    assert len(set(names)) == 2 and all(path.name in name for path, name in zip(paths, names, strict=True))


def test_datasets_of_one_folder_name_have_rows_of_their_own(
    make_dataset: Callable[..., Path], run_bm25: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = make_dataset(["tea is green", "milk is white"], ["green tea", "white milk"], name="a/data")
    two = make_dataset(["tea is green", "milk is white"], ["milk", "tea"], name="b/data")
    assert run_bm25(one, two) == 0
    scores = {cell.dataset: cell.metrics["mrr@10"] for cell in Store(tmp_path / "out").results()}
    assert scores == {"a/data": 1.0, "b/data": 0.0}
    assert "a/data" in capsys.readouterr().out


def test_a_question_mark_outside_of_a_path_begins_options() -> None:
    assert DatasetName.parse("scifact?max_length=128").options == {"max_length": "128"}


@pytest.mark.parametrize(("one", "other"), [
    ("caf\u00e9", "cafe\u0301"), ("a\nb", "a\tb"), ("data\u200b", "data\u202e"), ("\u1e69", "s\u0323\u0307"),
    ("x\x1b[31m", "x\x07[31m"),
])  # fmt: skip
def test_names_that_look_alike_get_the_end_of_their_paths(one: str, other: str, tmp_path: Path) -> None:
    names = distinct_names([("plain", "/p/plain", "0"), (one, f"/x/{one}", "1"), (other, f"/y/{other}", "2")])
    assert names[0] == "plain" and names[1].startswith("x/") and names[2].startswith("y/")
    assert all(sign.isprintable() or sign == "\ufffd" for name in names for sign in name)


def test_a_name_of_control_characters_is_shown_on_one_line() -> None:
    assert distinct_names([("a\n| b\x1b[2J", "/x/a", "1")]) == ["a\ufffd| b\ufffd[2J"]
