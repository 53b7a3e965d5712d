"""What readers were paid for: readings are found again, and damaged ones are read as absent."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.store.answers import ReadingCache
from bench.store.store import Store

COSTS = {"prompt_tokens": 5, "tokens": 2, "seconds": 0.5}
GOOD = {"key": "good", "text": "one\u2028two \U0001f600", **COSTS}


def test_readings_are_found_again_whatever_signs_they_hold(tmp_path: Path) -> None:
    scored = {"key": "b", "log_likelihood": -0.5, **COSTS}
    ReadingCache.of_run(Store(tmp_path), "r").add([GOOD, scored])
    ReadingCache.of_run(Store(tmp_path), "r").add([])
    again = ReadingCache.of_run(Store(tmp_path), "r")
    assert (again["good"], again["b"]) == (GOOD, scored)
    assert "good" not in ReadingCache.of_run(Store(tmp_path), "other")


@pytest.mark.parametrize("damage", [
    b'{"key": "torn", "tex', b"\xff\xfe", b"[1]", b"7", b'{"key": 3, "text": "x"}', b'{"key": "k", "text": "x"}',
    b'{"key": "k", "prompt_tokens": 1, "tokens": 1, "seconds": 1}', b"[" * 20_000,
])  # fmt: skip
def test_damaged_lines_are_read_as_absent_and_the_next_reading_is_not(damage: bytes, tmp_path: Path) -> None:
    ReadingCache.of_run(Store(tmp_path), "r").add([GOOD])
    with (tmp_path / "answers" / "readings--r.jsonl").open("ab") as stream:
        stream.write(damage)
    cache = ReadingCache.of_run(Store(tmp_path), "r")
    assert "good" in cache and "k" not in cache and "torn" not in cache
    cache.add([GOOD | {"key": "next"}])
    assert "next" in ReadingCache.of_run(Store(tmp_path), "r")


def test_a_changed_reading_is_read_as_absent_and_one_of_an_earlier_version_is_not(tmp_path: Path) -> None:
    path = tmp_path / "answers" / "readings--r.jsonl"
    ReadingCache.of_run(Store(tmp_path), "r").add([GOOD])
    whole = path.read_bytes()
    for changed in (whole.replace(b"one", b"ope"), whole.replace(b'"digest"', b'"dagest"')):
        path.write_bytes(changed)
        assert "good" not in ReadingCache.of_run(Store(tmp_path), "r")
    path.write_text(json.dumps(GOOD) + "\n")
    assert ReadingCache.of_run(Store(tmp_path), "r")["good"] == GOOD
