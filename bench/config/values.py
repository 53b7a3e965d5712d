"""The types of settings: how a file, the command line or Python may write each kind of value."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, Field, ValidationInfo
from typing_extensions import TypedDict

from bench.budget import SHAPES, STOPS, parse_amount
from bench.errors import BenchError, unknown
from bench.expression import parse, parse_list
from bench.models.device import check_name
from bench.training.tracking import TRACKERS

_LARGEST = 10**300
"""No setting is as large, and Python does not write integers of more than 4,300 digits."""
_COMMA = re.compile(r",(?![^()]*\))")
"""Between the items of a list, not between the parameters of one: `ndcg@10,RBP(p=0.8,rel=2)`."""


def _reader(read: Callable[[str, Any], Any]) -> BeforeValidator:
    """Return a validator that calls `read(name, value)` and passes its `BenchError` on as pydantic expects it."""

    def validate(value: Any, info: ValidationInfo) -> Any:
        try:
            return read(str(info.field_name), value)
        except BenchError as error:
            raise ValueError(str(error)) from error

    return BeforeValidator(validate)


def text(name: str, value: Any) -> str:
    """Return one value as text.

    Raises:
        BenchError: the value is missing, or there are several; the text says what to write instead.
    """
    if value is None:
        raise BenchError(f"{name}: a value is missing")
    if isinstance(value, int) and abs(value) >= _LARGEST:
        raise BenchError(f"{name}: a number of {value.bit_length() * 3 // 10} digits is too large")
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


def _items(name: str, value: Any) -> list[Any]:
    """Return the items of a list, which may be one value or a text with commas."""
    if value is None:
        raise BenchError(f"{name}: a value is missing")
    if isinstance(value, str):
        return list(_without_split_paths([part for part in _COMMA.split(value) if part.strip()])) or [""]
    return list(value) if isinstance(value, Sequence) else [value]


def _without_split_paths(parts: list[str]) -> Iterator[str]:
    """Yield the items of a list, and whole the path of an existing file or folder whose name has commas."""
    begin = 0
    while begin < len(parts):
        ends = range(len(parts), begin + 1, -1)
        joined = (",".join(parts[begin:end]).strip() for end in ends)
        path = next((path for path in joined if _exists(path)), None)
        yield parts[begin].strip() if path is None else path
        begin += 1 if path is None else path.count(",") + 1


def _exists(path: str) -> bool:
    try:
        return Path(path).exists()
    except (OSError, ValueError):  # a name that is too long or holds a null character
        return False


def _texts(name: str, value: Any) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text(name, each) for each in _items(name, value)))


def _texts_or_none(name: str, value: Any) -> tuple[str, ...]:
    names = _texts(name, value)
    return () if names in (("",), ("none",)) else names


def _trackers(name: str, value: Any) -> tuple[str, ...]:
    for tracker in (names := _texts_or_none(name, value)):
        if tracker not in TRACKERS:
            raise unknown("tracker", tracker, TRACKERS)
    return names


def _measure(name: str, value: Any) -> str:
    from bench.evaluation.measures import parse_measure

    return parse_measure(text(name, value)).key


def _measures(name: str, value: Any) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_measure(name, each) for each in _items(name, value)))


def _device(name: str, value: Any) -> str:
    check_name(device := text(name, value))
    return device


def _expressions(name: str, value: Any) -> tuple[str, ...]:
    if value is None:
        raise BenchError(f"{name}: a value is missing")
    parts = [value] if isinstance(value, str) else _items(name, value)
    return tuple(dict.fromkeys(str(each) for part in parts for each in parse_list(text(name, part))))


def _whole(name: str, value: Any) -> int:
    try:
        if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
            raise ValueError
        if isinstance(value, str) and not value.isascii():
            raise ValueError
        return int(value)
    except (ValueError, TypeError, OverflowError):
        text(name, value)
        raise BenchError(f"{name}: {repr(value)[:60]} is not a whole number") from None


def _wholes(name: str, value: Any) -> tuple[int, ...]:
    return tuple(_whole(name, each) for each in _items(name, value))


def _amounts(name: str, value: Any) -> tuple[float, ...]:
    return tuple(dict.fromkeys(parse_amount(text(name, each), name) for each in _items(name, value)))


def limits_of(name: str, value: Any) -> dict[str, Any]:
    """Return the limits of a budget by name, their amounts not yet read.

    Raises:
        BenchError: the value is no mapping, or names something that is no limit.
    """
    if not isinstance(value, Mapping):
        raise BenchError(f"{name}: expected limits such as 'steps: 150', got {value!r}")
    limits = {str(key).replace("-", "_"): amounts for key, amounts in value.items()}
    for limit in limits:
        if limit not in (*SHAPES, *STOPS):
            raise unknown("budget", limit, (*SHAPES, *STOPS))
    return limits


def settings_of(name: str, value: Any) -> dict[str, str]:
    """Read `lora.r=16` (one or several) or a mapping, nested (`lora: {r: 16}`) or flat (`lora.r: 16`).

    Raises:
        BenchError: the value has none of these forms.
    """
    settings: dict[str, str] = {}
    for key, each in _pairs(value):
        owner, _, option = key.partition(".")
        if not owner.strip() or not option.strip() or each is None:
            raise BenchError(f"{name} {key}: expected strategy.option=value, such as lora.r=16, or train.option=value")
        settings[f"{owner.strip()}.{option.strip()}"] = str(each).strip()
    return settings


def _pairs(value: Any) -> list[tuple[str, Any]]:
    if not isinstance(value, Mapping):
        texts = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]
        return [(key, each if sign else None) for key, sign, each in (str(part).partition("=") for part in texts)]
    pairs: list[tuple[str, Any]] = []
    for key, inner in value.items():
        nested = inner.items() if isinstance(inner, Mapping) else ()
        pairs += [(f"{key}.{option}", each) for option, each in nested] or [(str(key), inner)]
    return pairs


T = TypeVar("T")
Text = Annotated[str, _reader(text)]
TextChecked = Annotated[T, _reader(text)]
"""A text that must be one of a few: `TextChecked[Literal["never", "always"]]`."""
Texts = Annotated[tuple[str, ...], _reader(_texts), Field(min_length=1)]
"""A list, or a text with commas between its items. Repetitions are dropped."""
TextsOrNone = Annotated[tuple[str, ...], _reader(_texts_or_none)]
"""A list that may be empty: `none` and an empty text stand for the empty one."""
Trackers = Annotated[tuple[str, ...], _reader(_trackers)]
MeasureName = Annotated[str, _reader(_measure)]
MeasureNames = Annotated[tuple[str, ...], _reader(_measures), Field(min_length=1)]
"""Measures under their canonical names."""
Device = Annotated[str, _reader(_device)]
StrategyText = Annotated[str, _reader(lambda name, value: str(parse(text(name, value))))]
"""A strategy expression in its canonical form."""
StrategyTexts = Annotated[tuple[str, ...], _reader(_expressions), Field(min_length=1)]
Flag = Annotated[bool, Field(strict=True)]
Whole = Annotated[int, _reader(_whole)]
Wholes = Annotated[tuple[int, ...], _reader(_wholes), Field(min_length=1)]
Amount = Annotated[float, _reader(lambda name, value: parse_amount(text(name, value), name))]
"""A number with the unit that its setting takes: `90`, `10m`, `2%`."""
Amounts = Annotated[tuple[float, ...], _reader(_amounts)]
Counts = Annotated[tuple[int, ...], _reader(lambda name, value: tuple(int(each) for each in _amounts(name, value)))]
Overrides = Annotated[dict[str, str], _reader(settings_of)]


class Limits(TypedDict, total=False):
    """What one fit may use. The amounts of a limit are swept, and the limits multiply."""

    steps: Annotated[Counts, Field(description="optimiser steps")]
    flops: Annotated[Amounts, Field(description="floating-point operations of training, such as 1e15")]
    seconds: Annotated[Amounts, Field(description="seconds of fitting, or a time such as 2m or 1.5h")]
    usd: Annotated[Amounts, Field(description="money, at the price given by --usd-per-hour")]
    examples: Annotated[Counts, Field(description="labelled pairs, development pairs included")]
    trainable_params: Annotated[Amounts, Field(description="trainable parameters: a count, or a share such as 0.5%")]
    memory: Annotated[Counts, Field(description="peak memory of a fit, such as 8GiB or 500MB")]


Budgets = Annotated[Limits, _reader(limits_of)]
