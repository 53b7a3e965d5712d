"""Times that are measured once and kept in the folder of a run, where seeds, cells and resumed runs find them."""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Callable, Mapping
from pathlib import Path

from bench.data.files import write_atomically

_LOG = logging.getLogger("adaptbench")


def seconds_measured_once(folder: Path | None, identity: object, measure: Callable[[], float]) -> float:
    """Return the seconds of some work, measured once for a run and a class of machine.

    A damaged measurement is taken again. One that cannot be stored is used nevertheless.

    Args:
        folder: the run's folder for measurements on this class of machine; None measures each time.
        identity: what is measured. Its `repr` tells measurements apart.
        measure: does the work and returns the seconds it took.
    """
    if folder is None:
        return measure()
    name = hashlib.sha256(repr(identity).encode()).hexdigest()[:16]
    path = folder / f"{name}.json"
    values: dict[str, object] = {"identity": repr(identity)}
    if (stored := _stored_seconds(path, values)) is not None:
        return stored
    seconds = measure()
    values["seconds"] = seconds
    content = json.dumps(values | {"digest": _digest(values)}).encode()
    try:
        write_atomically(path, content)
    except OSError as error:
        _LOG.warning("%s cannot be written, so resumed runs measure again: %s", path, error.strerror or error)
    return seconds


def _stored_seconds(path: Path, expected: Mapping[str, object]) -> float | None:
    """Return a stored measurement; None where there is none, or where the file is damaged or of another identity."""
    try:
        values = json.loads(path.read_bytes())
        digest = values.pop("digest", None)
        seconds = float(values["seconds"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        _LOG.warning("%s is damaged and measured again: %s", path, error)
        return None
    same = values.keys() == {*expected, "seconds"} and all(values[key] == expected[key] for key in expected)
    if not same or digest != _digest(values) or not (math.isfinite(seconds) and seconds > 0):
        _LOG.warning("%s is damaged and measured again", path)
        return None
    return seconds


def _digest(values: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
