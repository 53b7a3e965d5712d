"""A full disk: the error names the path, whichever library meets it."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from bench.cli import main
from bench.data.files import full_disk_hint, named_in_errors, require_writable, write_atomically
from bench.errors import BenchError
from bench.records import FitRecord
from bench.running.status import status_from_exception
from bench.store import studies
from bench.store.lease import Lease
from bench.store.store import Store

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def full(*arguments: Any, **settings: Any) -> Any:
    raise FULL


def test_the_path_of_a_write_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fit = FitRecord(fit="f", strategy="s", dataset="d", model="m", seed=0, status="ok")
    study = studies.Study(study="t", strategy="s", dataset="d", model="m", budget={}, space={}, defaults={})
    studies.begin(tmp_path / "t", study)
    monkeypatch.setattr("os.fsync", full)
    for name, write in {
        "fit.json": lambda: Store(tmp_path).put_fit(fit),
        "run.json": lambda: Store(tmp_path).put_invocation({}),
        "trials.jsonl": lambda: studies.append(tmp_path / "t", studies.Trial(number=0, params={})),
    }.items():
        with pytest.raises(OSError, match=f"No space left on device: '.*{name}'"):
            write()
    monkeypatch.setattr("pathlib.Path.write_text", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*\.leases/f'"):
        Lease.grant(tmp_path, "f")
    monkeypatch.setattr("os.fdopen", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*report\.md'"):
        write_atomically(tmp_path / "report.md", b"text")
    monkeypatch.setattr("pandas.DataFrame.to_parquet", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*train_relevant\.parquet'"):
        Store(tmp_path).put_fit(fit, train_relevant={"d1"})


def test_a_library_with_errors_of_its_own_names_the_path_too(tmp_path: Path) -> None:
    from safetensors import SafetensorError

    if Path("/dev/full").exists():
        with pytest.raises(OSError, match="/dev/full") as caught, named_in_errors(Path("/dev/full")):
            Path("/dev/full").write_bytes(b"1")
        assert caught.value.errno == errno.ENOSPC
    with pytest.raises(OSError, match=r"No space left on device: '.*model'"), named_in_errors(tmp_path / "model"):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
    for number in (errno.EDQUOT, errno.EFBIG):
        text = os.strerror(number)
        with pytest.raises(OSError, match=rf"{text}: '.*model'") as limited, named_in_errors(tmp_path / "model"):
            raise SafetensorError(f"Error while serializing: I/O error: {text} (os error {number})")
        assert limited.value.errno == number
    with pytest.raises(SafetensorError, match="header"), named_in_errors(tmp_path / "model"):
        raise SafetensorError("invalid header")


def test_an_error_that_names_no_path_tells_where_space_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    status, reason = status_from_exception(FULL, "a fit")
    assert status == "failed" and "No space left on device (free: " in reason and " MB in /" in reason
    assert full_disk_hint(ValueError("wrong")) == "" and full_disk_hint(OSError(28, "No space left", "x")) == ""
    monkeypatch.setattr("bench.report.open_run", full)
    assert main(["recommend", str(tmp_path)]) == 2
    assert "No space left on device (free: " in capsys.readouterr().err


def test_a_link_to_nothing_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(BenchError, match=r"is a link to .*nowhere, which does not exist"):
        require_writable(tmp_path / "link")
