"""One process per job: whatever happens to it or to the parent is recorded, and no completed work is lost."""

from __future__ import annotations

import importlib.util
import os
import platform
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.config.execution import ExecutionSettings
from bench.config.schema import RunConfig
from bench.planning.jobs import Job
from bench.running.executors import local
from bench.running.executors.local import PRELOAD, best_start_method
from bench.running.process_group import end
from bench.running.run import Run, RunResult
from bench.store.live import PROGRESS, LiveJob, live_job
from bench.store.store import Store

ROOT = Path(__file__).resolve().parents[2]
SMALL_PRELOAD = ("torch", "pandas", "scipy.stats", "pytrec_eval", "bench.running.job")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals")

Configure = Callable[..., RunConfig]


class Watch:
    """A listener that keeps times and outcomes, and may act."""

    def __init__(self, on_start: Callable[[Job], None] | None = None) -> None:
        self.on_start = on_start
        self.spans: dict[str, list[float]] = {}
        self.outcomes: dict[str, tuple[str, str]] = {}
        self.events: list[tuple[str, dict[str, Any]]] = []

    def started(self, job: Job) -> None:
        self.spans[job.name] = [time.monotonic()]
        if self.on_start:
            self.on_start(job)

    def event(self, job: Job, name: str, values: dict[str, Any]) -> None:
        self.events.append((name, values))

    def ended(self, job: Job, status: str, reason: str, seconds: float) -> None:
        self.spans[job.name].append(time.monotonic())
        self.outcomes[job.name] = (status, reason)


def run(config: RunConfig, watch: Watch | None = None) -> RunResult:
    return Run.prepare(config).execute(watch or Watch())


def test_every_job_has_a_process_of_its_own_and_reports(toy_config: Configure, tmp_path: Path) -> None:
    marker, config = tmp_path / "pids", toy_config(seeds="0,1", set=f"toy.marker={tmp_path / 'pids'}")
    live = list[LiveJob]()
    watch = Watch(lambda job: live.append(live_job(Path(config.out), job.name)))
    outcome = run(config, watch)
    pids = marker.read_text().split()
    assert len(set(pids)) == 2 and str(os.getpid()) not in pids
    assert outcome.statuses == {"ok": 2}
    assert ("step", {"step": 5, "total": 5, "loss": 0.5}) in watch.events
    assert not list((outcome.store.folder / "logs").glob("*.log")), "what went well leaves no log"
    assert [str(job.pid) for job in live if job.kind == "fit"] == pids and {job.host for job in live} == {
        platform.node()
    }
    assert not (outcome.store.folder / PROGRESS).exists(), "what jobs say of themselves goes with them"


def test_a_killed_process_is_a_failed_fit_and_the_run_continues(toy_config: Configure) -> None:
    outcome = run(toy_config(strategies="toy(does=die),toy(does=exit),toy", baseline="toy"))
    fits = {fit.strategy: fit for fit in outcome.store.fits()}
    assert fits["toy(does=die)"].status in ("failed", "oom")
    assert "SIGKILL" in fits["toy(does=die)"].reason or fits["toy(does=die)"].status == "oom"
    assert "code 3" in fits["toy(does=exit)"].reason
    assert fits["toy"].status == "ok"
    cells = {cell.strategy: cell.status for cell in outcome.store.results()}
    assert cells["toy"] == "ok" and cells["toy(does=exit)"] == "failed"
    assert outcome.exit_code == 1 and len(outcome.failed) == 2


def test_an_unforeseen_error_leaves_its_traceback_in_the_log(toy_config: Configure) -> None:
    outcome = run(toy_config(set="toy.does=raise"))
    name = outcome.store.fits()[0].fit
    log = (outcome.store.folder / "logs" / f"{name}.log").read_text()
    assert "Traceback" in log and "ValueError: the first line" in log


def test_a_job_that_takes_too_long_is_ended(toy_config: Configure) -> None:
    outcome = run(toy_config(set="toy.does=wait", timeout=2))
    fit = outcome.store.fits()[0]
    assert fit.status == "timeout" and "2 s" in fit.reason


@pytest.fixture
def listens_to_ctrl_c() -> Iterator[None]:
    """A shell's background job starts with SIGINT ignored, and so would the tests in it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("listens_to_ctrl_c")
def test_ctrl_c_ends_every_process_and_keeps_completed_work(toy_config: Configure, tmp_path: Path) -> None:
    """Pressed twice, too, and with a process that does not want to go: the second finds the first at work."""
    marker, ready = tmp_path / "pids", tmp_path / "pids.ready"
    config = toy_config(strategies="toy,head(does=cling)", baseline="toy", set=f"head.marker={marker}")

    def press_twice() -> None:
        wait_for(ready.exists)
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.5)

    def interrupt(job: Job) -> None:
        if "head" in job.name:
            threading.Thread(target=press_twice, daemon=True).start()

    before = signal.getsignal(signal.SIGINT)
    outcome = run(config, Watch(interrupt))
    assert outcome.interrupted and outcome.exit_code == 130
    assert signal.getsignal(signal.SIGINT) is before
    assert {fit.strategy for fit in outcome.store.fits()} == {"toy"}, "what was interrupted is not recorded as failed"
    assert all(not alive(int(pid)) for pid in marker.read_text().split())
    assert outcome.store.invocations()[-1]["exit_code"] == 130


def test_a_signal_at_any_point_ends_the_job_of_a_node(
    toy_config: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here it arrives while the end of the job is noted. Nobody may wait for that end then."""
    config = toy_config()
    (job,) = (each for each in Run.prepare(config).pending() if each.kind == "fit")
    ends = iter([SystemExit])

    def end_late(*arguments: Any) -> None:
        for signal_of_the_cluster in ends:
            raise signal_of_the_cluster
        end(*arguments)

    monkeypatch.setattr(local, "end", end_late)
    store = Store(tmp_path / "run")
    with pytest.raises(SystemExit):
        list(local.run_one(job, store, ExecutionSettings.of(config)))
    assert not list(store.folder.glob(f"{PROGRESS}/*"))


