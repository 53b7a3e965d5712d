"""The argument that names a run, the same for every command that reads one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse


def add_folder(parser: argparse.ArgumentParser, name: str = "folder") -> None:
    """Declare the argument that names a run; the attribute `name` holds its folder, or None for that of `run`."""
    parser.add_argument(
        name, type=Path, metavar="DIR", nargs="?", default=None, help="folder of the run (default: that of 'run')"
    )
