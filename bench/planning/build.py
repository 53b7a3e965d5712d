"""What an expression means: its canonical form, its components, and the strategy that it builds.

`lora(objective=listwise(teacher=rerank(frozen)), start=full)` names a method, an objective and two components. The
components follow in this order: positional ones, those of the strategy's own options, those of its objective's options.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from bench.encoders.base import BaseEncoder
from bench.encoders.strategy import EncoderStrategy
from bench.encoders.vectors import ranks_by_vectors
from bench.errors import BenchError
from bench.expression import Expression, ExpressionError, parse
from bench.objectives.base import Objective
from bench.planning.registry import Registry
from bench.representations.base import Representation
from bench.strategy.base import Needs, Strategy
from bench.strategy.code import is_shipped, module_code
from bench.strategy.hyperparameters import StrategyConfig
from bench.strategy.resources import Resources

OBJECTIVE, REPRESENTATION = "objective", "representation"
START, SOURCES = "start", "sources"
SOURCE_SIGN = "|"
"""Stands between the names of source datasets."""


def canonical(expression: Expression, registry: Registry, keep_sizes: bool = False) -> Expression:
    """Return the one form of an expression: presets by name, explicit defaults left out, values written one way.

    Args:
        expression: as the user wrote it.
        registry: strategies, objectives and representations.
        keep_sizes: whether options that set the size stay even at their default. A budget of trainable parameters
            would otherwise choose them.

    Raises:
        BenchError: a name or an option is not known, or a value makes no sense.
    """
    expression = expand(expression, registry)
    kind = registry.get(expression.name)
    arguments = expression.arguments
    if kind.n_components:
        arguments = tuple(canonical(each, registry, keep_sizes) for each in arguments)
    values: dict[str, str] = {}
    for key, value in expression.options:
        if key in kind.component_options and value.name in registry.names():
            values[key] = str(canonical(value, registry, keep_sizes))
        elif key in (OBJECTIVE, REPRESENTATION) and key in _fields(kind.Config):
            values[key] = str(_canonical_axis(key, value, registry, keep_sizes))
        elif key == SOURCES and key in _fields(kind.Config):
            values[key] = SOURCE_SIGN.join(sources_in(value.name if value.is_name else str(value)))
        else:
            values[key] = value.name if value.is_name else str(value)
    try:
        config = kind.Config.parse(values)
        kept = config.changed()
        size = config.size_parameter()
        if keep_sizes and size is not None:
            kept |= {name: getattr(config, name) for name in size.options if name in values}
    except BenchError as error:
        raise ExpressionError(f"{expression}: {error}") from error
    options = tuple((key, _parsed(key, kept[key], kind)) for key in sorted(values) if key in kept)
    return _by_preset(Expression(expression.name, arguments, options), registry)


def _canonical_axis(axis: str, value: Expression, registry: Registry, keep_sizes: bool) -> Expression:
    """Return the canonical form of an objective or a representation."""
    plug_in = _axis(axis, value.name, registry)
    if axis == OBJECTIVE:
        _check_wrapping(value, registry)
    options: dict[str, str] = {}
    arguments = tuple(_canonical_axis(axis, each, registry, keep_sizes) for each in value.arguments)
    component_options = plug_in.component_options if issubclass(plug_in, Objective) else ()
    for key, each in value.options:
        is_component = key in component_options and each.name in registry.names()
        options[key] = str(canonical(each, registry, keep_sizes) if is_component else each)
    try:
        changed = plug_in.Config.parse(options).changed()
    except BenchError as error:
        raise ExpressionError(f"{value}: {error}") from error
    kept = [(key, _value(changed[key])) for key in sorted(options) if key in changed]
    return Expression(value.name, arguments, tuple(kept))


def expand(expression: Expression, registry: Registry) -> Expression:
    """Return the expression that a preset stands for, with the options that the user added.

    Raises:
        ExpressionError: an option is missing that the preset cannot do without.
    """
    stands_for = registry.preset(expression.name)
    if stands_for is None:
        return expression
    for option in registry.required(expression.name):
        if option not in dict(expression.options):
            raise ExpressionError(f"{expression}: it needs {option}=, as in {expression.name}({option}=...)")
    options = {**dict(stands_for.options), **dict(expression.options)}
    return Expression(stands_for.name, expression.arguments, tuple(sorted(options.items())))


def _by_preset(expression: Expression, registry: Registry) -> Expression:
    """Return the expression by the name of a preset, where one stands for some of its options."""
    own = dict(expression.options)
    for name, stands_for in registry.presets():
        options = dict(stands_for.options)
        needed = {*options, *registry.required(name)}
        if stands_for.name == expression.name and options.items() <= own.items() and needed <= own.keys():
            rest = tuple((key, value) for key, value in expression.options if key not in options)
            return Expression(name, expression.arguments, rest)
    return expression


def components_of(expression: Expression, registry: Registry) -> tuple[list[Expression], str | None]:
    """Return the components of an expression, and the base model that it names instead of the run's.

    A positional argument is a component where the strategy takes some, else a base model: `frozen(NAME)`.

    Raises:
        ExpressionError: there are too few or too many components.
    """
    expression = expand(expression, registry)
    kind = registry.get(expression.name)
    components, expected, model = list(expression.arguments), kind.n_components, None
    if expected == 0 and len(components) == 1 and components[0].is_name:
        model = components.pop().name
    if len(components) < expected or (len(components) > expected and not kind.more_components):
        names = ["STRATEGY"] * expected + ["..."] * kind.more_components
        form = f"{expression.name}({', '.join(names)})" if expected else expression.name
        counted = "1 component" if expected == 1 else f"{expected or 'no'} components"
        counted += " or more" if kind.more_components else ""
        raise ExpressionError(f"{expression}: {expression.name} takes {counted}: write {form}")
    options = dict(expression.options)
    components += _named(kind.component_options, options, registry)
    if own_start := _own_start(expression, kind, registry):
        components.append(own_start)
    if OBJECTIVE in options and OBJECTIVE in _fields(kind.Config):
        objective = options[OBJECTIVE]
        for each in layers(objective):
            components += _named(registry.objective(each.name).component_options, dict(each.options), registry)
    return components, model


def _own_start(expression: Expression, kind: type[Strategy], registry: Registry) -> Expression | None:
    """Return the strategy without its sources, which is fitted on them first; None where another start is named."""
    options = dict(expression.options)
    if SOURCES not in options or START in options or SOURCES not in _fields(kind.Config):
        return None
    rest = tuple((key, value) for key, value in expression.options if key != SOURCES)
    return _by_preset(Expression(expression.name, expression.arguments, rest), registry)


def sources_in(text: str) -> list[str]:
    """Return the names of source datasets in `a|b`, each once, in an order that spelling does not change.

    Raises:
        ExpressionError: a name is missing.
    """
    names = [name.strip() for name in text.split(SOURCE_SIGN)]
    if not all(names):
        raise ExpressionError(f"sources={text}: a dataset is missing beside {SOURCE_SIGN!r}")
    return sorted(set(names))


def _named(keys: Sequence[str], options: Mapping[str, Expression], registry: Registry) -> Iterator[Expression]:
    """Yield the options among `keys` that name a strategy."""
    return (options[key] for key in keys if key in options and options[key].name in registry.names())


def needs_of(kind: type[Strategy], config: StrategyConfig, registry: Registry) -> frozenset[Needs]:
    """Return what the fit of a strategy uses. For an encoder strategy its objective decides."""
    if not issubclass(kind, EncoderStrategy) or OBJECTIVE not in _fields(kind.Config):
        return kind.needs
    *_, innermost = layers(parse(getattr(config, OBJECTIVE)))
    objective, options = _objective(innermost, registry)
    return objective.needed(options)


def shown_to(needs: frozenset[Needs], on_generated: bool) -> frozenset[Needs]:
    """Return what a fit uses where generated queries take the place of labels: for the teacher of `gpl`."""
    return needs - {"pairs"} | {"generated"} if on_generated and "pairs" in needs else needs


def code_of(kind_name: str, config: StrategyConfig, registry: Registry) -> str:
    """Return digests of the user's files that a strategy comes from; empty where all of it is shipped."""
    codes = [registry.entry(kind_name).code or _user_code(registry.get(kind_name))]
    for axis, plug_ins in ((OBJECTIVE, registry.objectives), (REPRESENTATION, registry.representations)):
        if axis in _fields(type(config)):
            named = parse(getattr(config, axis))
            for each in layers(named):
                codes.append(plug_ins.entry(each.name).code or _user_code(_axis(axis, each.name, registry)))
    return "+".join(dict.fromkeys(code[:16] for code in codes if code))


