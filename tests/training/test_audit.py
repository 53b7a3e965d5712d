"""The audit notes files, programs and connections of a block, and nothing of the code."""

from __future__ import annotations

import json.tool
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bench.training.audit import AUDIT


def test_files_outside_of_the_allowed_folders_are_noted(tmp_path: Path) -> None:
    own, other = tmp_path / "own", tmp_path / "other"
    own.mkdir()
    other.mkdir()
    (other / "secret.tsv").write_text("1", encoding="utf-8")

    with AUDIT.noted([own]) as noted:
        np.save(own / "vectors.npy", np.ones(2))
        (other / "secret.tsv").read_text(encoding="utf-8")
        Path(json.tool.__file__).read_text(encoding="utf-8")
    (other / "secret.tsv").read_text(encoding="utf-8")

    assert noted.files == [str(other / "secret.tsv")]


def test_programs_and_connections_are_noted() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, AUDIT.noted([]) as noted:
        subprocess.run([sys.executable, "-S", "-c", "pass"], check=True)
        with socket.create_connection(server.getsockname()):
            pass

    assert len(noted.processes) == 1 and "pass" in noted.processes[0]
    assert len(noted.connections) == 1 and "127.0.0.1" in noted.connections[0]


def test_nothing_is_noted_outside_of_a_block(tmp_path: Path) -> None:
    with AUDIT.noted([]) as noted:
        pass
    (tmp_path / "file").write_text("1", encoding="utf-8")

    assert noted.files == [] and noted.processes == [] and noted.connections == []


@pytest.mark.parametrize(
    ("found", "options", "is_noted"),
    [
        ("/usr/bin/nvidia-smi", ["--query-gpu=count,name", "--format=csv,noheader"], False),
        ("/srv/tools/nvidia-smi", ["--query-gpu=count,name", "--format=csv,noheader"], True),
        ("/usr/bin/nvidia-smi", ["--gpu-reset"], True),
    ],
)
def test_the_question_which_gpus_there_are_is_not_noted(
    found: str, options: list[str], is_noted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", {"nvidia-smi": found}.get)

    with AUDIT.noted([]) as noted:
        sys.audit("subprocess.Popen", "nvidia-smi", ["nvidia-smi", *options], None, None)

    assert bool(noted.processes) == is_noted


def test_packages_in_a_folder_of_the_path_are_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packages, other = tmp_path / "packages", tmp_path / "other"
    metadata = packages / "some-1.0.dist-info" / "METADATA"
    metadata.parent.mkdir(parents=True)
    metadata.write_text("Name: some", encoding="utf-8")
    other.mkdir()
    (other / "secret.tsv").write_text("1", encoding="utf-8")
    monkeypatch.setattr(sys, "path", [*sys.path, str(packages), str(other)])

    with AUDIT.noted([]) as noted:
        metadata.read_text(encoding="utf-8")
        (other / "secret.tsv").read_text(encoding="utf-8")
        metadata.write_text("Name: another", encoding="utf-8")

    assert noted.files == [str(other / "secret.tsv"), str(metadata)]
