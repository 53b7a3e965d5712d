"""Finds strategies, objectives and representations: shipped ones, entry points, a user's file. Imports no torch.

The three kinds of plug-ins are found in the same three ways: a module of their package (file stem = name, `_` becomes
`-`), an entry point of another distribution, a class in a file given with `--strategy-file`.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import pkgutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, TypeVar

from bench.errors import BenchError, unknown
from bench.expression import Expression, parse
from bench.objectives.base import Objective
from bench.representations.base import Representation
from bench.strategy.base import Strategy
from bench.strategy.preset import Preset

OWNER = "adaptbench"
_HOW = "To use a strategy of your own, name its file: --strategy-file my.py (or give module:Class)."
_SHARED = frozenset({"base"})
"""Modules of a package that hold the interface and no plug-in."""

T = TypeVar("T")


class StrategyError(BenchError):
    """A plug-in cannot be found, or its file cannot be used. The text names the file, and the line where known."""


@dataclass(frozen=True)
class Kind(Generic[T]):
    """A kind of plug-ins: what it derives from, and where it is found."""

    noun: str
    base: type[T]
    package: str
    """Its modules are plug-ins, each under its stem."""
    group: str
    """Entry points under which other distributions offer some: `name = package.module:Class`."""


STRATEGIES: Kind[Strategy] = Kind("strategy", Strategy, "strategies", "adaptbench.strategies")  # type: ignore[type-abstract]
OBJECTIVES: Kind[Objective] = Kind("objective", Objective, "bench.objectives", "adaptbench.objectives")  # type: ignore[type-abstract]
REPRESENTATIONS: Kind[Representation] = Kind(
    "representation",
    Representation,  # type: ignore[type-abstract]
    "bench.representations",
    "adaptbench.representations",
)
_KINDS: tuple[Kind[Any], ...] = (STRATEGIES, OBJECTIVES, REPRESENTATIONS)


@dataclass(frozen=True)
class PlugIn(Generic[T]):
    """One known plug-in, not yet imported."""

    name: str
    origin: str
    """Where it comes from, for `bench list`: `adaptbench`, a distribution, a file."""
    load: Callable[[], type[T] | type[Preset]]
    code: str = ""
    """SHA-256 of a user's file. Part of a fit's identity, because its author edits it between runs."""


class PlugIns(Generic[T]):
    """All plug-ins of one kind."""

    def __init__(self, kind: Kind[T]) -> None:
        self.kind = kind
        self.from_record = False
        self.entries: dict[str, PlugIn[T]] = {}
        for entry in (*_of_package(kind), *_of_entry_points(kind)):
            self.entries.setdefault(entry.name, entry)

    def add(self, entry: PlugIn[T]) -> None:
        """Add a plug-in of a user's file.

        Raises:
            StrategyError: its name is taken.
        """
        if entry.name in self.entries:
            raise StrategyError(
                f"{entry.origin}: the name {entry.name!r} is taken by a {self.kind.noun} of "
                f"{self.entries[entry.name].origin}: give yours another one"
            )
        self.entries[entry.name] = entry

    def names(self) -> list[str]:
        """Return the names of all plug-ins of this kind."""
        return sorted(self.entries)

    def entry(self, name: str) -> PlugIn[T]:
        """Return what is known of a plug-in before it is imported.

        Raises:
            BenchError: there is none of that name.
        """
        if name in self.entries:
            return self.entries[name]
        if ":" in name:
            return PlugIn(name, name.partition(":")[0], partial(_by_path, self.kind, name, self.from_record))
        raise unknown(self.kind.noun, name, self.entries)

    def load(self, name: str) -> type[T] | type[Preset]:
        """Import a plug-in's module and return its class.

        Raises:
            BenchError: there is none of that name, or its module cannot be imported.
        """
        return self.entry(name).load()

    def get(self, name: str) -> type[T]:
        """Import a plug-in's module and return its class, for kinds without presets.

        Raises:
            BenchError: there is none of that name, or its module cannot be imported.
        """
        loaded = self.load(name)
        assert issubclass(loaded, self.kind.base)
        return loaded


class Registry:
    """All strategies, objectives and representations that can be named.

    Args:
        files: Python files of the user's own, each with one plug-in or several, of any kind.
        from_record: whether names come from a record, which anyone may have written. `module:Class` is then never
            imported from the current folder.
    """

    def __init__(self, files: Sequence[str | Path] = (), from_record: bool = False) -> None:
        self._strategies = PlugIns(STRATEGIES)
        self.objectives = PlugIns(OBJECTIVES)
        self.representations = PlugIns(REPRESENTATIONS)
        kinds: dict[str, PlugIns[Any]] = {
            each.kind.noun: each for each in (self._strategies, self.objectives, self.representations)
        }
        for plug_ins in kinds.values():
            plug_ins.from_record = from_record
        for file in files:
            for noun, entry in _of_file(Path(file)):
                kinds[noun].add(entry)

    @property
    def entries(self) -> dict[str, PlugIn[Strategy]]:
        """All strategies and presets by name."""
        return self._strategies.entries

    def names(self) -> list[str]:
        """Return the names of all strategies and presets."""
        return self._strategies.names()

    def entry(self, name: str) -> PlugIn[Strategy]:
        """Return what is known of a strategy before it is imported.

        Raises:
            BenchError: there is none of that name.
        """
        return self._strategies.entry(name)

    def get(self, name: str) -> type[Strategy]:
        """Import a strategy's module and return its class. For a preset, the class that it stands for.

        Raises:
            BenchError: there is no strategy of that name, or its module cannot be imported.
        """
        loaded = self._strategies.load(name)
        return self.get(parse(loaded.expression).name) if issubclass(loaded, Preset) else loaded

    def summary(self, name: str) -> str:
        """Return the one line that describes a strategy or a preset."""
        return self._strategies.load(name).summary

    def preset(self, name: str) -> Expression | None:
        """Return the expression that a preset stands for; None for a strategy."""
        loaded = self._strategies.load(name)
        return parse(loaded.expression) if issubclass(loaded, Preset) else None

    def required(self, name: str) -> tuple[str, ...]:
        """Return the options that a preset cannot do without; none for a strategy."""
        loaded = self._strategies.load(name)
        return loaded.required if issubclass(loaded, Preset) else ()

    def presets(self) -> Iterator[tuple[str, Expression]]:
        """Yield the presets and the expressions that they stand for."""
        for name in self.names():
            if (expression := self.preset(name)) is not None:
                yield name, expression

    def objective(self, name: str) -> type[Objective]:
        """Import an objective's module and return its class. Raises BenchError where there is none of that name."""
        return self.objectives.get(name)

    def representation(self, name: str) -> type[Representation]:
        """Import a representation's module and return its class. Raises BenchError where there is none of that name."""
        return self.representations.get(name)