def _user_code(kind: type) -> str:
    """Return the digest of the file that a class from an entry point or `module:Class` is defined in."""
    return "" if is_shipped(kind.__module__) else module_code(kind.__module__)


def axis_versions(config: StrategyConfig, registry: Registry) -> dict[str, int]:
    """Return the version of each axis that is not at its default: a part of a fit's identity."""
    changed = config.changed()
    versions: dict[str, int] = {}
    for axis in (OBJECTIVE, REPRESENTATION):
        if axis in changed:
            named = parse(getattr(config, axis))
            versions[axis] = _axis(axis, named.name, registry).version
            inner = list(layers(named))[1:]
            versions |= {f"{axis}.{each.name}": _axis(axis, each.name, registry).version for each in inner}
    return versions


def files_of(kind: type[Strategy], config: StrategyConfig, registry: Registry) -> Sequence[Path]:
    """Return files besides dataset and base model that decide a strategy's result.

    Raises:
        BenchError: a file does not exist, or the objective cannot work as configured.
    """
    files = list(kind.inputs(config))
    if OBJECTIVE in _fields(kind.Config):
        named = parse(getattr(config, OBJECTIVE))
        for each in layers(named):
            objective, options = _objective(each, registry)
            _check_representation(objective, registry.representation(parse(getattr(config, REPRESENTATION)).name))
            objective.check(options)
            files += objective.inputs(options)
    return files


