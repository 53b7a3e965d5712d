"""A run at a URL: an object store on loopback holds it, and a put that fails leaves nothing that a reader accepts."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, ClassVar
from urllib.request import Request, urlopen

import fsspec
import pandas as pd
import pytest
import torch
from fsspec.implementations.memory import MemoryFileSystem

from bench.cli import main
from bench.config.execution import ExecutionSettings
from bench.config.schema import RunConfig
from bench.errors import BenchError, StoreError
from bench.planning.jobs import Job
from bench.records import FitRecord
from bench.report import open_run
from bench.running.executors import Event, ExecutorFactory, Handle
from bench.running.executors.local import LocalExecutor
from bench.running.run import Run, RunResult
from bench.store.answers import AnswerRecord, answer_records, per_query_answers, put_answers
from bench.store.checkpoint_mark import CHECKPOINTS, CheckpointMark
from bench.store.checkpoints import CheckpointFolder
from bench.store.mirror import Mirror
from bench.store.object_store import ObjectStore
from bench.store.places import open_store
from bench.store.preferences import judged_sheets
from bench.store.store import Store
from tests.interrupted_strategies import interrupted_strategy
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
    with urlopen(Request(f"http://{host}:{port}/moto-api/reset", method="POST")):
        pass  # all servers of a process share what they hold
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


class AtOnce(ThreadPoolExecutor):
    """Ends each task before `submit` returns: in one process, files that a put reads would count as those of a fit."""

    def submit(self, *task: Any, **options: Any) -> Future[Any]:
        future = super().submit(*task, **options)
        wait([future])
        return future


def execute(
    config: RunConfig, listener: Silent | None = None, executor: ExecutorFactory | None = InProcess
) -> RunResult:
    return Run.prepare(config).execute(listener or Silent(), executor)


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
    monkeypatch.setattr("bench.running.pushing.ThreadPoolExecutor", AtOnce)
    assert execute(there, StopsAfterFirstCell()).interrupted
    machine("second")
    jobs = Run.prepare(there).pending()
    assert 0 < len(jobs) < 6
    result = execute(there)
    assert result.exit_code == 0 and result.done == len(jobs), result.failed

    local = execute(here)
    assert local.exit_code == 0, local.failed
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


def test_a_fit_that_is_made_again_leaves_no_cell_of_the_earlier_one(
    machine: Callable[[str], None], bucket: str, toy_config: Callable[..., RunConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.running.pushing.ThreadPoolExecutor", AtOnce)
    config = toy_config(strategies="words,toy", out=f"{bucket}/studies/run")
    assert execute(config).exit_code == 0

    class StopsAfterFit(Silent):
        def ended(self, job: Job, status: str, reason: str, seconds: float) -> None:
            super().ended(job, status, reason, seconds)
            if job.kind == "fit" and job.spec.strategy == "toy":
                raise KeyboardInterrupt

    assert execute(config.replace(overwrite="always"), StopsAfterFit()).interrupted
    for name in ("this", "second"):
        if name == "second":
            machine(name)
        assert {job.spec.strategy for job in Run.prepare(config).pending()} == {"toy"}, name


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


@pytest.fixture
def study_model(tiny_folder: Callable[[str], Path]) -> Path:
    """The base model of studies."""
    return tiny_folder("bert")


def test_another_machine_extends_a_study(
    machine: Callable[[str], None],
    bucket: str,
    configure: Callable[..., RunConfig],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bench.running.executors.local.EXECUTOR", InProcess)
    url, file = f"{bucket}/studies/run", tmp_path / "study.yaml"
    file.write_text(json.dumps(configure(out=url).to_dict()))
    trials: list[list[dict[str, Any]]] = []
    for name, count in (("first", 1), ("second", 2), ("third", 2)):
        machine(name)
        assert main(["tune", "--config", str(file), "--tune-trials", str(count)]) == 0
        (study,) = open_store(url).studies()
        trials.append([trial.model_dump() for trial in study.trials])
    one, two, read = trials
    assert len(two) == 2 and one == two[:1] and read == two, "a trial is made once"


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


def test_weights_that_are_damaged_at_the_url_are_fetched_once_they_are_whole(
    machine: Callable[[str], None], bucket: str
) -> None:
    url = f"{bucket}/run"
    store = open_store(url)
    weights = store.begin_fit("lora-1") / "model" / "weights"
    weights.write_bytes(b"whole")
    (weights.parent / "config").write_bytes(b"{}")
    names = {"fit": "lora-1", "strategy": "lora", "dataset": "toy", "model": "tiny"}
    store.put_fit(FitRecord(**names, seed=0, status="ok"))
    assert store.mirror is not None
    store.mirror.push()
    files, root = fsspec.url_to_fs(url)
    (place,) = (path for path in files.find(root) if path.endswith("/weights"))

    for name, content in (("cut", b"who"), ("changed", b"WHOLE"), ("missing", None)):
        machine(name)
        files.rm_file(place) if content is None else files.pipe_file(place, content)
        store = open_store(url)
        with pytest.raises(StoreError, match=rf"^s3://{place} is missing or damaged"):
            store.artefact("lora-1")
        assert [path.name for path in store.fit_folder("lora-1").iterdir()] == ["fit.json"], "no part of it stays"
        assert not store.has_artefact("lora-1"), "a run makes the fit again"
        files.pipe_file(place, b"whole")
        assert (store.artefact("lora-1") / "weights").read_bytes() == b"whole"

    for fault in ("who", None):  # what an earlier version has fetched, or a full disk has left
        weights = store.artefact("lora-1") / "weights"
        weights.unlink() if fault is None else weights.write_text(fault)
        assert not store.fits()
        assert store.mirror is not None
        store.mirror.fetch_weights("lora-1")
        assert weights.read_bytes() == b"whole"
        weights.unlink() if fault is None else weights.write_text(fault)
        store = open_store(url)
        assert len(store.fits()) == 1 and (store.artefact("lora-1") / "weights").read_bytes() == b"whole"

    store.begin_fit("lora-1")
    (store.fit_folder("lora-1") / "model" / "weights").write_bytes(b"again")
    store.put_fit(FitRecord(**names, seed=0, status="ok", reason="again"))
    (store.fit_folder("lora-1") / "model" / "weights").write_bytes(b"cut")
    open_store(url)
    assert (store.fit_folder("lora-1") / "model").is_dir(), "what was not put yet is left alone"


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
        ("memory://", "^memory:// names no folder: write a path, such as memory://bucket/run$"),
        ("s3:/bucket/run", "^s3:/bucket/run looks like a URL with one slash missing: write s3://bucket/run, or ./s3:/"),
        ("sftp://me:secret@host/run", "password"),
    ],
)
def test_a_url_that_cannot_hold_a_run_is_refused(machine: Callable[[str], None], url: str, message: str) -> None:
    with pytest.raises(BenchError, match=message) as caught:
        open_store(url)
    assert "secret" not in str(caught.value)


def test_a_reader_refuses_one_slash_too_and_leaves_folders_with_a_colon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, toy_config: Callable[..., RunConfig]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BenchError, match="write s3://bucket/run, or "):
        open_run(Path("s3:/bucket/run"))
    execute(toy_config(strategies="toy", baseline="toy", out="./s3:/bucket/run"))
    store = open_run(Path("s3:/bucket/run"))
    (cell,) = store.cells()
    assert len(store.per_query(cell.cell)) > 0
    record = AnswerRecord(
        name="a", dataset="d", split="test", reader="r", reader_fingerprint="f", prompt={}, settings={}
    )
    put_answers(store, record, pd.DataFrame({"context": ["none"], "query": ["q"]}))
    assert len(per_query_answers(store, record)) == 1
    assert open_store("c:/run").folder == Path("c:/run"), "a drive is no protocol"


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (
            type("EndpointConnectionError", (Exception,), {})("no"),
            r"no\). Check AWS_ENDPOINT_URL and the network, then run",
        ),
        (type("NoCredentialsError", (Exception,), {})(), r"AWS_SECRET_ACCESS_KEY or a profile, then run"),
        (FileNotFoundError("The specified bucket does not exist"), r"exist\). Create the bucket first, then run"),
        (ConnectionResetError("gone"), r"ConnectionResetError: gone\). Run"),
    ],
)
def test_a_fault_of_configuration_says_what_to_do(
    flaky: str, monkeypatch: pytest.MonkeyPatch, error: Exception, remedy: str
) -> None:
    def fail(*arguments: Any, **options: Any) -> None:
        raise error

    monkeypatch.setattr(Flaky, "cat_ranges", fail)
    with pytest.raises(StoreError, match=rf"^flaky://run: reading failed \(.*{remedy} the same command again$"):
        ObjectStore(flaky, Path("copy")).read(["fits/a/fit.json"])


# --- checkpoints within a fit -----------------------------------------------------------------------------------------

WAITS = interrupted_strategy(
    "waits",
    """
    while os.path.exists(os.path.join(os.environ["WAITS"], str(step))):
        time.sleep(0.02)
    """,
)
"""It waits before a step as long as there is a file of this number."""


@pytest.fixture
def waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder whose files make a fit of `waits` wait. The fit writes a checkpoint after each step."""
    (tmp_path / "waits.py").write_text(WAITS, encoding="utf-8")
    folder = tmp_path / "waits"
    folder.mkdir()
    monkeypatch.setenv("WAITS", str(folder))
    monkeypatch.setattr("bench.running.pushing._LOOK_SECONDS", 0.02)
    return folder


