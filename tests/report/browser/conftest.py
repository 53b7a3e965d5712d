"""A headless browser driven over its debugging pipe, and a report whose data hold markup and scripts."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.data.locate import load_dataset
from bench.report import write_report

QUERIES = 160
"""As many as the planted cells have."""
HOSTILE = "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"


def write_hostile(folder: Path) -> Path:
    """Write a BEIR folder named `domain` whose texts hold markup and scripts."""
    folder = folder / "data" / "domain"
    (folder / "qrels").mkdir(parents=True)
    with (folder / "corpus.jsonl").open("w", encoding="utf-8") as stream:
        for number in range(5):
            stream.write(json.dumps({"_id": f"d{number}", "title": "", "text": f"document {number} {HOSTILE}"}) + "\n")
    with (folder / "queries.jsonl").open("w", encoding="utf-8") as stream:
        for number in range(QUERIES):
            text = f"question {number} {HOSTILE} \u2028"
            stream.write(json.dumps({"_id": f"q{number:03}", "text": text}) + "\n")
    rows = [f"q{number:03}\td{number % 2}\t1" for number in range(QUERIES)]
    lines = ["query-id\tcorpus-id\tscore", *rows]
    (folder / "qrels" / "test.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture
def hostile_folder(tmp_path: Path) -> Path:
    """A dataset whose texts hold markup and scripts."""
    return write_hostile(tmp_path)


@pytest.fixture(scope="session")
def hostile_report(
    tmp_path_factory: pytest.TempPathFactory,
    planter_type: type[Any],
    plant: Callable[..., Any],
    untrained: Callable[..., Any],
) -> Path:
    """The HTML report of a run over two budgets whose data and strategy names hold markup and scripts."""
    root = tmp_path_factory.mktemp("hostile")
    folder = write_hostile(root)
    fingerprint = load_dataset(str(folder)).fingerprint
    made = planter_type(root / "run")
    made.invoke(config={"baseline": "base", "datasets": ["domain"], "data_dir": str(folder.parent)})
    plants = {
        "base": untrained(probes={"web": 0.0}),
        "big": plant(gains=(0.1,), dev_gain=0.1, probes={"web": -0.05}),
        "evil<img src=x onerror=\"document.title='owned'\">": plant(),
    }
    made.run(plants, seen=0.3, groups=4, fingerprint=fingerprint)
    fewer = {"big": plant(gains=(0.05,), dev_gain=0.1)}
    made.run(fewer, limits={"steps": 50}, seen=0.3, fingerprint=fingerprint)
    write_report(made.store, root / "out")
    return root / "out" / "report.html"


class Page:
    """One page in a headless browser, driven over Chromium's debugging pipe."""

    def __init__(self, process: subprocess.Popen[bytes], write: int, read: int) -> None:
        self._process, self._write, self._read = process, write, read
        self._next, self._buffer = 0, b""
        self._session: str | None = None
        self.requests: list[str] = []
        self.errors: list[str] = []

    def call(self, method: str, timeout: float = 60, **parameters: Any) -> dict[str, Any]:
        """Send a command and wait for its answer; events on the way are noted."""
        self._next += 1
        message = {"id": self._next, "method": method, "params": parameters}
        if self._session and not method.startswith("Target."):
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        limit = time.monotonic() + timeout
        while True:
            answer = self._receive(limit)
            if answer.get("id") == self._next:
                assert "error" not in answer, answer
                return answer["result"]

    def _receive(self, limit: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], max(0.0, limit - time.monotonic()))
            assert ready, "the browser does not answer"
            self._buffer += os.read(self._read, 1 << 20)
        raw, _, self._buffer = self._buffer.partition(b"\0")
        event = json.loads(raw)
        match event.get("method"):
            case "Network.requestWillBeSent":
                self.requests.append(event["params"]["request"]["url"])
            case "Runtime.exceptionThrown":
                self.errors.append(str(event["params"]["exceptionDetails"]))
            case "Log.entryAdded":
                self.errors.append(str(event["params"]["entry"].get("text")))
            case "Runtime.consoleAPICalled" if event["params"]["type"] in ("error", "warning", "assert"):
                self.errors.append(str(event["params"]["args"]))
        return event

    def open(self, path: Path) -> Page:
        """Show a file and wait until its scripts have run."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable")
        self.requests, self.errors = [], []
        self.call("Page.navigate", url=path.as_uri())
        for _ in range(1200):
            if self.eval("document.readyState === 'complete' && location.protocol === 'file:'"):
                return self
            time.sleep(0.05)
        raise AssertionError("the page does not load")

    def eval(self, script: str) -> Any:
        """Evaluate JavaScript and return its value."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def texts(self, selector: str) -> list[str]:
        """Return the text of every element that matches."""
        return self.eval(f"[...document.querySelectorAll({json.dumps(selector)})].map((e) => e.textContent.trim())")


@pytest.fixture(scope="session")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A headless Chromium; the test is skipped where none is installed."""
    program = next(
        (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
    )
    if program is None or os.name != "posix":
        pytest.skip("no Chromium here")
    profile = tmp_path_factory.mktemp("profile")
    command = [
        program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
        f"--user-data-dir={profile}", "--remote-debugging-pipe",
    ]  # fmt: skip
    to_read, to_write = os.pipe()
    from_read, from_write = os.pipe()
    # Chromium reads commands from descriptor 3 and answers on 4.
    launcher = (
        "import fcntl, os, sys; r, w = (fcntl.fcntl(int(fd), fcntl.F_DUPFD, 64) for fd in sys.argv[1:3]); os.dup2(r, "
        "3); os.dup2(w, 4); os.execvp(sys.argv[3], sys.argv[3:])"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", launcher, str(to_read), str(from_write), *command],
        pass_fds=(to_read, from_write),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(to_read)
    os.close(from_write)
    try:
        yield Page(process, to_write, from_read)
    finally:
        process.terminate()
        process.wait(30)
        os.close(to_write)
        os.close(from_read)