def test_an_interrupted_run_resumes(toy_config: Configure, tmp_path: Path) -> None:
    """The parent is killed without a word; its child ends too, and the same command does the rest."""
    marker = tmp_path / "pids"
    config = toy_config(strategies="toy,head(does=wait)", baseline="toy", set=f"head.marker={marker}")
    values = config.to_dict()
    program = (
        "from functools import partial\n"
        "from rich.console import Console\n"
        "from bench.config.schema import from_mapping\n"
        "from bench.running.executors.local import LocalExecutor\n"
        "from bench.running.progress import Quiet\n"
        "from bench.running.run import Run\n"
        "if __name__ == '__main__':\n"
        f"    run = Run.prepare(from_mapping({values!r}))\n"
        f"    run.execute(Quiet(Console(), 0), partial(LocalExecutor, preload={SMALL_PRELOAD!r}))\n"
    )
    script = tmp_path / "parent.py"
    script.write_text(program)
    parent = subprocess.Popen([sys.executable, str(script)], cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)})
    wait_for(lambda: marker.exists() and marker.read_text().strip())
    child = int(marker.read_text())
    parent.kill()
    parent.wait()
    wait_for(lambda: not alive(child))
    store = Store(Path(config.out))
    assert [fit.strategy for fit in store.fits()] == ["toy"] and store.problems() == []
    stood = store.fits()[0].environment, store.results()[0].cost
    rest = toy_config(strategies="toy,head(bonus=2)", baseline="toy")
    outcome = run(rest)
    assert outcome.statuses == {"ok": 4} and outcome.done == 3
    target = next(cell.name for cell in outcome.plan.cells if cell.role == "target")
    assert (store.fit(outcome.plan.fits[0].name).environment, store.cell(target).cost) == stood


def test_a_process_has_the_current_folder_and_variables_of_its_parent(
    toy_config: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not where the fork server was started: folder and variables may have changed since."""
    monkeypatch.chdir(tmp_path)
    config = toy_config(datasets="./tiny", out="here", set="toy.marker=pids")
    assert run(config).statuses == {"ok": 1}
    assert (tmp_path / "pids").is_file() and (tmp_path / "here" / "run.json").is_file()
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    assert run(toy_config(datasets="tiny", out="again", set="toy.bonus=1")).statuses == {"ok": 1}


def test_what_the_fork_server_imports_exists() -> None:
    """The server leaves a module out without a word where it cannot import it."""
    assert [name for name in PRELOAD if importlib.util.find_spec(name) is None] == []


def test_processes_are_spawned_where_a_gpu_is_asked_for() -> None:
    assert best_start_method(ExecutionSettings(device="cuda")) == "spawn"
    assert best_start_method(ExecutionSettings(device="cpu")) == ("forkserver" if sys.platform == "linux" else "spawn")


def test_loaded_libraries_use_the_threads_of_the_job() -> None:
    code = (
        "import faiss, numpy, scipy.linalg, torch\n"
        "from threadpoolctl import threadpool_info\n"
        "from bench.running.process import set_threads\n"
        "set_threads(1)\n"
        "print(torch.get_num_threads(), *(pool['num_threads'] for pool in threadpool_info()))"
    )
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert len(said.split()) > 3 and set(said.split()) == {"1"}


STARTS_FORK_SERVER = """
from bench.config.execution import ExecutionSettings
from bench.running.executors.local import best_start_method
from multiprocessing import forkserver
method = best_start_method(ExecutionSettings(device="cpu"))
try:
    forkserver.ensure_running()
    print(method, "can")
except OSError as error:
    print(method, error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="there is a fork server on Linux")
@pytest.mark.parametrize(("length", "said"), [(75, "forkserver can"), (76, "spawn AF_UNIX path too long")])
def test_processes_are_spawned_where_the_socket_of_a_fork_server_would_have_too_long_a_path(
    length: int, said: str
) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as short:
        temporary = Path(short, "t" * (length - len(short) - 1))
        temporary.mkdir()
        variables = {**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", STARTS_FORK_SERVER]
        answer = subprocess.run(command, env=variables, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == said


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not (state.is_file() and state.read_text().rpartition(")")[2].split()[0] == "Z")