@pytest.fixture
def waiting(
    waits: Path, toy_config: Callable[..., RunConfig], tiny_folder: Callable[[str], Path], tmp_path: Path
) -> RunConfig:
    """A run of such a fit."""
    return toy_config(
        strategies="waits", baseline="waits", model=str(tiny_folder("bert")), budget={"steps": 6}, threads=1,
        strategy_files=[str(tmp_path / "waits.py")], checkpoint_every=0.001, set={"train.batch_size": "4"},
        probes="none",
    )  # fmt: skip


class MachineLost(BaseException):
    """Stands for the end of the machine on which the command works."""


def interrupting(error: type[BaseException], happens: Callable[[], bool]) -> ExecutorFactory:
    """Return an executor that raises once, when something has happened. The processes of its jobs end with it."""
    raised = list[bool]()

    class Interrupting(LocalExecutor):
        def poll(self, timeout: float) -> Sequence[Event]:
            if not raised and happens():
                raised.append(True)
                raise error
            return super().poll(0.1)

    return Interrupting


def at_the_url(url: str) -> list[str]:
    """Return the checkpoints at a URL: the names of their objects."""
    files, root = fsspec.url_to_fs(f"{url}/{CHECKPOINTS}")
    files.invalidate_cache()
    try:
        return sorted(name.removeprefix(root).lstrip("/") for name in files.find(root))
    except FileNotFoundError:
        return []


