"""Where search is approximate, the record says how much of the exact best it finds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bench.config.schema import RunConfig
from bench.running.run import RunResult


def test_the_record_holds_the_recall_of_approximate_search(
    toy_config: Callable[..., RunConfig], run_inline: Callable[[RunConfig], RunResult], toy_file: Path, tmp_path: Path
) -> None:
    exact = run_inline(toy_config(out=str(tmp_path / "exact"))).store.results()[0]
    assert "search_recall" not in exact.cost
    source = toy_file.read_text(encoding="utf-8")
    approximate = source.replace("nbytes, seconds = 8, 0.25", "nbytes, seconds, search_recall = 8, 0.25, 0.993")
    assert approximate != source
    toy_file.write_text(approximate, encoding="utf-8")
    rough = run_inline(toy_config(out=str(tmp_path / "rough"))).store.results()[0]
    assert rough.cost["search_recall"] == 0.993
    assert any("48 documents is approximate" in note and "99.3%" in note for note in rough.notes)
