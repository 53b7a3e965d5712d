"""A strategy before it is built: its class, hyperparameters and components, for this process or another."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import reduce
from pathlib import Path
from typing import Any, Self

from bench.errors import BenchError
from bench.expression import Expression, parse
from bench.planning.build import build, canonical, components_of, config_of
from bench.planning.registry import Registry, load_file
from bench.strategy.base import Strategy
from bench.strategy.hyperparameters import StrategyConfig
from bench.strategy.resources import Resources


@dataclass(frozen=True)
class Blueprint:
    """What a strategy is built from: class, hyperparameters, and the blueprints of its components."""

    strategy: type[Strategy]
    config: StrategyConfig
    components: tuple[Blueprint, ...] = ()
    files: tuple[Path, ...] = ()
    """The user's files that define strategies, objectives or representations."""

    @classmethod
    def of(
        cls, strategy: type[Strategy] | str, config: StrategyConfig | None = None, files: Sequence[Path] = ()
    ) -> Self:
        """Return the blueprint of a class, or of an expression such as `hybrid(lora)`.

        Args:
            strategy: the class or the expression.
            config: hyperparameters of a class; None for its defaults.
            files: strategy files that define names in the expression.

        Raises:
            BenchError: a name or an option in the expression is unknown.
        """
        places = tuple(Path(file).resolve() for file in files)  # another process may have another working folder
        if isinstance(strategy, str):
            registry = Registry(places)
            return cls._of_expression(canonical(parse(strategy), registry), registry, places)
        return cls(strategy, config if config is not None else strategy.Config(), files=places)

    @classmethod
    def _of_expression(cls, expression: Expression, registry: Registry, files: tuple[Path, ...]) -> Self:
        values = {key: str(value) for key, value in expression.options}
        components, _ = components_of(expression, registry)
        return cls(
            registry.get(expression.name),
            config_of(expression.name, values, registry),
            tuple(cls._of_expression(component, registry, files) for component in components),
            files,
        )

    def build(self, resources: Resources, components: Sequence[Strategy]) -> Strategy:
        """Return a new, unfitted strategy around fitted components."""
        return build(self.strategy, self.config, Registry(self.files), resources, components)

    def to_dict(self) -> dict[str, Any]:
        """Return what another process needs to build the strategy: class file, hyperparameters and components."""
        return {
            "module": self.strategy.__module__,
            "file": str(Path(inspect.getfile(self.strategy)).resolve()),
            "class": self.strategy.__qualname__,
            "config": asdict(self.config),
            "components": [component.to_dict() for component in self.components],
            "files": [str(file) for file in self.files],
        }

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Self:
        """Find the class again and return the blueprint.

        Raises:
            BenchError: the class is not at the top level of a file that can be imported.
        """
        strategy = _find(raw["module"], Path(raw["file"]), raw["class"])
        components = tuple(cls.from_dict(component) for component in raw["components"])
        files = tuple(Path(file) for file in raw["files"])
        return cls(strategy, strategy.Config(**raw["config"]), components, files)


def _find(module_name: str, file: Path, qualified: str) -> type[Strategy]:
    """Return a class. Its module is imported by name if that name leads to this file, and from the file if not."""
    try:
        module = importlib.import_module(module_name)
        found = getattr(module, "__file__", None)
        if found is None or Path(found).resolve() != file:
            module, _ = load_file(file)
    except ImportError:
        module, _ = load_file(file)
    try:
        strategy: type[Strategy] = reduce(getattr, qualified.split("."), module)  # type: ignore[assignment]
    except AttributeError as error:
        raise BenchError(
            f"{file}: {qualified} is not at its top level, where another process could import it"
        ) from error
    return strategy