def is_marked(url: str) -> bool:
    return any(name.endswith("/checkpoint.json") for name in at_the_url(url))


def weights(store: Store) -> dict[str, str]:
    (fit,) = store.fits()
    return {name: file.sha256 for name, file in fit.files.items() if name.startswith("model/")}


@pytest.mark.skipif(sys.platform == "win32", reason="an interrupt ends the processes of jobs by signals")
def test_another_machine_resumes_an_interrupted_fit(
    machine: Callable[[str], None], bucket: str, waiting: RunConfig, waits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"{bucket}/studies/run"
    there = waiting.replace(out=url)
    (waits / "4").touch()
    with pytest.raises(MachineLost):
        execute(there, executor=interrupting(MachineLost, lambda: is_marked(url)))

    machine("second")
    folder = open_store(url).folder
    assert not (folder / CHECKPOINTS).exists(), "a command that reads needs none"
    (waits / "4").unlink()
    (waits / "6").touch()
    monkeypatch.setattr("bench.running.pushing._LOOK_SECONDS", 1000.0)

    def is_far() -> bool:
        marks = [CheckpointMark.of(mark.read_bytes()) for mark in folder.glob(f"{CHECKPOINTS}/*/checkpoint.json")]
        return any(mark is not None and mark.step >= 4 for mark in marks)

    listener = Silent()
    assert execute(there, listener, interrupting(KeyboardInterrupt, is_far)).interrupted
    assert min(values["step"] for _, name, values in listener.events if name == "step") > 1, "it resumes"
    assert any(
        values["text"].startswith("resumes after step ") for _, name, values in listener.events if name == "note"
    )
    assert len(at_the_url(url)) == 2, "the newest state alone is there, and its mark"

    machine("third")
    (waits / "6").unlink()
    result = execute(there, executor=None)
    assert result.exit_code == 0
    assert at_the_url(url) == [], "a complete fit needs none"
    (fit,) = result.store.fits()
    assert fit.environment["resumed_after_step"] >= 4
    assert not [note for note in fit.report["notes"] if "began again" in note]
    assert weights(result.store) == weights(execute(waiting, executor=None).store)


class Later(InProcess):
    """Reports that a job has started before it runs it."""

    def __init__(self, store: Store, execution: ExecutionSettings) -> None:
        super().__init__(store, execution)
        self.jobs: list[Job] = []

    def submit(self, job: Job) -> Handle:
        self.jobs.append(job)
        self.events.append(Event(job.name, "started"))
        return job.name

    def poll(self, timeout: float) -> Sequence[Event]:
        if not self.events:
            super().submit(self.jobs.pop(0))
            del self.events[0]  # `started`, which it has reported
        return super().poll(timeout)


def test_a_checkpoint_that_cannot_be_put_is_named_once_and_the_run_goes_on(
    machine: Callable[[str], None], flaky: str, waiting: RunConfig, waits: Path
) -> None:
    failed = list[str]()

    def fails_twice(files: Flaky, lpath: str, rpath: str) -> None:
        failed.append(rpath)
        (waits / str(len(failed) + 2)).unlink(missing_ok=True)
        fails(files, lpath, rpath)

    for step in ("3", "4"):
        (waits / step).touch()
    Flaky.fault = (".pt", fails_twice)
    listener = Silent()
    assert execute(waiting.replace(out=flaky), listener, Later).exit_code == 0
    assert len(failed) >= 2
    assert sum(reason.count("not put yet: checkpoint of waits") for _, _, reason in listener.ended_jobs) == 1
    assert at_the_url(flaky) == []
    machine("second")
    read = open_store(flaky)
    assert len(read.fits()) == 1 and read.problems() == []


@pytest.fixture
def on_machine(machine: Callable[[str], None], flaky: str) -> Callable[[str], tuple[Mirror, CheckpointFolder]]:
    """Return a function that goes on as another machine, and returns its mirror and the checkpoints of a fit there."""

    def go(name: str) -> tuple[Mirror, CheckpointFolder]:
        machine(name)
        mirror = open_store(flaky).mirror
        assert mirror is not None
        return mirror, CheckpointFolder(mirror.folder / CHECKPOINTS / "fit", {"fit": "fit"}, 1.0)

    return go


def write(folder: CheckpointFolder, step: int) -> None:
    folder.identity["code of the strategy"] = "code"
    folder.write({"step": step, "tensor": torch.ones(100)}, step)


def fetched(mirror: Mirror, folder: CheckpointFolder, fits: Sequence[str] = ("fit",)) -> int | None:
    """Return the step after which an attempt at the fit resumes on a machine, after a run has begun there."""
    mirror.checkpoints.fits()
    mirror.checkpoints.fetch(fits)
    state = folder.read("code")
    assert state is None or state["step"] == folder.resumed_after
    return folder.resumed_after


OnMachine = Callable[[str], tuple[Mirror, CheckpointFolder]]


@pytest.mark.parametrize("does", [fails, is_cut_short])
def test_a_state_that_was_not_put_whole_is_not_used(
    on_machine: OnMachine, flaky: str, does: Callable[[Flaky, str, str], None]
) -> None:
    mirror, folder = on_machine("first")
    write(folder, 2)
    Flaky.fault = (".pt", does)
    with pytest.raises(StoreError, match=r"flaky://run"):
        mirror.checkpoints.push("fit")
    other, begins = on_machine("second")
    assert fetched(other, begins) is None and begins.notes == [], "its mark was not put"

    Flaky.fault = None
    mirror.checkpoints.push("fit")
    assert fetched(*on_machine("third")) == 2
    (state,) = (path for path in Flaky.store if path.endswith(".pt"))
    content = Flaky.store[state].getvalue()
    Flaky().pipe_file(state, content[:-1] + b"x")
    other, begins = on_machine("fourth")
    assert fetched(other, begins) is None and "its checkpoint is damaged" in begins.notes[0]
    Flaky().rm_file(state)
    other, begins = on_machine("fifth")
    assert fetched(other, begins) is None and "its checkpoint is damaged" in begins.notes[0]


def test_the_newest_checkpoint_alone_is_at_the_url(on_machine: OnMachine, flaky: str) -> None:
    mirror, folder = on_machine("first")
    write(folder, 1)
    mirror.checkpoints.push("fit")
    write(folder, 2)

    def replaced_meanwhile(files: Flaky, lpath: str, rpath: str) -> None:
        Flaky.fault = None
        write(folder, 3)
        files.put_file(lpath, rpath)

    Flaky.fault = ("state-2.pt", replaced_meanwhile)
    mirror.checkpoints.push("fit")
    assert fetched(*on_machine("second")) == 1, "the fit has replaced the second while it was put"
    mirror.checkpoints.push("fit")
    assert {name.rpartition("/")[2] for name in at_the_url(flaky)} == {"state-3.pt", "checkpoint.json"}
    Flaky.fault = ("", fails)
    mirror.checkpoints.push("fit")  # it is there: nothing is put


def test_a_reason_to_begin_again_travels_too(on_machine: OnMachine, flaky: str) -> None:
    mirror, folder = on_machine("first")
    write(folder, 1)
    mirror.checkpoints.push("fit")
    folder.refuse("it trains more than once")
    mirror.checkpoints.push("fit")
    assert at_the_url(flaky) == ["fit/checkpoint.json"]
    other, begins = on_machine("second")
    assert fetched(other, begins) is None and "it trains more than once" in begins.notes[0]


def test_a_checkpoint_is_fetched_for_a_pending_fit_that_is_less_far_here(on_machine: OnMachine) -> None:
    mirror, folder = on_machine("first")
    write(folder, 5)
    mirror.checkpoints.push("fit")
    assert fetched(*on_machine("second"), fits=["another"]) is None
    for own, expected in ((4, 5), (5, 5), (6, 6)):
        other, begins = on_machine(f"at step {own}")
        write(begins, own)
        assert fetched(other, begins) == expected
    other.checkpoints.push("fit")
    assert fetched(*on_machine("third")) == 6


def test_a_checkpoint_of_another_machine_class_replaces_no_own_one(on_machine: OnMachine) -> None:
    mirror, folder = on_machine("fast")
    folder.identity["machine"] = "fast"
    write(folder, 20)
    mirror.checkpoints.push("fit")
    other, own = on_machine("slow")
    own.identity["machine"] = "slow"
    write(own, 10)
    assert fetched(other, own) == 10 and own.notes == []


@pytest.mark.parametrize(
    ("does", "changes", "left"),
    [
        ("", {}, None),
        ("", {"checkpoint_every": 0}, None),
        ("raise", {}, "state-9.pt"),
        ("raise", {"checkpoint_every": 0}, "state-5.pt"),
        ("raise", {"overwrite": "always"}, None),
    ],
)
def test_a_fit_that_is_complete_or_made_again_has_no_checkpoint_at_the_url(
    on_machine: OnMachine,
    flaky: str,
    toy_config: Callable[..., RunConfig],
    does: str,
    changes: dict[str, Any],
    left: str | None,
) -> None:
    config = toy_config(out=flaky, set=[f"toy.does={does}"] if does else [], **changes)
    (fit,) = Run.prepare(config).plan.fits

    def write_on(name: str, fit: str, step: int) -> Mirror:
        mirror, _ = on_machine(name)
        write(CheckpointFolder(mirror.folder / CHECKPOINTS / fit, {}, 1.0), step)
        return mirror

    for each in (fit.name, "elsewhere"):
        write_on("another", each, 5).checkpoints.push(each)
    write_on("first", fit.name, 9)

    def states() -> dict[str, str]:
        names = [name.split("/") for name in at_the_url(flaky)]
        return {parts[0]: parts[-1] for parts in names if parts[-1] != "checkpoint.json"}

    execute(config)
    assert states() == {"elsewhere": "state-5.pt", **({fit.name: left} if left else {})}
    execute(config.replace(overwrite="never"))
    assert states() == {"elsewhere": "state-5.pt"}, "a failed fit keeps one until a run does not try it again"
