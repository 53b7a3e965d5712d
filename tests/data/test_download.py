from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from bench.data.catalogue import Archive, CatalogueEntry, Hub
from bench.data.dataset import Dataset, DatasetInfo
from bench.data.download import ATTEMPTS, fetch, fetch_archive
from bench.data.hub import fetch_hub
from bench.data.locate import load_dataset
from bench.errors import DataError


def packed(files: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return buffer.getvalue()


FILES = {
    "toy/corpus.jsonl": "".join(json.dumps({"_id": f"d{n}", "text": f"text {n * 7919}"}) + "\n" for n in range(400)),
    "toy/queries.jsonl": '{"_id": "q1", "text": "a"}\n',
    "toy/qrels/test.tsv": "query-id\tcorpus-id\tscore\nq1\td1\t1\n",
    "__MACOSX/toy/._corpus.jsonl": "litter",
}
WHOLE = packed(FILES)
MD5 = hashlib.md5(WHOLE).hexdigest()


@dataclass
class Behaviour:
    """What a server does, and the `Range` headers of the requests to it."""

    content: bytes = WHOLE
    stop_after: int | None = None
    """Bytes of an answer after which the connection is cut."""
    ranges: bool = True
    status: int = 200
    requests: list[str | None] = field(default_factory=list)


class Handler(BaseHTTPRequestHandler):
    pages: ClassVar[dict[str, Behaviour]] = {}

    def do_GET(self) -> None:
        page = self.pages[self.path]
        wanted = self.headers.get("Range")
        page.requests.append(wanted)
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and page.ranges else 0
        if page.status != 200 or start >= len(page.content):
            self.send_error(page.status if page.status != 200 else 416)
            return
        body = page.content[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(page.content) - 1}/{len(page.content)}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body if page.stop_after is None else body[: page.stop_after])

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def serve() -> Iterator[Callable[..., tuple[str, Behaviour]]]:
    """Return a function that adds a page to a server on loopback and gives its address and behaviour."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def add(**behaviour: object) -> tuple[str, Behaviour]:
        path = f"/{len(Handler.pages)}.zip"
        Handler.pages[path] = Behaviour(**behaviour)  # type: ignore[arg-type]
        return f"http://127.0.0.1:{server.server_port}{path}", Handler.pages[path]

    yield add
    server.shutdown()
    server.server_close()


def archive(*urls: str, md5: str = MD5, folder: str = "toy", size: int = 0) -> Archive:
    return Archive(urls=urls, folder=folder, md5=md5, bytes=size)


Serve = Callable[..., tuple[str, Behaviour]]


def test_an_archive_becomes_a_dataset_folder(serve: Serve, tmp_path: Path) -> None:
    url, _ = serve()
    folder = fetch_archive(archive(url, size=len(WHOLE)), tmp_path)
    assert folder == tmp_path / "toy"
    assert sorted(path.name for path in folder.rglob("*")) == ["corpus.jsonl", "qrels", "queries.jsonl", "test.tsv"]
    assert not list(tmp_path.rglob("*.zip"))


def test_an_existing_dataset_is_not_downloaded_again(serve: Serve, tmp_path: Path) -> None:
    url, page = serve()
    for _ in range(2):
        fetch_archive(archive(url), tmp_path)
    assert len(page.requests) == 1


def test_an_interrupted_download_resumes(serve: Serve, tmp_path: Path) -> None:
    url, page = serve(stop_after=6_000)
    fetch_archive(archive(url), tmp_path)
    first, *others = page.requests
    begins = [int(str(found).removeprefix("bytes=").rstrip("-")) for found in others]
    assert first is None and len(begins) >= 2
    assert begins == sorted(set(begins)) and begins[0] > 0


def test_a_later_call_resumes_an_earlier_one(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / ".parts").mkdir()
    (tmp_path / ".parts" / "toy.part").write_bytes(WHOLE[:7000])
    url, page = serve()
    fetch_archive(archive(url), tmp_path)
    assert page.requests == ["bytes=7000-"]


def test_a_server_without_ranges_sends_the_whole_file_again(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / ".parts").mkdir()
    (tmp_path / ".parts" / "toy.part").write_bytes(b"left by another version" * 100)
    url, _ = serve(ranges=False)
    assert fetch_archive(archive(url), tmp_path).is_dir()


def test_a_part_of_another_version_is_discarded_once(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / ".parts").mkdir()
    (tmp_path / ".parts" / "toy.part").write_bytes(b"x" * 7000)
    url, page = serve()
    assert fetch_archive(archive(url), tmp_path).is_dir()
    assert page.requests == ["bytes=7000-", None]


def test_a_complete_part_is_only_checked(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / ".parts").mkdir()
    (tmp_path / ".parts" / "toy.part").write_bytes(WHOLE)
    url, page = serve()
    assert fetch_archive(archive(url), tmp_path).is_dir()
    assert page.requests == [f"bytes={len(WHOLE)}-"]


def test_a_wrong_checksum_leaves_nothing(serve: Serve, tmp_path: Path) -> None:
    url, _ = serve(content=WHOLE + b"\0")
    with pytest.raises(DataError, match=f"MD5 hash .* does not match the known hash: expected md5:{MD5}"):
        fetch_archive(archive(url), tmp_path)
    assert not (tmp_path / "toy").exists()
    assert not list(tmp_path.rglob("*.zip"))


def test_a_truncated_archive_is_refused_without_a_checksum_too(serve: Serve, tmp_path: Path) -> None:
    url, _ = serve(content=WHOLE[: len(WHOLE) // 2])
    with pytest.raises(DataError, match="expected a ZIP archive, received"):
        fetch_archive(archive(url, md5=""), tmp_path)
    with pytest.raises(DataError, match=f"expected {len(WHOLE)} bytes"):
        fetch_archive(archive(url, md5="", size=len(WHOLE)), tmp_path)
    assert not (tmp_path / "toy").exists()


def test_a_damaged_file_inside_is_refused(serve: Serve, tmp_path: Path) -> None:
    damaged = WHOLE.replace(b"text 7919", b"text 7918")
    url, _ = serve(content=damaged)
    with pytest.raises(DataError, match="damaged archive: Bad CRC-32"):
        fetch_archive(archive(url, md5=""), tmp_path)
    assert not (tmp_path / "toy").exists()


def test_the_number_of_attempts_without_data_is_bounded(serve: Serve, tmp_path: Path) -> None:
    url, page = serve(stop_after=0)
    with pytest.raises(DataError, match=r"0 bytes read, \d+ more expected"):
        fetch_archive(archive(url), tmp_path)
    assert len(page.requests) == ATTEMPTS


def test_mirrors_are_tried_in_order(serve: Serve, tmp_path: Path) -> None:
    missing, first = serve(status=404)
    wrong, _ = serve(content=b"not it")
    good, _ = serve()
    assert fetch_archive(archive(missing, wrong, good), tmp_path).is_dir()
    assert len(first.requests) == 1
    with pytest.raises(DataError) as caught:
        fetch_archive(archive(missing, wrong), tmp_path / "elsewhere")
    assert "404" in str(caught.value) and "does not match the known hash" in str(caught.value)


def test_an_unreachable_server_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"127.0.0.1:1/x.zip: .*refused"):
        fetch_archive(archive("http://127.0.0.1:1/x.zip"), tmp_path)
    with pytest.raises(DataError, match="No connection adapters"):
        fetch_archive(archive("file:///etc/hostname"), tmp_path)


@pytest.mark.parametrize("name", ["../evil.txt", "/evil.txt", "toy/../../evil.txt", "..\\evil.txt", "C:/evil.txt"])
def test_nothing_is_written_outside_of_the_folder(serve: Serve, tmp_path: Path, name: str) -> None:
    content = packed({**FILES, name: "gotcha"})
    url, _ = serve(content=content)
    with pytest.raises(DataError, match="unsafe archive"):
        fetch_archive(archive(url, md5=""), tmp_path / "root")
    assert not list(tmp_path.rglob("evil.txt"))
    assert not (tmp_path / "root" / "toy").exists()


def test_links_in_an_archive_are_refused(serve: Serve, tmp_path: Path) -> None:
    buffer = io.BytesIO(WHOLE)
    with zipfile.ZipFile(buffer, "a") as archived:
        link = zipfile.ZipInfo("toy/link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archived.writestr(link, os.fspath(tmp_path))
    url, _ = serve(content=buffer.getvalue())
    with pytest.raises(DataError, match="is a link"):
        fetch_archive(archive(url, md5=""), tmp_path / "root")


def test_an_archive_without_the_dataset_is_refused(serve: Serve, tmp_path: Path) -> None:
    url, _ = serve()
    with pytest.raises(DataError, match="no dataset in its folder 'other'"):
        fetch_archive(archive(url, folder="other"), tmp_path)


def test_a_damaged_folder_is_named_and_not_changed(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "notes.txt").write_text("mine")
    url, page = serve()
    with pytest.raises(DataError, match="holds no dataset toy: remove it"):
        fetch_archive(archive(url), tmp_path)
    assert (page.requests, (tmp_path / "toy" / "notes.txt").read_text()) == ([], "mine")


def test_an_archive_of_several_datasets_is_downloaded_once(serve: Serve, tmp_path: Path) -> None:
    files = {name.replace("toy/", f"many/{part}/"): text for part in "ab" for name, text in FILES.items()}
    url, page = serve(content=packed(files))
    for part in "ab":
        assert (fetch_archive(archive(url, md5="", folder=f"many/{part}"), tmp_path) / "corpus.jsonl").is_file()
    assert len(page.requests) == 1


def test_a_name_of_the_catalogue_is_downloaded_once_and_then_found(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BENCH_OFFLINE", raising=False)
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    (tmp_path / "datasets").mkdir()
    monkeypatch.chdir(tmp_path)
    url, page = serve()
    (tmp_path / "datasets" / "toy.toml").write_text(
        f'kind = "retrieval"\ndocuments = 400\n[archive]\nurls = ["{url}"]\nfolder = "toy"\nmd5 = "{MD5}"\n'
    )
    for _ in range(2):
        dataset = load_dataset("toy")
        assert isinstance(dataset, Dataset)
        assert (len(dataset.corpus), dataset.warnings) == (400, ())
    assert len(page.requests) == 1
    page.status = 404
    (tmp_path / "cache" / "datasets" / "toy" / "corpus.jsonl").unlink()
    (tmp_path / "cache" / "datasets" / "toy").rename(tmp_path / "gone")
    with pytest.raises(DataError, match=r"(?s)could not be downloaded.*404.*Searched before the download:.*cache"):
        load_dataset("toy")


def write_hub(folder: Path, configs: dict[str, dict[str, list[dict[str, object]]]]) -> Path:
    """Write a repository of the hub's form: a card that lists configurations, and their rows."""
    lines = ["---", "configs:"]
    folder.mkdir(parents=True)
    for config, splits in configs.items():
        lines += [f"- config_name: {config}", "  data_files:"]
        for split, rows in splits.items():
            name = f"{config}-{split}.jsonl"
            (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
            lines += [f"  - split: {split}", f"    path: {name}"]
    (folder / "README.md").write_text("\n".join([*lines, "---", ""]))
    return folder


NANO = {
    "corpus": {"train": [{"_id": "d1", "text": "green tea"}, {"_id": "d2", "text": "milk"}]},
    "queries": {"train": [{"_id": "q1", "text": "tea"}]},
    "qrels": {"train": [{"query-id": "q1", "corpus-id": "d1"}]},
}


def test_a_hub_dataset_is_read_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "hf"))
    repo = write_hub(tmp_path / "repo", NANO)
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    folder = fetch_hub(Hub(repo=str(repo), qrels="qrels", splits={"test": "train"}), tmp_path / "kept")
    dataset = load_dataset(str(folder))
    assert isinstance(dataset, Dataset)
    assert dataset.splits == {"test": {"q1": {"d1": 1}}}
    assert list(dataset.corpus.texts) == ["green tea", "milk"]
    assert load_dataset(str(fetch_hub(Hub(repo=str(repo)), tmp_path / "guessed"))).fingerprint == dataset.fingerprint