def objectives_of(config: StrategyConfig, registry: Registry) -> list[type[Objective]]:
    """Return the class of a strategy's objective, and of the one that it wraps; empty where it has none."""
    if OBJECTIVE not in _fields(type(config)):
        return []
    named = parse(getattr(config, OBJECTIVE))
    return [registry.objective(each.name) for each in layers(named)]


def _check_wrapping(expression: Expression, registry: Registry) -> None:
    """Refuse an objective with arguments that it does not take, or without the one that it takes."""
    name = expression.name
    if not registry.objective(name).wraps:
        if expression.arguments:
            raise ExpressionError(f"{expression}: {name} takes no objective in parentheses, only options")
        return
    if len(expression.arguments) != 1:
        raise ExpressionError(f"{expression}: {name} takes one objective: write {name}(contrastive)")
    (inner,) = expression.arguments
    if name in [each.name for each in layers(inner)]:
        raise ExpressionError(f"{expression}: {name} stands in {name}: write it once")
    try:
        registry.objective(name).check_inner(registry.objective(inner.name))
    except BenchError as error:
        raise ExpressionError(f"{expression}: {error}") from error
    _check_wrapping(inner, registry)


def _check_representation(objective: type[Objective], representation: type[Representation]) -> None:
    """Refuse a representation that the objective cannot work with."""
    if objective.representations and representation.name not in objective.representations:
        raise BenchError(
            f"objective {objective.name} cannot work with representation {representation.name}: it needs "
            f"{' or '.join(objective.representations)}, where a text is one vector"
        )
    if representation.replaces_base and (objective.guided or objective.dropout):
        raise BenchError(
            f"objective {objective.name} cannot work with representation {representation.name}: it needs the base "
            f"model's {'scores of the same tokens' if objective.guided else 'dropout'}"
        )


def representation_of(config: StrategyConfig, registry: Registry) -> type[Representation] | None:
    """Return the class of a strategy's representation; None where it has none."""
    if REPRESENTATION not in _fields(type(config)):
        return None
    return registry.representation(parse(getattr(config, REPRESENTATION)).name)