def _of_package(kind: Kind[T]) -> list[PlugIn[T]]:
    """Return the plug-ins of a package. `_x.py` is shared code, and so is the interface."""
    try:
        package = importlib.import_module(kind.package)
    except ImportError as error:
        raise StrategyError(f"the package {kind.package!r} of AdaptBench cannot be imported: {error}") from error
    if kind is STRATEGIES and getattr(package, "OWNER", None) != OWNER:
        place = package.__file__ or ", ".join(package.__path__)
        raise StrategyError(
            f"the folder 'strategies' at {place} is not AdaptBench's and comes first on the path: rename it, or "
            f"run from another folder. {_HOW}"
        )
    return [
        PlugIn(stem.replace("_", "-"), OWNER, partial(_of_module, kind, stem))
        for _, stem, is_package in pkgutil.iter_modules(package.__path__)
        if not stem.startswith("_") and stem not in _SHARED and not is_package
    ]


def _of_module(kind: Kind[T], stem: str) -> type[T] | type[Preset]:
    module = importlib.import_module(f"{kind.package}.{stem}")
    name = stem.replace("_", "-")
    classes = {each.name: each for each in _classes_in(module, kind)}
    if name not in classes:
        raise StrategyError(
            f"{module.__file__}: no {kind.noun} named {name!r} in it (there are: {', '.join(classes) or 'none'})"
            f"{_unfinished(module, kind)}"
        )
    plug_in: type[T] | type[Preset] = classes[name]
    return plug_in


def _of_entry_points(kind: Kind[T]) -> list[PlugIn[T]]:
    return [
        PlugIn(point.name, point.dist.name if point.dist else point.value, partial(_of_entry_point, kind, point))
        for point in entry_points(group=kind.group)
    ]