def test_a_hub_dataset_of_another_form_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "hf"))
    with pytest.raises(DataError, match="no configuration qrels or default"):
        fetch_hub(Hub(repo=str(write_hub(tmp_path / "a", {"corpus": NANO["corpus"]}))), tmp_path / "x")
    with pytest.raises(DataError, match="cannot be read"):
        fetch_hub(Hub(repo=str(tmp_path / "nowhere")), tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_the_hub_comes_before_the_archive_unless_its_copy_differs(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BENCH_OFFLINE", raising=False)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "hf"))
    hub = Hub(repo=str(write_hub(tmp_path / "repo", NANO)))
    url, page = serve()
    entry = CatalogueEntry(info=DatasetInfo("nano"), splits=("test",), documents=2, archive=archive(url), hub=hub)
    assert fetch(entry, tmp_path / "cache") == tmp_path / "cache" / "nano"
    for number, other in enumerate(({"documents": 3}, {"splits": ("train", "test")})):
        assert page.requests == [None] * number
        assert fetch(entry.model_copy(update=other), tmp_path / f"cache{number}") == tmp_path / f"cache{number}" / "toy"


def test_the_error_names_the_failure_of_each_source(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BENCH_OFFLINE", raising=False)
    url, _ = serve(status=503)
    entry = CatalogueEntry(info=DatasetInfo("toy"), archive=archive(url), hub=Hub(repo=str(tmp_path / "nowhere")))
    with pytest.raises(DataError, match=r"(?s)'toy' could not be downloaded.*hub:.*503"):
        fetch(entry, tmp_path)
    monkeypatch.setenv("BENCH_OFFLINE", "1")
    with pytest.raises(DataError, match="BENCH_OFFLINE"):
        fetch(entry, tmp_path)