def is_single_vector(kind: type[Strategy], config: StrategyConfig, registry: Registry) -> bool:
    """Return whether a strategy ranks by one vector a text, and by nothing else."""
    if not ranks_by_vectors(kind):
        return False
    representation = representation_of(config, registry)
    return representation is None or representation.single_vector


def layers(expression: Expression) -> Iterator[Expression]:
    """Yield an objective, the objective that it wraps, and so on to the innermost one."""
    yield expression
    for each in expression.arguments:
        yield from layers(each)


def config_of(name: str, values: Mapping[str, Any], registry: Registry) -> StrategyConfig:
    """Return the hyperparameters of a strategy or preset, with these values.

    Raises:
        BenchError: a name or an option is not known.
    """
    stands_for = registry.preset(name)
    defaults = {key: str(value) for key, value in stands_for.options} if stands_for else {}
    return registry.get(name).Config.parse({**defaults, **values})


def build(
    kind: type[Strategy],
    config: StrategyConfig,
    registry: Registry,
    resources: Resources,
    components: Sequence[Strategy] = (),
) -> Strategy:
    """Return an unfitted strategy.

    Args:
        kind: its class.
        config: its hyperparameters.
        registry: objectives and representations.
        resources: what the harness lends.
        components: fitted, in the order of `components_of`.

    Raises:
        BenchError: an objective or a representation is not known.
    """
    if issubclass(kind, EncoderStrategy) and OBJECTIVE in _fields(kind.Config):
        split = kind.n_components + bool(getattr(config, START, "") or getattr(config, SOURCES, ""))
        objective = build_objective(parse(getattr(config, OBJECTIVE)), registry, resources, components[split:])
        representation = build_representation(parse(getattr(config, REPRESENTATION)), registry)
        return kind(config, resources, components[:split], objective, representation)
    if issubclass(kind, BaseEncoder) and REPRESENTATION in _fields(kind.Config):
        representation = build_representation(parse(getattr(config, REPRESENTATION)), registry)
        return kind(config, resources, components, representation)
    return kind(config, resources, components)


def build_objective(
    expression: Expression, registry: Registry, resources: Resources, components: Sequence[Strategy] = ()
) -> Objective:
    """Return an objective, and the objective that it wraps where its expression has an argument."""
    objective, config = _objective(expression, registry)
    if not expression.arguments:
        return objective(config, resources, components)
    (wrapped,) = expression.arguments
    inner = build_objective(wrapped, registry, resources, components)
    return objective(config, resources, components, inner)  # type: ignore[call-arg]


def build_representation(expression: Expression, registry: Registry) -> Representation:
    """Return a representation."""
    representation = registry.representation(expression.name)
    return representation(representation.Config.parse({key: str(value) for key, value in expression.options}))


def _objective(expression: Expression, registry: Registry) -> tuple[type[Objective], StrategyConfig]:
    """Return an objective's class and its configuration."""
    _check_wrapping(expression, registry)
    objective = registry.objective(expression.name)
    return objective, objective.Config.parse({key: str(value) for key, value in expression.options})


def _axis(axis: str, name: str, registry: Registry) -> type[Objective] | type[Representation]:
    return registry.objective(name) if axis == OBJECTIVE else registry.representation(name)


def _fields(config: type[StrategyConfig]) -> set[str]:
    return {field.name for field in fields(config)}


def _parsed(key: str, value: Any, kind: type[Strategy]) -> Expression:
    """Return an option's value as an expression: a component or an axis keeps its structure."""
    if key == SOURCES:
        return Expression(str(value))
    if isinstance(value, str) and (key in kind.component_options or key in (OBJECTIVE, REPRESENTATION)):
        return parse(value)
    return _value(value)


def _value(value: Any) -> Expression:
    """Return a plain value as an expression; one that is an expression already keeps its structure."""
    if isinstance(value, bool):
        return Expression(str(value).lower())
    if isinstance(value, str):
        try:
            return parse(value)
        except ExpressionError:
            return Expression(value)
    return Expression(repr(value) if isinstance(value, float) else str(value))
