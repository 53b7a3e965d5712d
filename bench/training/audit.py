"""Notes what Python code of this process opens, starts and connects to (PEP 578).

Native code that opens a file without Python is not seen. Those of
safetensors and torch are, once `announce_native_files` was called.
"""

from __future__ import annotations

import os
import shutil
import site
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_STARTS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty")
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_SYSTEM = ("/proc", "/sys", "/dev", "/usr", "/lib", "/lib64", "/etc", "/opt")
_SHARED_MEMORY = Path("/dev/shm")
"""It lies under `/dev`, and keeps files."""


@dataclass
class Noted:
    """What was noted in a block."""

    files: list[str] = field(default_factory=list)
    """Files that were opened outside of the allowed folders, the code and the system."""
    processes: list[str] = field(default_factory=list)
    """Programs that were started."""
    connections: list[str] = field(default_factory=list)
    """Addresses that were connected to."""


class Audit:
    """Notes events of this process. A hook of Python cannot be taken away, so there is one for the whole process."""

    def __init__(self) -> None:
        self._noted: Noted | None = None
        self._allowed: tuple[Path, ...] = ()
        self._is_hooked = False

    @contextmanager
    def noted(self, allowed: Iterable[Path]) -> Iterator[Noted]:
        """Yield what is noted in a block. Blocks do not nest.

        Args:
            allowed: folders and files that may be opened, and written to.
        """
        if not self._is_hooked:
            self._is_hooked = True
            sys.addaudithook(self._note)
        self._allowed = tuple(Path(os.path.realpath(path)) for path in allowed)
        self._code = tuple(Path(os.path.realpath(path)) for path in _code_folders())
        self._noted = noted = Noted()
        try:
            yield noted
        finally:
            self._noted = None

    def _note(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._noted is None:
            return
        noted, self._noted = self._noted, None  # what follows may open files itself
        try:
            if event in ("open", "sqlite3.connect"):
                path = os.fsdecode(arguments[0]) if isinstance(arguments[0], bytes | os.PathLike) else arguments[0]
                flags = arguments[2] if event == "open" and isinstance(arguments[2], int) else 0
                if isinstance(path, str) and (real := self._outside(path, bool(flags & _WRITES))):
                    noted.files.append(real)
            elif event in _STARTS and not (event == "subprocess.Popen" and _asks_the_driver(*arguments[:2])):
                noted.processes.append(str(arguments[1] if event == "subprocess.Popen" else arguments[:1] or event))
            elif event == "socket.connect":
                noted.connections.append(str(arguments[1]))
        finally:
            self._noted = noted

    def _outside(self, path: str, writes: bool) -> str:
        """Return the real path of a file that may not be opened; empty for one that may."""
        real = Path(os.path.realpath(path))
        if real.suffix == ".pyc" or any(real.is_relative_to(root) for root in self._allowed):
            return ""
        if real.is_relative_to(_SHARED_MEMORY):
            return str(real)
        is_code = real.suffix == ".py" or any(real.is_relative_to(root) for root in self._code)
        is_device = real.is_relative_to("/dev")
        return "" if is_device or (is_code and not writes) else str(real)


AUDIT = Audit()
"""The audit of this process."""


def _code_folders() -> Iterator[Path]:
    """Yield the folders of Python, of installed packages, of this project and of the system."""
    yield from map(Path, {sys.prefix, sys.base_prefix, sys.exec_prefix, *site.getsitepackages()})
    yield from (Path(entry) for entry in sys.path if entry and any(Path(entry).glob("*.dist-info")))
    yield from (Path(entry) for entry in sys.path if entry and (Path(entry) / "bench").is_dir())
    yield from map(Path, _SYSTEM)


def _asks_the_driver(program: Any, command: Any) -> bool:
    """Whether a command only asks the driver which GPUs there are, as accelerate does for each trainer on CUDA.

    Only the driver's own program counts, not another one of its name.
    """
    if not isinstance(command, list | tuple) or len(command) < 2 or command[0] != "nvidia-smi":
        return False
    found = shutil.which(os.fsdecode(program or command[0]))
    is_the_drivers = found is not None and any(Path(os.path.realpath(found)).is_relative_to(root) for root in _SYSTEM)
    return is_the_drivers and all(str(option).startswith(("--query-gpu=", "--format=")) for option in command[1:])


def announce_native_files() -> None:
    """Let safetensors and torch tell the audit of the files that they open in native code.

    Call it before other modules import their functions.
    """
    import safetensors
    import safetensors.torch
    import torch

    for module, name in (
        (safetensors, "safe_open"),
        (safetensors.torch, "safe_open"),
        (safetensors.torch, "serialize_file"),
        (torch.serialization, "_open_zipfile_writer"),
    ):
        setattr(module, name, _announcing(getattr(module, name), writes=name != "safe_open"))


def _announcing(function: Callable[..., Any], writes: bool) -> Callable[..., Any]:
    def announce(*args: Any, **kwargs: Any) -> Any:
        path = next((each for each in (*args, *kwargs.values()) if isinstance(each, str | os.PathLike)), None)
        if path is not None:
            sys.audit("open", path, None, os.O_WRONLY if writes else os.O_RDONLY)
        return function(*args, **kwargs)

    return announce