def _of_entry_point(kind: Kind[T], point: Any) -> type[T] | type[Preset]:
    return _checked(point.load(), kind)


@contextmanager
def _without_current_folder() -> Iterator[None]:
    """Take the current folder off Python's path for the length of a block."""
    path, here = list(sys.path), Path.cwd()
    sys.path[:] = [each for each in path if each and Path(each).resolve() != here]
    try:
        yield
    finally:
        sys.path[:] = path


def _by_path(kind: Kind[T], path: str, from_record: bool) -> type[T] | type[Preset]:
    """Import `module:Class`."""
    module_name, _, class_name = path.partition(":")
    try:
        with _without_current_folder() if from_record else nullcontext():
            module = importlib.import_module(module_name)
    except ImportError as error:
        if from_record:
            raise StrategyError(
                f"{kind.noun} {path!r}: module {module_name!r} is not installed ({error}). A record names it, and code "
                "that a record names is not imported from the current folder. Where you trust it, give its file: "
                "--strategy-file FILE"
            ) from error
        raise StrategyError(
            f"{kind.noun} {path!r}: module {module_name!r} cannot be imported: {error}. {_HOW}"
        ) from error
    if not hasattr(module, class_name):
        known = [each.__name__ for each in _classes_in(module, kind)]
        raise unknown(f"{kind.noun} class of {module_name}", class_name, known)
    return _checked(getattr(module, class_name), kind)


def _of_file(path: Path) -> Iterator[tuple[str, PlugIn[Any]]]:
    """Import a user's file and yield its plug-ins, each with the noun of its kind."""
    module, code = load_file(path)
    classes = [(kind, each) for kind in _KINDS for each in _classes_in(module, kind)]
    if not classes:
        raise StrategyError(
            f"{path}: no strategy, objective or representation in it. A strategy is a class that derives from "
            f"bench.strategy.base.Strategy{''.join(_unfinished(module, kind) for kind in _KINDS)}"
        )
    for kind, each in classes:
        yield kind.noun, PlugIn(each.name, str(path), partial(_itself, each), code)


def _itself(plug_in: Any) -> Any:
    return plug_in


def load_file(path: Path) -> tuple[ModuleType, str]:
    """Import a Python file under a module name of its own. Returns the module and the SHA-256 of its content.

    Raises:
        StrategyError: it does not exist, or importing it fails. The text names the file and the line.
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


def _own_classes(module: ModuleType, kind: Kind[T]) -> Iterator[Any]:
    """Yield the classes of a kind, and the presets of strategies, that a module defines itself, in textual order."""
    bases = (kind.base, Preset) if kind is STRATEGIES else (kind.base,)
    for value in vars(module).values():
        if inspect.isclass(value) and issubclass(value, bases) and value.__module__ == module.__name__:
            yield value


def _classes_in(module: ModuleType, kind: Kind[T]) -> list[Any]:
    """Return the finished plug-ins of a kind that a module defines itself."""
    return [
        _checked(value, kind)
        for value in _own_classes(module, kind)
        if not inspect.isabstract(value) and not value.__name__.startswith("_")
    ]


def _unfinished(module: ModuleType, kind: Kind[T]) -> str:
    """Return which classes of a module would be plug-ins if they had all methods, as the end of a sentence."""
    lacking = [
        f"{value.__name__} lacks {', '.join(sorted(value.__abstractmethods__))}"
        for value in _own_classes(module, kind)
        if inspect.isabstract(value)
    ]
    return f"; {'; '.join(lacking)}" if lacking else ""


def _checked(value: Any, kind: Kind[T]) -> Any:
    bases = (kind.base, Preset) if kind is STRATEGIES else (kind.base,)
    if not (inspect.isclass(value) and issubclass(value, bases)):
        base = f"{kind.base.__module__}.{kind.base.__name__}"
        raise StrategyError(f"{value!r} is not a {kind.noun}: it must derive from {base}")
    if not isinstance(getattr(value, "name", None), str):
        raise StrategyError(
            f'{value.__module__}.{value.__name__}: a {kind.noun} needs a name: name = "{value.__name__.lower()}"'
        )
    return value
