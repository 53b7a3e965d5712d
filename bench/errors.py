"""Errors that a user can act on, and suggestions for names that were mistyped."""

import difflib
from collections.abc import Iterable


class BenchError(Exception):
    """Something a user can put right. The command line prints its text, no traceback, and exits with `exit_code`."""

    exit_code = 2


class DataError(BenchError):
    """A dataset is missing, malformed or empty; the text names the file and, where there is one, the line."""


class ModelError(BenchError):
    """A base model cannot be loaded, or is not the one that was promised (checksum)."""


class NotApplicableError(BenchError):
    """A strategy cannot work on this model or data. The cell ends as `not_applicable`, with this text as its reason."""


class BudgetError(BenchError):
    """A budget cannot be met or makes no sense (a share above 1, a shape without a stop)."""


class StoreError(BenchError):
    """A run folder cannot be read: written by a newer version, damaged, or not a run at all."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `", did you mean 'x'?"` for the closest known name, or an empty string where none is close."""
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f", did you mean {matches[0]!r}?" if matches else ""


def unknown(kind: str, name: str, known: Iterable[str]) -> BenchError:
    """Return the error for a name that is not among the known ones, with a suggestion and the whole list."""
    names = sorted(known)
    return BenchError(f"unknown {kind} {name!r}{did_you_mean(name, names) or '.'} Known: {', '.join(names)}.")
