"""What a file or the command line says of one setting, read as the field of `RunConfig` takes it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from bench.budget import SHAPES, STOPS, parse_amount
from bench.errors import BenchError, unknown
from bench.expression import parse, parse_list

_WHOLE = ("examples", "steps", "memory")
_COMMA = re.compile(r",(?![^()]*\))")
"""Between the items of a list, not between the parameters of one: `ndcg@10,RBP(p=0.8,rel=2)`."""


def canonical(key: Any) -> str:
    """Return the name of the field, or `budget_` limit, that a key means."""
    name = str(key).replace("-", "_")
    return {"strategy_file": "strategy_files", "models": "model", "dataset": "datasets"}.get(name, name)


def value_of(name: str, value: Any, kind: str) -> Any:
    """Return the value of a field as the field takes it; `kind` is its annotation.

    Raises:
        BenchError: it cannot be taken so; says what to write instead.
    """
    if name == "set":
        return settings_of(value)
    if value is None:
        if kind.endswith("| None"):
            return None
        raise BenchError(f"{name}: a value is missing")
    if name == "strategies":
        texts = [value] if isinstance(value, str) else _list(value)
        return tuple(dict.fromkeys(str(found) for text in texts for found in parse_list(_text(name, text))))
    if name == "baseline":
        return str(parse(_text(name, value)))
    if name == "probes" and value in ("", "none"):
        return ()
    if kind == "tuple[int, ...]":
        return tuple(_whole(name, each) for each in _list(value))
    if kind.startswith("tuple"):
        return tuple(dict.fromkeys(_text(name, each) for each in _list(value)))
    if kind == "bool":
        if not isinstance(value, bool):
            raise BenchError(f"{name}: {value!r} is neither true nor false")
        return value
    if kind == "int":
        return _whole(name, value)
    text = _text(name, value)
    return parse_amount(text, name) if kind.startswith("float") else text


def _text(name: str, value: Any) -> str:
    """Return one value as text.

    Raises:
        BenchError: it is missing, or not one; says what to write instead.
    """
    if value is None:
        raise BenchError(f"{name}: a value is missing")
    if isinstance(value, Mapping) and name == "strategies":
        options = [
            f"{key}({', '.join(f'{option}={each}' for option, each in inner.items())})"
            if isinstance(inner, Mapping)
            else str(key)
            for key, inner in value.items()
        ]
        raise BenchError(f"strategies: options go into parentheses, or under 'set': write {', '.join(options)}")
    if isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 1:
        raise BenchError(f"{name}: {value!r} is a list where one value belongs: write {value[0]}")
    if isinstance(value, Mapping) or (isinstance(value, Sequence) and not isinstance(value, str)):
        raise BenchError(f"{name}: {value!r} stands where one value belongs: write it without brackets and keys")
    if isinstance(value, bool):
        raise BenchError(f"{name}: YAML reads this word as {str(value).lower()}: put it in quotes")
    return str(value)


def _list(value: Any) -> list[Any]:
    if isinstance(value, str):
        return [part.strip() for part in _COMMA.split(value) if part.strip()] or [""]
    return list(value) if isinstance(value, Sequence) else [value]


def _whole(name: str, value: Any) -> int:
    try:
        if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
            raise ValueError
        return int(value)
    except (ValueError, TypeError):
        raise BenchError(f"{name}: {value!r} is not a whole number") from None


def limits_of(value: Any) -> dict[str, Any]:
    """Return what is said of each limit of a budget, under its name.

    Raises:
        BenchError: it is not keys and values, or a key is no limit.
    """
    if not isinstance(value, Mapping):
        raise BenchError(f"budget: expected limits such as 'steps: 150', got {value!r}")
    result = {str(key).replace("-", "_"): amounts for key, amounts in value.items()}
    for name in result:
        if name not in (*SHAPES, *STOPS):
            raise unknown("budget", name, (*SHAPES, *STOPS))
    return result


def amounts_of(value: Any) -> dict[str, tuple[float, ...]]:
    """Return the amounts of each limit of a budget.

    Raises:
        BenchError: a limit is not known, or is not an amount.
    """
    result = {}
    for name, amounts in limits_of(value).items():
        numbers = [parse_amount(str(amount), name) for amount in _list(amounts)]
        result[name] = tuple(dict.fromkeys(int(number) if name in _WHOLE else number for number in numbers))
    return result


def settings_of(value: Any) -> dict[str, str]:
    """Read `lora.r=16` (one or several) or a mapping, nested (`lora: {r: 16}`) or flat (`lora.r: 16`).

    Raises:
        BenchError: it is none of these.
    """
    result: dict[str, str] = {}
    for key, each in _pairs(value):
        owner, _, name = key.partition(".")
        if not owner.strip() or not name.strip() or each is None:
            raise BenchError(f"set {key}: expected strategy.option=value, such as lora.r=16, or train.option=value")
        result[f"{owner.strip()}.{name.strip()}"] = str(each).strip()
    return result


def _pairs(value: Any) -> list[tuple[str, Any]]:
    if not isinstance(value, Mapping):
        texts = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]
        return [(key, each if sign else None) for key, sign, each in (str(text).partition("=") for text in texts)]
    pairs: list[tuple[str, Any]] = []
    for key, inner in value.items():
        nested = inner.items() if isinstance(inner, Mapping) else ()
        pairs += [(f"{key}.{name}", each) for name, each in nested] or [(str(key), inner)]
    return pairs
