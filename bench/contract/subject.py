"""What the contract is run on: a strategy class with its hyperparameters and parts, in this process or another."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from bench.errors import BenchError
from bench.strategy.base import Strategy
from bench.strategy.hyperparameters import StrategyConfig

if TYPE_CHECKING:
    from bench.expression import Expression
    from bench.planning.registry import Registry
    from bench.strategy.resources import Resources


@dataclass(frozen=True)
class Subject:
    """A strategy to check, and the subjects it is composed of."""

    strategy: type[Strategy]
    config: StrategyConfig
    components: tuple[Subject, ...] = ()

    @classmethod
    def of(
        cls, strategy: type[Strategy] | str, config: StrategyConfig | None = None, files: Sequence[Path] = ()
    ) -> Self:
        """Build a subject from a class, or from an expression such as `hybrid(lora)` and files that define names in it.

        Raises:
            BenchError: a name or an option in the expression is unknown.
        """
        if isinstance(strategy, str):
            from bench.expression import parse
            from bench.planning.registry import Registry

            return cls._of_expression(parse(strategy), Registry(files))
        return cls(strategy, config if config is not None else strategy.Config())

    @classmethod
    def _of_expression(cls, expression: Expression, registry: Registry) -> Self:
        strategy = registry.get(expression.name)
        config = strategy.Config.parse({key: str(value) for key, value in expression.options})
        options, known = dict(expression.options), registry.names()
        named = [options[key] for key in strategy.component_options if key in options and options[key].name in known]
        return cls(
            strategy, config, tuple(cls._of_expression(part, registry) for part in (*expression.arguments, *named))
        )

    def build(self, resources: Resources, components: Sequence[Strategy]) -> Strategy:
        """Return a new, unfitted instance around fitted parts."""
        return self.strategy(self.config, resources, components)

    def to_dict(self) -> dict[str, Any]:
        """Return what another process needs to build it: where its class is, its hyperparameters, its parts."""
        return {
            "module": self.strategy.__module__,
            "file": str(Path(inspect.getfile(self.strategy)).resolve()),
            "class": self.strategy.__qualname__,
            "config": asdict(self.config),
            "components": [part.to_dict() for part in self.components],
        }

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Self:
        """Find the class again and build the subject.

        Raises:
            BenchError: the class is not at the top level of a file that can be imported.
        """
        strategy = _find(raw["module"], Path(raw["file"]), raw["class"])
        components = tuple(cls.from_dict(part) for part in raw["components"])
        return cls(strategy, strategy.Config(**raw["config"]), components)


def _find(module_name: str, file: Path, qualified: str) -> type[Strategy]:
    """Import by name where the name leads to this file, otherwise the file itself (a strategy file, a test)."""
    from bench.planning.registry import load_file

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
