"""The processes of jobs: what a job starts ends with it, it ends after its report, and nothing writes after its end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.context import ForkServerProcess
from multiprocessing.util import get_temp_dir
from pathlib import Path

import psutil
import pytest

from bench.config.schema import RunConfig
from bench.running.executors import local
from bench.running.executors.local import LocalExecutor
from bench.running.run import Run, RunResult
from tests.running.test_local import ROOT, SMALL_PRELOAD, Watch, alive, run, wait_for

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and process groups")

Configure = Callable[..., RunConfig]


def started(marker: Path) -> list[int]:
    return [int(line) for line in marker.read_text().split()]


def test_what_a_job_starts_ends_with_it(toy_config: Configure, tmp_path: Path) -> None:
    """Children and their children, in its session or in one of their own."""
    marker = tmp_path / "pids"
    assert run(toy_config(set=f"toy.does=spawn,toy.marker={marker}".split(","))).statuses == {"ok": 1}
    assert len(started(marker)) == 5
    wait_for(lambda: not any(map(alive, started(marker))), 10)


def test_what_a_killed_job_has_started_ends_with_it(toy_config: Configure, tmp_path: Path) -> None:
    marker = tmp_path / "pids"
    outcome = run(toy_config(set=f"toy.does=spawn and wait,toy.marker={marker}".split(","), timeout=3))
    assert outcome.store.fits()[0].status == "timeout" and len(started(marker)) == 5
    wait_for(lambda: not any(map(alive, started(marker))), 10)


def test_the_group_of_a_job_that_somebody_killed_ends_too(toy_config: Configure, tmp_path: Path) -> None:
    marker = tmp_path / "pids"
    outcome = run(toy_config(set=f"toy.does=spawn and die,toy.marker={marker}".split(",")))
    assert "SIGKILL" in outcome.store.fits()[0].reason
    own, *children = started(marker)
    in_group, apart = children[:2], children[2:]
    wait_for(lambda: not any(map(alive, [own, *in_group])), 10)
    for pid in apart:  # nobody knows any more whose they were
        os.kill(pid, signal.SIGKILL)


def test_a_job_that_has_reported_and_does_not_exit_is_ended_and_its_record_stays(
    toy_config: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "_EXIT_SECONDS", 0.5)
    began, marker = time.monotonic(), tmp_path / "pids"
    outcome = run(toy_config(set=f"toy.does=linger,toy.marker={marker}".split(","), timeout=300))
    assert outcome.statuses == {"ok": 1} and outcome.store.fits()[0].status == "ok"
    assert time.monotonic() - began < 60 and not any(map(alive, started(marker)))


def test_killed_jobs_leave_no_temporary_folder(
    toy_config: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    get_temp_dir()  # the folder of the fork server's socket, which outlives this test
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    outcome = run(toy_config(strategies="toy(does=die),toy(does=exit)", baseline="toy(does=die)"))
    died, exited = sorted((fit.reason for fit in outcome.store.fits()), key=lambda reason: "SIGKILL" not in reason)
    assert "the signal SIGKILL ended its process" in died and "its process ended with code 3" in exited
    assert [each.name for each in folder.iterdir() if each.name.startswith("adaptbench-")] == []


SLOW_LIBRARY = """
import time
from pathlib import Path
Path("importing").touch()
while not Path("go").exists():
    time.sleep(0.01)
