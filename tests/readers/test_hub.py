"""A reader by its hub name, from a hub on loopback."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from bench.errors import ModelError
from bench.readers.local import LocalReader
from bench.readers.locate import reader_of
from tests.loopback import serving

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub(tiny_reader_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A hub that has the tiny reader as `acme/tiny`, with a chat template of its own; yields the requested paths."""
    content = {path.name: path.read_bytes() for path in tiny_reader_folder.iterdir() if path.is_file()}
    content |= {"chat_template.jinja": b"{% for m in messages %}{{ m.content }} {% endfor %}", "weights.bin": b"x" * 99}
    requested: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requested.append(self.path)
            if self.path.startswith("/api/models/acme/tiny/tree/"):
                files = [
                    {"type": "file", "path": name, "size": len(body), "oid": name} for name, body in content.items()
                ]
                self.reply(200, json.dumps(files).encode())
            elif self.path.startswith("/api/models/acme/tiny"):
                siblings = [{"rfilename": name} for name in content]
                self.reply(200, json.dumps({"id": "acme/tiny", "sha": COMMIT, "siblings": siblings}).encode())
            elif (name := self.path.rpartition("/")[2]) in content and self.path.startswith("/acme/tiny/resolve/"):
                self.reply(200, content[name])
            else:
                self.reply(404, b"{}", {"x-error-code": "RepoNotFound"})

        do_HEAD = do_GET

        def reply(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            etag = hashlib.sha256(body).hexdigest()
            known = {"content-length": str(len(body)), "etag": f'"{etag}"', "x-repo-commit": COMMIT}
            for key, value in {**known, **(headers or {})}.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def log_message(self, *args: Any) -> None: ...

    with serving(Handler) as address:
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
        monkeypatch.setattr(
            "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE",
            address + "/{repo_id}/resolve/{revision}/{filename}",
        )
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
        yield requested


def test_a_reader_comes_from_the_hub_once_with_its_chat_template(
    hub: list[str], tiny_reader_folder: Path, tmp_path: Path
) -> None:
    reader = reader_of("acme/tiny", precision="fp32")
    assert isinstance(reader, LocalReader) and reader.name == "acme/tiny"
    assert (reader.folder / "chat_template.jinja").is_file() and not (reader.folder / "weights.bin").exists()
    asked = len(hub)
    assert reader_of("acme/tiny", precision="fp32").fingerprint == reader.fingerprint
    assert not any("safetensors" in path for path in hub[asked:])
    assert reader.folder.is_relative_to(tmp_path / "hub")
    ((_, made),) = reader.write([(("user", "the ferry"),)], 3)
    assert made.tokens > 0


def test_a_name_that_the_hub_does_not_know_is_refused(hub: list[str]) -> None:
    with pytest.raises(ModelError, match=r"unknown reader 'acme/none': .*nor available from the hub"):
        reader_of("acme/none")
    before = len(hub)
    with pytest.raises(ModelError, match="did you mean 'smollm2'"):
        reader_of("smolm2")
    assert len(hub) == before
