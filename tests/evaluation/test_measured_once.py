"""Times that are measured once, and what happens to damaged ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.evaluation.measured_once import seconds_measured_once


def _never() -> float:
    raise AssertionError("must not be measured")


def test_a_time_is_measured_once_and_shared(tmp_path: Path) -> None:
    assert seconds_measured_once(tmp_path / "measured", ("lora", "scifact"), lambda: 1.5) == 1.5
    assert seconds_measured_once(tmp_path / "measured", ("lora", "scifact"), _never) == 1.5
    assert seconds_measured_once(tmp_path / "measured", ("full", "scifact"), lambda: 2.5) == 2.5


def test_a_flipped_bit_in_a_stored_time_is_never_accepted(tmp_path: Path) -> None:
    assert seconds_measured_once(tmp_path, "lora", lambda: 1.5) == 1.5
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    for bit in range(len(whole) * 8):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        file.write_bytes(damaged)
        assert seconds_measured_once(tmp_path, "lora", lambda: 2.5) == 2.5, bit
        assert seconds_measured_once(tmp_path, "lora", _never) == 2.5
        file.write_bytes(whole)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff", b"[]", b"null", b"1", b'{"seconds": "x"}', b'{"seconds": NaN}', b"[" * 99_999,
     b'{"seconds": ' + b"9" * 5000 + b"}"],
)  # fmt: skip
def test_a_damaged_time_is_measured_again_and_replaced(tmp_path: Path, content: bytes) -> None:
    seconds_measured_once(tmp_path, "lora", lambda: 1.5)
    (file,) = tmp_path.iterdir()
    file.write_bytes(content)
    assert seconds_measured_once(tmp_path, "lora", lambda: 2.5) == 2.5
    assert seconds_measured_once(tmp_path, "lora", _never) == 2.5
    assert list(tmp_path.iterdir()) == [file]


def test_a_time_that_cannot_be_stored_is_used(tmp_path: Path) -> None:
    place = tmp_path / "file"
    place.write_text("where the folder should be")
    assert seconds_measured_once(place, "lora", lambda: 1.5) == 1.5
