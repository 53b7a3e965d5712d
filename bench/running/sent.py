"""What a job takes along to another machine: strategy files with the Python files beside them, and variables."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_LOG = logging.getLogger("adaptbench")
_MOST_BYTES = 2**20
"""Python files beside a strategy file travel up to this size in all."""
_SENT_VARIABLES = ("BENCH_", "HF_")
"""Prefixes of the environment variables that the command sends with each job."""
_SECRET = ("KEY", "TOKEN", "SECRET", "PASS", "PWD", "CREDENTIAL", "AUTH")
"""Parts of names of variables that are not sent, because users of the cluster could read them."""


@dataclass(frozen=True)
class SentFile:
    """A strategy file with the Python files of its folder, which it may import."""

    path: str
    """Its absolute path where the command runs."""
    contents: Mapping[str, bytes]
    """Content by name: of the file itself, and of those beside it."""

    @classmethod
    def of(cls, file: str | Path) -> Self:
        """Return a file as it travels. A warning names a folder whose Python files are too large and stay behind."""
        path = Path(file).absolute()
        folder = path.resolve().parent
        beside = sorted(each for each in folder.glob("*.py") if each.is_file() and each != path.resolve())
        if sum(each.stat().st_size for each in beside) > _MOST_BYTES:
            _LOG.warning("%s holds over 1 MiB of Python files: a job on another machine gets %s alone", folder, path)
            beside = []
        return cls(str(path), {path.name: path.read_bytes(), **{each.name: each.read_bytes() for each in beside}})

    def placed(self, folder: Path) -> Path:
        """Return the path of the file on this machine.

        It is the path where the command found it if the same files are there, with whatever else lies beside them.

        Args:
            folder: a new folder, into which the files are written otherwise.
        """
        path = Path(self.path)
        if all(_content(path.resolve().with_name(name)) == content for name, content in self.contents.items()):
            return path
        folder.mkdir()
        for name, content in self.contents.items():
            (folder / name).write_bytes(content)
        return folder / path.name


@contextmanager
def strategy_files(sent: Sequence[SentFile], scratch: Path) -> Iterator[tuple[str, ...]]:
    """Yield the paths of strategy files on this machine. In the block, Python finds the modules beside them.

    Args:
        sent: the files.
        scratch: an empty folder.
    """
    paths = [each.placed(scratch / str(number)) for number, each in enumerate(sent)]
    before = list(sys.path)
    sys.path += [str(path.resolve().parent) for path in paths]
    try:
        yield tuple(map(str, paths))
    finally:
        sys.path[:] = before


def sent_variables(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that travel: those of AdaptBench and Hugging Face whose names say nothing of secrets."""
    return {
        name: value
        for name, value in variables.items()
        if name.startswith(_SENT_VARIABLES) and not any(word in name.upper() for word in _SECRET)
    }


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None
