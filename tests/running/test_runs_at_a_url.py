"""A run at a URL: an object store on loopback holds it, and a put that fails leaves nothing that a reader accepts."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from bench.cli import main
from bench.config.schema import RunConfig
from bench.errors import BenchError, StoreError
from bench.planning.jobs import Job
from bench.records import FitRecord
from bench.running.run import Run, RunResult
from bench.store.answers import answer_records
from bench.store.mirror import Mirror
from bench.store.places import open_store
from bench.store.preferences import judged_sheets
from bench.store.store import Store
from tests.toy_answers import PlantedReader, add_answers
from tests.toy_runs import InProcess, Silent


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return a function that goes on as another machine, with a cache folder of its own."""

    def go(name: str) -> None:
        monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "machines" / name))

    go("first")
    return go


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of a bucket in an object store on loopback."""
    import logging

    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "id",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    fsspec.filesystem("s3", skip_instance_cache=True).mkdir("bucket")
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    yield "s3://bucket"
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    server.stop()


class StopsAfterFirstCell(Silent):
    """Interrupts the run once a cell has ended, as Ctrl-C does."""

    def ended(self, job: Job, status: str, reason: str, seconds: float) -> None:
        super().ended(job, status, reason, seconds)
        if job.kind == "cell":
            raise KeyboardInterrupt


def execute(config: RunConfig, listener: Silent | None = None) -> RunResult:
    return Run.prepare(config).execute(listener or Silent(), InProcess)


def rankings(store: Store) -> dict[str, Any]:
    return {cell.cell: store.ranking(cell.cell).as_run() for cell in store.results()}


def metrics(store: Store) -> dict[str, Any]:
    return {cell.cell: cell.metrics for cell in store.cells()}


def test_an_object_store_holds_a_run_that_another_machine_resumes(
    machine: Callable[[str], None],
    bucket: str,
    toy_config: Callable[..., RunConfig],
    tiny_folder: Callable[[str], Path],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here = toy_config(strategies="frozen,lora", baseline="frozen", model=str(tiny_folder("bert")), budget={"steps": 2})
    url = f"{bucket}/studies/run"
    there = here.replace(out=url)
    assert execute(there, StopsAfterFirstCell()).interrupted
    machine("second")
    jobs = Run.prepare(there).pending()
    assert 0 < len(jobs) < 6
    result = execute(there)
    assert result.exit_code == 0 and result.done == len(jobs)

    local = execute(here)
    machine("third")
    read = open_store(url)
    assert read.problems() == read.missing() == [] and len(read.invocations()) == 2
    assert metrics(read) == metrics(local.store) and len(read.cells()) == 4
    assert rankings(read) == rankings(local.store) and len(read.results()) == 2
    assert not list(read.folder.glob("fits/*/model")), "weights are fetched when they are used"

    assert main(["status", url]) == 0
    assert f"{url}: ended" in capsys.readouterr().out
    assert main(["report", url]) == 0
    assert capsys.readouterr().out.split() == [f"{url}/report.md", f"{url}/report.html"]
    assert main(["compare", url, str(local.store.folder), "--json"]) == 0
    pairs = json.loads(capsys.readouterr().out)["comparisons"]
    differences = [test["difference"] for pair in pairs for test in pair["strata"].values()]
    assert differences and set(differences) == {0.0}
    assert main(["export", url, "--strategy", "lora", "--out", str(tmp_path / "model")]) == 0
    assert (tmp_path / "model" / "model.safetensors").is_file()
    assert {path.parents[1].name[:4] for path in read.folder.glob("fits/*/model/*")} == {"lora"}
    monkeypatch.chdir(tmp_path)
    for arguments in (["recommend", url], ["judge", url], ["similarity", url, "a text", "another"]):
        assert main(arguments) in (0, 1), arguments  # 1: no strategy meets the constraints
    assert (tmp_path / "run-judge.csv").is_file(), "the sheet lies in the current folder"


class Flaky(MemoryFileSystem):  # type: ignore[misc]
    """Keeps objects in memory. A put to a path that ends as `fault` says does something else."""

    protocol = "flaky"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    fault: ClassVar[tuple[str, Callable[[Flaky, str, str], None]] | None] = None

    def put_file(self, lpath: str, rpath: str, **options: Any) -> None:
        if Flaky.fault is not None and rpath.endswith(Flaky.fault[0]):
            Flaky.fault[1](self, lpath, rpath)
        else:
            super().put_file(lpath, rpath, **options)


def fails(files: Flaky, lpath: str, rpath: str) -> None:
    raise ConnectionResetError("the connection is gone")


def is_cut_short(files: Flaky, lpath: str, rpath: str) -> None:
    files.pipe_file(rpath, Path(lpath).read_bytes()[:-9])


@pytest.fixture
def flaky(machine: Callable[[str], None]) -> Iterator[str]:
    """The URL of a run in memory."""
    fsspec.register_implementation("flaky", Flaky, clobber=True)
    yield "flaky://run"
    Flaky.fault = None
    Flaky.store.clear()


def test_what_answer_makes_is_at_the_url(
    machine: Callable[[str], None],
    flaky: str,
    toy_config: Callable[..., RunConfig],
    beir_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bench.readers.locate.reader_of", lambda *given: PlantedReader(beir_folder))
    add_answers(beir_folder)
    config = toy_config(out=flaky, strategies="words,toy(bonus=2.0)", baseline="words")
    execute(config)
    machine("second")
    sheet = tmp_path / "sheet.csv"
    assert main(["answer", flaky, "--reader", "planted", "--sheet", str(sheet)]) == 0
    assert len(answer_records(open_store(flaky))[0]) == 1
    sheet.write_text(sheet.read_text(encoding="utf-8-sig").replace(",\n", ",tie\n"), encoding="utf-8")
    machine("third")
    assert main(["answer", flaky, "--judged", str(sheet)]) == 0
    machine("fourth")
    assert len(judged_sheets(open_store(flaky))[0]) == 1
    (report,) = (file for path, file in Flaky.store.items() if path.endswith("run/report.md"))
    assert "preferred" in report.getvalue().decode()


@pytest.mark.parametrize("does", [fails, is_cut_short])
@pytest.mark.parametrize("file", ["seen.json", "fit.json"])
def test_a_put_that_fails_leaves_nothing_that_a_reader_accepts(
    machine: Callable[[str], None],
    flaky: str,
    toy_config: Callable[..., RunConfig],
    tmp_path: Path,
    file: str,
    does: Callable[[Flaky, str, str], None],
) -> None:
    config = toy_config(out=flaky, set=[f"toy.marker={tmp_path / 'fitted'}"])
    Flaky.fault = (f"/{file}", does)
    if (file, does) != ("fit.json", is_cut_short):
        with pytest.raises(StoreError, match=r"flaky://run.*Run the same command again"):
            execute(config)
    else:
        execute(config)  # an object store puts an object whole or not at all; elsewhere a digest finds the fault
    machine("second")
    read = open_store(flaky)
    assert not read.fits()
    assert bool(read.problems()) == (file == "fit.json" and does is is_cut_short)

    Flaky.fault = None
    machine("first")
    assert execute(config).done == 0
    assert len((tmp_path / "fitted").read_text().split()) == 1, "nothing is fitted again"
    machine("third")
    read = open_store(flaky)
    assert len(read.fits()) == 1 and len(read.cells()) == 1 and read.problems() == []


def test_of_two_machines_that_put_one_record_one_leaves_it_whole(machine: Callable[[str], None], flaky: str) -> None:
    def made_on(name: str) -> Mirror:
        machine(name)
        store = open_store(flaky)
        names = {"fit": "lora-1", "strategy": "lora", "dataset": "toy", "model": "tiny"}
        (store.begin_fit("lora-1") / "model" / "weights").write_text(name)
        store.put_fit(FitRecord(**names, seed=0, status="ok", reason=name))
        assert store.mirror is not None
        return store.mirror

    def read() -> tuple[str, str]:
        machine("reader")
        store = open_store(flaky)
        assert store.problems() == []
        return store.fit("lora-1").reason, (store.artefact("lora-1") / "weights").read_text()

    one, two = made_on("one"), made_on("two")

    def after_the_other(files: Flaky, lpath: str, rpath: str) -> None:
        Flaky.fault = None
        two.push()
        assert read() == ("two", "two")
        files.put_file(lpath, rpath)

    Flaky.fault = ("/fit.json", after_the_other)
    one.push()
    assert read() == ("one", "one")
    made_on("three").push()
    assert read() == ("three", "three")
    kept = sorted(file.getvalue().decode() for path, file in Flaky.store.items() if path.endswith("/weights"))
    assert kept == ["three", "two"], "the files of a replaced record are removed; those of an overtaken put stay"


def test_names_at_a_url_cannot_leave_the_working_copy(machine: Callable[[str], None], flaky: str) -> None:
    files = Flaky()
    for name in ("tuning/../../../outside.json", "cells/../result.json", "answers//x.json", "tuning/.."):
        files.store[f"/run/{name}"] = files.store.get("/run/x") or _object(files)
    store = open_store(flaky)
    assert not store.cells()
    kept = [path.name for path in store.folder.parent.parent.rglob("*") if path.is_file()]
    assert set(kept) <= {".mirror.json", ".mirror.lock"}


def _object(files: Flaky) -> Any:
    files.pipe_file("/elsewhere", b"{}")
    return files.store["/elsewhere"]


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nowhere://bucket/run", "nowhere"),
        ("memory://", "names no folder"),
        ("sftp://me:secret@host/run", "password"),
    ],
)
def test_a_url_that_cannot_hold_a_run_is_refused(machine: Callable[[str], None], url: str, message: str) -> None:
    with pytest.raises(BenchError, match=message) as caught:
        open_store(url)
    assert "secret" not in str(caught.value)
