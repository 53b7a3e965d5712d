"""`serve`: a live page of a run and the same as JSON, from the folder alone, and nothing else from the disk."""

from __future__ import annotations

import json
import os
import platform
import re
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.cli import main
from bench.records import DIGEST, with_digest
from bench.store.cached import CachedStore
from bench.store.live import LiveProgress, live_job
from bench.store.store import FIT_MARK, Store
from bench.watching.curves import CurveReader
from bench.watching.plot import ticks
from bench.watching.report import ReportMaker
from bench.watching.server import WatchServer, watch_server
from bench.watching.snapshot import SnapshotReader
from tests.watching.conftest import BROKE, DONE, HURT, NEXT, WORKS, Get, fit_record


def test_the_json_says_what_runs_where_what_failed_and_what_it_costs(
    watched: Store, training: LiveProgress, get: Get
) -> None:
    for step in (1, 2, 3):
        training.event("step", {"step": step, "total": 5, "loss": 0.9 - step / 10})
    training.event("dev", {"step": 3, "dev": 0.25})
    status = json.loads(get("/status.json")[1])
    assert status["state"] == "running" and 0 <= status["seconds"] < 60
    assert status["planned"]["fits"] == 5 and status["done"]["fits"] == 2
    (job,) = status["running"]
    assert (job["name"], job["host"], job["pid"]) == (WORKS, platform.node(), 123)
    assert (job["stage"], job["done"], job["total"]) == ("training", 3, 5)
    assert (job["loss"], job["dev"]) == (pytest.approx(0.6), 0.25)
    assert [(each["name"], each["log"]) for each in status["failed"]] == [(BROKE, f"logs/{BROKE}.log")]
    assert status["damaged_count"] == 1 and HURT in status["damaged"][0]
    # 30 s for the fit that is there, as much for each of three others; the failed one is done and was charged nothing
    assert (status["charged_seconds"], status["expected_seconds"]) == (30, 120)
    assert (status["usd"], status["expected_usd"]) == (pytest.approx(0.03), pytest.approx(0.12))

    curves = {curve["fit"]: curve for curve in json.loads(get("/curves.json")[1])["fits"]}
    assert list(curves) == [WORKS, DONE]
    assert curves[DONE]["loss"][:2] == [[1, 1.0], [2, 0.5]] and curves[DONE]["budget"] == curves[WORKS]["budget"]
    assert curves[WORKS]["dev"] == [[3, 0.25]] and curves[WORKS]["status"] == "running"


def test_the_version_changes_when_something_happens_and_only_then(training: LiveProgress, get: Get) -> None:
    versions = []
    for happens in (True, False, True):
        if happens:
            training.event("step", {"step": len(versions) + 1, "total": 5, "loss": 0.5})
        versions.append(json.loads(get("/status.json")[1])["version"])
    assert versions[0] == versions[1] != versions[2]


def test_the_page_escapes_everything_and_asks_no_other_server(watched: Store, training: LiveProgress, get: Get) -> None:
    training.event("step", {"step": 2, "total": 5, "loss": 0.5})
    answer, page = get("/")
    assert answer.status == 200 and 'http-equiv="refresh"' in page
    assert "<script>document" not in page and "<img" not in page and "&lt;img src=x" in page
    assert re.findall(r"(?:src|href)=\"(?!data:|status|curves|logs|#)[^\"]*", page) == []
    assert f'href="logs/{BROKE}.log"' in page and "step 2/5" in page and platform.node() in page
    assert "about 1 min 30 s" in page and "about 2 min 00 s" in page, "the cost that is left, and that of the whole run"
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'") and "unsafe" not in policy
    head, empty = get("/", "HEAD")
    assert head.headers["Content-Length"] and empty == ""


UNSERVED = (
    "/run.json", "/../run.json", "/logs/../run.json", "/logs/%2e%2e/run.json", "/logs/..%2frun.json",
    "/logs/%2e%2e%5crun.json.log", "/logs//etc/passwd", "/logs/link.log", "/logs/folder.log", "/logs/note.txt",
    "/logs/%00.log", "//etc/passwd", "/%ff", "/report.html", "/.lock",
)  # fmt: skip


