"""Where a run was made: machine, versions, commit. Recorded, not hashed. Does not import torch."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_LIBRARIES = (
    "torch", "sentence-transformers", "transformers", "peft", "tokenizers", "numpy", "bm25s", "pytrec-eval-terrier",
)  # fmt: skip


def cores() -> int:
    """Return the number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def machine_class(threads: int = 0, device: str = "auto", processes: int = 1) -> str:
    """Return what decides the speed of a machine: processor, threads, accelerator. Part of the identity of timed fits.

    A device other than the one that `auto` would take is named too: `on cpu` on a machine with a GPU. So are the
    processes of a fit, where there are several.
    """
    requested = "cuda" if device == "cuda:0" else device
    other = "" if requested in ("auto", _automatic_device()) else f"on {requested}"
    several = f"{processes} processes a fit" if processes > 1 else ""
    parts = (processor(), f"{threads or cores()} threads", accelerator(), other, several)
    return ", ".join(part for part in parts if part)


def _automatic_device() -> str:
    """Return the device that `auto` takes, as far as that is known without torch."""
    if accelerator():
        return "cuda"
    return "mps" if sys.platform == "darwin" and platform.machine() == "arm64" else "cpu"


def processor() -> str:
    """Return the name of the processor."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@cache
def accelerator() -> str:
    """Return the GPUs of this machine, as `2 x NVIDIA H100`, or an empty string."""
    if shutil.which("nvidia-smi") is None:
        return ""
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    names = [line.strip() for line in done.stdout.splitlines() if line.strip()] if done.returncode == 0 else []
    return f"{len(names)} x {names[0]}" if names else ""


def provenance() -> dict[str, Any]:
    """Return machine, library versions and commit, for `run.json`."""
    return {
        "machine_class": machine_class(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "cores": cores(),
        "versions": versions(),
        "git": git_state(),
    }


def versions() -> dict[str, str]:
    """Return the versions of this project and of the libraries that decide results."""
    return {name: installed for name in ("adaptbench", *_LIBRARIES) if (installed := _version(name))}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


@cache
def git_state() -> dict[str, Any]:
    """Return the commit that this code runs from and whether files differ from it; empty outside a checkout."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists() or shutil.which("git") is None:
        return {}
    commit = _git(root, "rev-parse", "HEAD")
    return {"commit": commit, "dirty": bool(_git(root, "status", "--porcelain", "--", "bench", "strategies"))}


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False).stdout.strip()


def command_line() -> list[str]:
    """Return the arguments of this process, without the path of the program."""
    return list(sys.argv[1:])
