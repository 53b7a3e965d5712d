"""Finds strategies: the `strategies` package, entry points, `module:Class`, a file. None of it imports torch."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import pkgutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

from bench.errors import BenchError, unknown
from bench.strategy.base import Strategy

GROUP = "adaptbench.strategies"
"""Entry points under which other distributions offer strategies: `name = package.module:Class`."""
OWNER = "adaptbench"
_HOW = "To use a strategy of your own, name its file: --strategy-file my.py (or give module:Class)."


class StrategyError(BenchError):
    """A strategy cannot be found or its file cannot be used; the text names the file, and the line if there is one."""


@dataclass(frozen=True)
class Entry:
    """One known strategy, not yet imported."""

    name: str
    origin: str
    """Where it comes from, for `bench list strategies`: `adaptbench`, a distribution, a file."""
    load: Callable[[], type[Strategy]]
    code: str = ""
    """SHA-256 of the file, for a strategy file: part of a fit's identity, as its author edits it between runs."""


class Registry:
    """All strategies that can be named.

    Args:
        files: Python files of the user's own, each with one strategy or several.
    """

    def __init__(self, files: Sequence[str | Path] = ()) -> None:
        self.entries: dict[str, Entry] = {}
        for entry in (*_package(), *_entry_points()):
            self.entries.setdefault(entry.name, entry)
        for file in files:
            for entry in _file(Path(file)):
                if entry.name in self.entries:
                    raise StrategyError(
                        f"{file}: the name {entry.name!r} is taken by a strategy of {self.entries[entry.name].origin}: "
                        "give yours another one"
                    )
                self.entries[entry.name] = entry

    def names(self) -> list[str]:
        """Return the names of all strategies."""
        return sorted(self.entries)

    def entry(self, name: str) -> Entry:
        """Return what is known of a strategy before it is imported.

        Raises:
            BenchError: there is none of that name.
        """
        if name in self.entries:
            return self.entries[name]
        if ":" in name:
            return Entry(name, name.partition(":")[0], lambda: _by_path(name))
        raise unknown("strategy", name, self.entries)

    def get(self, name: str) -> type[Strategy]:
        """Import a strategy's module and return its class.

        Raises:
            BenchError: there is no strategy of that name, or its module cannot be imported.
        """
        return self.entry(name).load()


def _package() -> list[Entry]:
    """The modules of the `strategies` package: file stem = name, `_` becomes `-`, `_x.py` is shared code."""
    try:
        package = importlib.import_module("strategies")
    except ImportError as error:
        raise StrategyError(f"the package 'strategies' of AdaptBench cannot be imported: {error}") from error
    if getattr(package, "OWNER", None) != OWNER:
        place = package.__file__ or ", ".join(package.__path__)
        raise StrategyError(
            f"the folder 'strategies' at {place} is not AdaptBench's and comes first on the path: rename it, or "
            f"run from another folder. {_HOW}"
        )
    return [
        Entry(stem.replace("_", "-"), OWNER, lambda stem=stem: _of_module(stem))  # type: ignore[misc]
        for _, stem, is_package in pkgutil.iter_modules(package.__path__)
        if not stem.startswith("_") and not is_package
    ]


def _of_module(stem: str) -> type[Strategy]:
    module = importlib.import_module(f"strategies.{stem}")
    name = stem.replace("_", "-")
    found = {strategy.name: strategy for strategy in _strategies_in(module)}
    if name not in found:
        raise StrategyError(
            f"{module.__file__}: no strategy named {name!r} in it (found: {', '.join(found) or 'none'})"
            f"{_unfinished(module)}"
        )
    return found[name]


def _entry_points() -> list[Entry]:
    return [
        Entry(point.name, point.dist.name if point.dist else point.value, lambda point=point: _checked(point.load()))  # type: ignore[misc]
        for point in entry_points(group=GROUP)
    ]


def _by_path(path: str) -> type[Strategy]:
    """Import `module:Class`."""
    module_name, _, class_name = path.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise StrategyError(f"strategy {path!r}: module {module_name!r} cannot be imported: {error}. {_HOW}") from error
    if not hasattr(module, class_name):
        known = [strategy.__name__ for strategy in _strategies_in(module)]
        raise unknown(f"strategy class of {module_name}", class_name, known)
    return _checked(getattr(module, class_name))


def _file(path: Path) -> list[Entry]:
    """Import a user's file and return its strategies."""
    module, code = load_file(path)
    found = _strategies_in(module)
    if not found:
        raise StrategyError(
            f"{path}: no strategy in it. A strategy is a class that derives from bench.strategy.base.Strategy"
            f"{_unfinished(module)}"
        )
    return [Entry(strategy.name, str(path), lambda strategy=strategy: strategy, code) for strategy in found]  # type: ignore[misc]


def load_file(path: Path) -> tuple[ModuleType, str]:
    """Import a Python file under a module name of its own; returns the module and the SHA-256 of its content.

    Raises:
        StrategyError: it is not there, or importing it fails; names the file and the line.
    """
    if not path.is_file():
        raise StrategyError(f"strategy file {path} does not exist")
    content = path.read_bytes()
    code = hashlib.sha256(content).hexdigest()
    name = f"adaptbench_file_{path.stem}_{code[:12]}"
    if name in sys.modules:
        return sys.modules[name], code
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    if spec is None or spec.loader is None:
        raise StrategyError(f"strategy file {path} is not a Python file (its name must end in .py)")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # the user's own code: whatever it raises, they must learn where
        del sys.modules[name]
        raise StrategyError(f"{path}{_line_of(error, path)}: {type(error).__name__}: {error}") from error
    return module, code


def _line_of(error: BaseException, path: Path) -> str:
    if isinstance(error, SyntaxError) and error.lineno:
        return f":{error.lineno}"
    line, trace = "", error.__traceback__
    while trace is not None:
        if Path(trace.tb_frame.f_code.co_filename) == path.resolve():
            line = f":{trace.tb_lineno}"
        trace = trace.tb_next
    return line


def _strategies_in(module: ModuleType) -> list[type[Strategy]]:
    """Return the concrete strategies that a module defines itself, in the order of its text."""
    return [
        _checked(value)
        for value in vars(module).values()
        if inspect.isclass(value)
        and issubclass(value, Strategy)
        and not inspect.isabstract(value)
        and value.__module__ == module.__name__
        and not value.__name__.startswith("_")
    ]


def _unfinished(module: ModuleType) -> str:
    """Return which classes of a module would be strategies but for methods that they lack."""
    lacking = [
        f"{value.__name__} lacks {', '.join(sorted(value.__abstractmethods__))}"
        for value in vars(module).values()
        if inspect.isclass(value)
        and issubclass(value, Strategy)
        and inspect.isabstract(value)
        and value.__module__ == module.__name__
    ]
    return f"; {'; '.join(lacking)}" if lacking else ""


def _checked(value: object) -> type[Strategy]:
    if not (inspect.isclass(value) and issubclass(value, Strategy)):
        raise StrategyError(f"{value!r} is not a strategy: it must derive from bench.strategy.base.Strategy")
    if not isinstance(getattr(value, "name", None), str):
        raise StrategyError(
            f'{value.__module__}.{value.__name__}: a strategy needs a name: name = "{value.__name__.lower()}"'
        )
    return value