def test_nothing_but_logs_can_be_read(watched: Store, get: Get, tmp_path: Path) -> None:
    logs = watched.folder / "logs"
    (tmp_path / "secret").write_text("secret")
    (logs / "link.log").symlink_to(tmp_path / "secret")
    (logs / "folder.log").mkdir()
    (logs / "note.txt").write_text("secret")
    (watched.folder / "report.html").symlink_to(tmp_path / "secret")
    for path in UNSERVED:
        answer, content = get(path)
        assert answer.status in (400, 404), path
        assert "secret" not in content and "invocations" not in content, path
    assert get(f"/logs/{BROKE}.log")[1] == "a traceback\n"


def test_logs_behind_a_link_stay_unread(watched: Store, get: Get, tmp_path: Path) -> None:
    (watched.folder / "logs").rename(tmp_path / "elsewhere")
    (watched.folder / "logs").symlink_to(tmp_path / "elsewhere")
    assert get(f"/logs/{BROKE}.log")[0].status == 404


REQUESTS = (
    ("localhost:9000", "GET", 200), ("127.0.0.1:1", "GET", 200), ("[::1]:8421", "GET", 200),
    ("evil.example", "GET", 403), ("localhost.evil.example:8421", "GET", 403), ("", "GET", 403),
    ("[", "GET", 403), ("localhost", "POST", 405), ("localhost", "DELETE", 405),
)  # fmt: skip


def test_only_reading_under_a_known_host_is_answered(watched: Store, get: Get) -> None:
    for host, method, status in REQUESTS:
        answer, content = get("/status.json", method, host)
        assert (answer.status, "version" in content) == (status, status == 200), (host, method)


def test_a_run_that_has_not_begun_or_whose_file_is_damaged_is_named(get: Get, tmp_path: Path) -> None:
    assert json.loads(get("/status.json")[1])["state"] == "waiting"
    assert "holds no run yet" in get("/")[1]
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text("[")
    (tmp_path / "run" / "run.previous.json").write_text("[")
    assert "damaged" in json.loads(get("/status.json")[1])["message"] and get("/")[0].status == 200


ODD_COSTS: Any = ({"fit_seconds": "30"}, {"fit_seconds": [1]}, {"fit_seconds": 10**400}, {"fit_seconds": float("inf")})
ODD_LIMITS: Any = (5, "5 steps", {"steps": "5"}, {"steps": float("nan")}, None)
ODD_CALLS: Any = (
    {"started": 5}, {"started": "now"}, {"started": "2026-01-01"}, {"command": "bench"},
    {"config": {"usd_per_hour": "2"}},
    {"plan": {"to_do": "5"}}, {"planned": {"fits": 5}}, {"planned": {"others": []}}, {"config": None},
    {"replaced": 5},
)  # fmt: skip


def test_odd_values_under_a_valid_digest_cost_no_page(watched: Store, get: Get) -> None:
    mark, run = watched.fit_folder(DONE) / FIT_MARK, watched.folder / "run.json"
    record, (call,) = json.loads(mark.read_text()), watched.invocations()
    odd = [(mark, record | {"cost": each}) for each in ODD_COSTS]
    odd += [(mark, record | {"budget": {"limits": each}}) for each in ODD_LIMITS]
    odd += [(run, {"invocations": [call | each]}) for each in ODD_CALLS]
    odd += [(run, {"invocations": [each]}) for each in (5, {})]
    for path, values in odd:
        sound = path.read_text()
        path.write_text(json.dumps(with_digest({key: each for key, each in values.items() if key != DIGEST})))
        os.utime(path, (1, len(str(values))))
        assert [get(address)[0].status for address in ("/", "/status.json")] == [200, 200], values
        path.write_text(sound)


