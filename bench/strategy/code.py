"""The code that strategies consist of, as a digest: an edit must never be answered from old results."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

_SHIPPED = ("bench", "strategies")


def is_shipped(module: str) -> bool:
    """Whether a module is part of AdaptBench."""
    return module.partition(".")[0] in _SHIPPED


@cache
def module_code(name: str) -> str:
    """Return the SHA-256 of the file of an imported module. It is read once, right after the import where possible.

    A module without a file, such as one that was typed in, gives an empty string.
    """
    file = getattr(sys.modules.get(name), "__file__", None)
    path = Path(file) if file else None
    return hashlib.sha256(path.read_bytes()).hexdigest() if path is not None and path.is_file() else ""


@cache
def shipped_digest() -> str:
    """Return a digest of all files of AdaptBench's own code."""
    digest = hashlib.sha256()
    for package in _SHIPPED:
        spec = find_spec(package)
        for folder in map(Path, (spec and spec.submodule_search_locations) or ()):
            for path in sorted(folder.rglob("*.py")):
                digest.update(f"{package}/{path.relative_to(folder).as_posix()}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def code_digest(kinds: Iterable[type]) -> str:
    """Return a digest of the files that define classes and their bases.

    A user's file may import others of its own folder. They count too.
    """
    modules = {base.__module__ for kind in kinds for base in kind.__mro__} - {"builtins", "abc", "typing"}
    for name in [each for each in modules if not is_shipped(each)]:
        _add_neighbours(name, modules)
    return hashlib.sha256("".join(f"{name}={module_code(name)};" for name in sorted(modules)).encode()).hexdigest()


def _add_neighbours(name: str, modules: set[str]) -> None:
    """Add the modules that a module uses and that lie in its folder or below, and those that they use."""
    module = sys.modules.get(name)
    folder = Path(getattr(module, "__file__", None) or "").resolve().parent
    for value in list(vars(module).values()) if module is not None else ():
        used = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
        if not isinstance(used, str) or used in modules or is_shipped(used):
            continue
        file = getattr(sys.modules.get(used), "__file__", None)
        if file and Path(file).resolve().is_relative_to(folder):
            modules.add(used)
            _add_neighbours(used, modules)