Path("imported").touch()
"""
STARTS_SERVER = """
import signal, sys
from multiprocessing import forkserver
from pathlib import Path
from bench.config.execution import ExecutionSettings
from bench.running.executors.local import LocalExecutor
from bench.store.store import Store
signal.signal(signal.SIGINT, lambda *_: sys.exit(130))  # a shell has it ignored in the background
LocalExecutor(Store(Path("run")), ExecutionSettings(), "forkserver", preload=["slow_library"])
forkserver.ensure_running()
sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="there is a fork server on Linux")
def test_ctrl_c_while_the_fork_server_loads_libraries_prints_nothing(tmp_path: Path) -> None:
    """A terminal sends it to the whole group: to the command, which handles it, and to the server."""
    (tmp_path / "slow_library.py").write_text(SLOW_LIBRARY)
    variables = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}
    command = subprocess.Popen(
        [sys.executable, "-c", STARTS_SERVER], cwd=tmp_path, env=variables, start_new_session=True, text=True,
        stdin=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    wait_for((tmp_path / "importing").exists)
    os.killpg(command.pid, signal.SIGINT)
    (tmp_path / "go").touch()
    _, errors = command.communicate(timeout=60)
    assert command.returncode == 130 and errors == ""
    assert (tmp_path / "imported").exists()


def fork_server() -> psutil.Process:
    return next(child for child in psutil.Process().children() if any("forkserver" in word for word in child.cmdline()))


def refuse_while_ending(monkeypatch: pytest.MonkeyPatch, lost: list[float]) -> list[str]:
    """Have the fork server start nothing for half a second after each moment in `lost`; return what it refused.

    The system takes that long on a busy machine to end a killed one. Until then Python takes it for alive.
    """
    start, refused = ForkServerProcess.start, list[str]()

    def start_or_refuse(self: ForkServerProcess) -> None:
        if any(0 <= time.monotonic() - moment < 0.5 for moment in lost):
            refused.append(self.name)
            raise EOFError
        start(self)

    monkeypatch.setattr(ForkServerProcess, "start", start_or_refuse)
    return refused


def run_small(config: RunConfig, watch: Watch) -> RunResult:
    return Run.prepare(config).execute(watch, partial(LocalExecutor, preload=SMALL_PRELOAD))


@pytest.mark.skipif(sys.platform != "linux", reason="there is a fork server on Linux")
def test_a_killed_fork_server_is_started_again_and_its_jobs_too(
    toy_config: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job of the dead server ends before it is submitted again: it never writes."""
    marker = tmp_path / "pids"
    written: list[bool] = []
    lost: list[float] = []
    refused = refuse_while_ending(monkeypatch, lost)

    def kill_once() -> None:
        wait_for(lambda: marker.exists() and marker.read_text().strip())
        lost.append(time.monotonic())
        fork_server().kill()
        wait_for(lambda: len(started(marker)) == 2)
        written.append(alive(started(marker)[0]))
        for child in psutil.Process().children(recursive=True):
            if child.pid == started(marker)[1]:
                child.kill()

    watch = Watch(lambda job: threading.Thread(target=kill_once, daemon=True).start() if job.kind == "fit" else None)
    outcome = run_small(toy_config(set=f"toy.does=wait,toy.marker={marker}".split(",")), watch)
    notes = [values["text"] for name, values in watch.events if name == "note"]
    assert any("submitted again: the fork server" in note for note in notes), notes
    reason = outcome.store.fits()[0].reason
    assert refused == [], "a server that is still ending is not asked"
    assert "SIGKILL" in reason, "the second attempt, which the test has killed"
    assert written == [False], "the first attempt was gone when the second began"


@pytest.mark.skipif(sys.platform != "linux", reason="there is a fork server on Linux")
def test_a_fork_server_that_ends_while_it_starts_a_process_costs_one_attempt(
    toy_config: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost: list[float] = []
    refused = refuse_while_ending(monkeypatch, lost)
    start_or_refuse = ForkServerProcess.start

    def lose_the_first(self: ForkServerProcess) -> None:
        lost[:] = lost or [time.monotonic()]
        start_or_refuse(self)

    monkeypatch.setattr(ForkServerProcess, "start", lose_the_first)
    assert run_small(toy_config(), Watch()).statuses == {"ok": 1}
    assert len(refused) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="there is a fork server on Linux")
def test_a_fork_server_that_dies_each_time_fails_the_job_in_words(
    toy_config: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: object) -> None:
        raise EOFError

    monkeypatch.setattr("multiprocessing.context.ForkServerProcess.start", refuse)
    outcome = run_small(toy_config(), Watch())
    assert outcome.store.fits()[0].status == "failed"
    assert "the fork server, which starts the processes of jobs, was ended" in outcome.store.fits()[0].reason