@pytest.mark.parametrize("name", [".lock", "run.json", f".progress/{WORKS}.json", f"fits/{DONE}/{FIT_MARK}"])
def test_a_pipe_in_the_folder_is_not_waited_for(name: str, watched: Store, training: LiveProgress, get: Get) -> None:
    (watched.folder / name).unlink()
    os.mkfifo(watched.folder / name)
    assert [get(address)[0].status for address in ("/", "/status.json")] == [200, 200]


def test_too_many_connections_are_refused_until_one_ends(
    watched: Store, server: WatchServer, get: Get, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "free", threading.BoundedSemaphore(1))
    with socket.create_connection((server.server_name, server.server_port)):
        assert get("/status.json")[0].status == 503
    deadline = time.monotonic() + 20
    while get("/status.json")[0].status != 200:
        assert time.monotonic() < deadline, "its place is not free again"


def test_a_number_that_json_has_not_is_no_progress(watched: Store, training: LiveProgress, get: Get) -> None:
    training.event("step", {"step": 1, "total": 5, "loss": 0.5})
    path = watched.folder / ".progress" / f"{WORKS}.json"
    for value in ("NaN", "Infinity"):
        path.write_text(path.read_text().replace("0.5", value))
        assert [get(address)[0].status for address in ("/", "/status.json", "/curves.json")] == [200, 200, 200]


def test_a_record_that_is_just_being_written_is_no_damage(watched: Store) -> None:
    store = CachedStore(watched.folder)
    (problem,) = store.unreadable()
    before = store.fits()
    folder = store.begin_fit(NEXT)
    (folder / FIT_MARK).write_text('{"fit": ')
    assert store.unreadable() == [problem]
    watched.put_fit(fit_record(NEXT))
    after = store.fits()
    assert [fit.fit for fit in after if fit not in before] == [NEXT]
    assert all(any(fit is same for same in after) for fit in before), "records that have not changed are not read again"


def test_curves_that_take_too_long_wait_for_the_next_snapshot(watched: Store) -> None:
    store = CachedStore(watched.folder)
    reader = CurveReader(store)
    assert reader.read(store.fits(), [], seconds=-1) == ([], 1)
    (curve,), left = reader.read(store.fits(), [])
    assert (curve.fit, left) == (DONE, 0)
    assert reader.read(store.fits(), [], seconds=-1) == ([curve], 0)


def test_what_a_job_says_of_itself_stays_small_and_never_stops_the_job(
    watched: Store, training: LiveProgress, monkeypatch: pytest.MonkeyPatch
) -> None:
    for step in range(1, 1001):
        monkeypatch.setattr("bench.store.live._WRITE_SECONDS", 60.0 if step < 1000 else 0.0)
        training.event("step", {"step": step, "total": 1000, "loss": float("nan") if step == 500 else 1.0})
    job = live_job(watched.folder, WORKS)
    (curve,), _ = CurveReader(watched).read([], [job])
    assert len(curve.loss) <= 100 and curve.loss[0][0] < 20 and curve.loss[-1] == (1000, 1.0)
    assert len(job.loss) <= 200 and job.loss[0][0] == 1 and job.loss[-1][0] == 1000
    assert not any(step == 500 for step, _ in job.loss)
    (watched.folder / ".progress" / f"{WORKS}.json").write_text("half")
    assert live_job(watched.folder, WORKS).host == ""
    training.remove()
    (watched.folder / ".progress").rmdir()
    (watched.folder / ".progress").write_text("no folder")
    training.event("stage", {"name": "save"})


@pytest.fixture
def maker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ReportMaker]:
    """Return a function that makes a maker of reports from a program, which finds the folder in `sys.argv[-1]`."""
    monkeypatch.setattr("bench.watching.report._LEAST_PAUSE", 0.0)
    monkeypatch.setattr("bench.watching.report._PAUSE", 0.0)
    return lambda program: ReportMaker(tmp_path, tmp_path / "scratch", command=[sys.executable, "-S", "-c", program])


