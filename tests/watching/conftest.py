"""A run folder in the middle of a run, made by hand, and a server that shows it."""

from __future__ import annotations

import http.client
import os
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bench.records import CurvePoint, FitRecord
from bench.store.lease import Lease
from bench.store.live import LiveJob, LiveProgress
from bench.store.lock import locked
from bench.store.store import FIT_MARK, Store
from bench.watching import snapshot
from bench.watching.server import WatchServer, watch_server

HOSTILE = "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
DONE, NEXT, WORKS, BROKE, HURT = (f"{name}--tiny--5-steps--s{seed}--{seed}f" for name, seed in (
    ("lora", 0), ("lora", 1), ("full", 0), ("dora", 0), ("vera", 0)))  # fmt: skip
Get = Callable[..., tuple[http.client.HTTPResponse, str]]


def fit_record(name: str, **changes: object) -> FitRecord:
    values = {
        "fit": name, "strategy": name.partition("--")[0], "dataset": "tiny", "model": "base", "seed": 0,
        "status": "ok", "budget": {"limits": {"steps": 5}}, "cost": {"fit_seconds": 30.0},
    }  # fmt: skip
    return FitRecord(**(values | changes))  # type: ignore[arg-type]


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Store]:
    """One fit of five is done, one trains, one has failed, the record of one is damaged, and one is still to come."""
    store = Store(tmp_path / "run")
    store.put_invocation(
        {
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": ["bench", "run", HOSTILE],
            "config": {"baseline": "frozen", "usd_per_hour": 3.6},
            "plan": {"fits": 5, "cells": 0, "to_do": 5},
            "planned": {"fits": [DONE, NEXT, WORKS, BROKE, HURT], "cells": []},
        }
    )
    curve = [CurvePoint(step=step, seconds=step, loss=1 / step, dev=step / 10) for step in range(1, 6)]
    for name in (DONE, HURT):
        store.begin_fit(name)
        store.put_fit(fit_record(name), curve)
    mark = store.fit_folder(HURT) / FIT_MARK
    mark.write_text(mark.read_text()[:100])
    os.utime(mark, (1, 1))
    store.begin_fit(BROKE)
    store.put_fit(fit_record(BROKE, status="failed", reason=f"ValueError: {HOSTILE}", cost={}))
    (store.folder / "logs").mkdir()
    (store.folder / "logs" / f"{BROKE}.log").write_text("a traceback\n")
    Lease.grant(store.folder, WORKS)
    with locked(store.folder):
        yield store


@pytest.fixture
def training(watched: Store, monkeypatch: pytest.MonkeyPatch) -> LiveProgress:
    """What the fit at work says of itself. Every event is written."""
    monkeypatch.setattr("bench.store.live._WRITE_SECONDS", 0.0)
    job = LiveJob(
        name=WORKS, title="fit full on tiny", kind="fit", strategy="full", dataset="tiny", model="base", seed=0
    )
    job.limits = {"steps": 5.0}
    return LiveProgress(watched.folder, job, pid=123)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WatchServer]:
    """A server of the folder `run`, which may be missing. It reads the folder for each request and makes no reports."""
    monkeypatch.setattr(snapshot, "_SECONDS", -1.0)
    with watch_server(tmp_path / "run", reports=False) as served:
        thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield served
        served.shutdown()
        thread.join()


@pytest.fixture
def get(server: WatchServer) -> Get:
    """Return a function that requests a path just as it is written, and returns answer and content."""

    def request(path: str, method: str = "GET", host: str = "localhost") -> tuple[http.client.HTTPResponse, str]:
        connection = http.client.HTTPConnection(server.server_name, server.server_port, timeout=10)
        connection.putrequest(method, path, skip_host=True)
        if host:
            connection.putheader("Host", host)
        connection.endheaders()
        answer = connection.getresponse()
        content = answer.read().decode()
        connection.close()
        return answer, content

    return request
