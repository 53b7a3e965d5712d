"""Errors that a user can act on, and the sentences that they are made of."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pydantic


class BenchError(Exception):
    """Something that the user can correct. The command line prints the message and exits with `exit_code`."""

    exit_code = 2


class DataError(BenchError):
    """A dataset is missing, malformed or empty. The message names the file and, where there is one, the line."""


class ModelError(BenchError):
    """A base model cannot be loaded, or its checksum is not the expected one."""


class NotApplicableError(BenchError):
    """A strategy cannot work on this model or data. The cell gets the status `not_applicable` and this reason."""


class BudgetError(BenchError):
    """A budget cannot be met or makes no sense (a share above 1, no limit that stops the fit)."""


class StoreError(BenchError):
    """A run folder cannot be read: a newer version wrote it, it is damaged, or it is not a run."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `", did you mean 'x'?"` for the closest known name, or an empty string where none is close."""
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f", did you mean {matches[0]!r}?" if matches else ""


def unknown(kind: str, name: str, known: Iterable[str]) -> BenchError:
    """Return the error for a name that is not among the known ones, with a suggestion and the list of all."""
    names = sorted(known)
    return BenchError(f"unknown {kind} {name!r}{did_you_mean(name, names) or '.'} Known: {', '.join(names)}.")


def describe_validation(error: pydantic.ValidationError, known: Collection[str]) -> str:
    """Return what is wrong with the values that pydantic refused, in one line that names every key.

    Args:
        error: what pydantic raised.
        known: the keys of the first level, to suggest one for a key that is unknown.
    """
    mistakes = error.errors(include_url=False, include_context=False)
    return "; ".join(_mistake(each["type"], each["loc"], each["input"], each["msg"], known) for each in mistakes)


def _mistake(kind: str, location: tuple[int | str, ...], value: Any, message: str, known: Collection[str]) -> str:
    key = ".".join(map(str, location))
    if kind == "missing":
        return f"missing key {key!r}"
    if kind == "extra_forbidden":
        return f"unknown key {key!r}{did_you_mean(key, known) if len(location) == 1 else ''}"
    try:
        shown = repr(value)
    except ValueError:  # an integer of more digits than Python writes
        shown = "a number of many digits"
    if len(shown) > _SHOWN:
        shown = f"{shown[:_SHOWN]}..."
    return f"{key} = {shown}: {_EXPECTED.get(kind, f'{message[:1].lower()}{message[1:]}')}"


_SHOWN = 60
"""Characters of a wrong value that a message repeats."""
_EXPECTED = {"tuple_type": "input should be a list", "model_type": "input should be a table of keys and values"}
"""Words for the errors that pydantic describes in terms of Python."""
