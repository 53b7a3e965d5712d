"""What a job takes along to another machine."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bench.running.sent import SentFile, sent_variables, strategy_files


def test_a_strategy_file_travels_with_the_python_files_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    own = tmp_path / "own"
    own.mkdir()
    for name in ("mine.py", "helper.py", "prompts.txt"):
        (own / name).write_text(name)
    monkeypatch.chdir(own)
    sent = SentFile.of("mine.py")
    with strategy_files([sent], tmp_path / "nothing is written") as (path,):
        assert path == str(own / "mine.py"), "here are the same files, and whatever else lies beside them"
    (own / "helper.py").write_text("edited")
    (tmp_path / "scratch").mkdir()
    with strategy_files([sent], tmp_path / "scratch") as (path,):
        there = Path(path).parent
        assert {each.name: each.read_text() for each in there.iterdir()} == {
            name: name for name in ("mine.py", "helper.py")
        }
        assert there != own and sys.path[-1] == str(there)
    assert str(there) not in sys.path
    (own / "helper.py").write_text("#" * 2**21)
    assert list(SentFile.of("mine.py").contents) == ["mine.py"] and "gets" in caplog.text


def test_variables_that_may_hold_secrets_stay_here() -> None:
    secrets = ["BENCH_API_KEY", "HF_TOKEN", "BENCH_PASSWORD", "BENCH_DB_PASS", "HF_CLIENT_SECRET", "BENCH_AUTH_HEADER"]
    kept = {"BENCH_CACHE": "folder", "HF_HUB_OFFLINE": "1"}
    assert sent_variables({**kept, **dict.fromkeys(secrets, "s"), "HOME": "h"}) == kept