def wait_for(maker: ReportMaker, key: str, cells: int) -> None:
    deadline = time.monotonic() + 20
    while maker.state.is_making and time.monotonic() < deadline:
        time.sleep(0.005)
        maker.update(key, cells)


def test_the_report_is_made_again_when_results_have_changed(maker: Callable[[str], ReportMaker]) -> None:
    write = "import sys; open(sys.argv[-1] + '/report.html', 'w').write('report')"
    reports = maker(write)
    reports.update("nothing", 0)
    assert not reports.state.is_making, "there is no result yet"
    reports.update("one", 1)
    assert reports.state.is_making and reports.page is None
    wait_for(reports, "one", 1)
    first = reports.page
    assert first is not None and first.read_text() == "report" and reports.state.cells == 1
    reports.update("one", 1)
    assert not reports.state.is_making, "nothing has changed"
    reports.update("two", 2)
    assert reports.page == first, "the earlier one stays until the newer one is there"
    wait_for(reports, "two", 2)
    assert reports.page not in (None, first) and not first.exists() and reports.state.cells == 2


def test_a_report_that_fails_says_why_and_ends_with_the_server(maker: Callable[[str], ReportMaker]) -> None:
    reports = maker("raise SystemExit('no baseline')")
    reports.update("one", 1)
    wait_for(reports, "one", 1)
    assert reports.page is None and reports.state.problem == "no baseline"
    reports = maker("import time; time.sleep(60)")
    reports.update("one", 1)
    reports.close()
    assert not reports.state.is_making


def test_the_report_that_the_run_wrote_at_its_end_is_shown(watched: Store, get: Get) -> None:
    watched.put_invocation(
        watched.invocations()[-1] | {"ended": "now", "seconds": 5, "exit_code": 1}, replace_last=True
    )
    (watched.folder / "report.html").write_text("own")
    answer, content = get("/report.html")
    assert content == "own" and answer.headers["Content-Security-Policy"].startswith("sandbox")
    assert json.loads(get("/status.json")[1])["report"]["made"]
    found = SnapshotReader(watched.folder).snapshot()
    assert found.overview is not None and found.overview.state == "ended"


def test_what_listens_beyond_this_machine_is_said(tmp_path: Path) -> None:
    for host, is_loopback in (("127.0.0.1", True), ("localhost", True), ("0.0.0.0", False)):
        with watch_server(tmp_path, host, reports=False) as server:
            assert server.is_loopback is is_loopback and f":{server.server_port}/" in server.url


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 60, [0, 20, 40, 60]),
        (0.5, 0.5, [0.5, 0.6]),
        (0.43, 0.61, [0.4, 0.45, 0.5, 0.55, 0.6, 0.65]),
    ],
)
def test_ticks_are_round_and_enclose_the_values(low: float, high: float, expected: list[float]) -> None:
    found = ticks(low, high)
    assert found[0] <= low and found[-1] >= high and found == pytest.approx(expected)


def test_the_command_says_where_the_page_is_and_who_can_read_it(
    watched: Store, server: WatchServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(_: WatchServer) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(WatchServer, "serve_forever", stop)
    assert main(["serve", str(watched.folder), "--port", "0"]) == 0
    printed = capsys.readouterr()
    assert "http://127.0.0.1:" in printed.out and "password" not in printed.err
    assert main(["serve", str(watched.folder), "--port", "0", "--json"]) == 0
    addresses = json.loads(capsys.readouterr().out)
    assert addresses["state"] == f"{addresses['page']}status.json"
    assert main(["serve", str(watched.folder / "later"), "--host", "0.0.0.0", "--port", "0", "--no-report"]) == 0
    printed = capsys.readouterr()
    assert "there is no password" in printed.err and "not there yet" in printed.err
    assert main(["serve", str(watched.folder), "--port", str(server.server_port)]) == 2
    assert "--port 0 takes a free one" in capsys.readouterr().err
