"""`run.json`: every invocation that wrote into a run, oldest first."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, FiniteFloat, TypeAdapter, ValidationError

from bench.errors import StoreError, describe_validation
from bench.records import DIGEST, with_digest, without_digest
from bench.store.files import DamagedError, read_json, write_durably

RUN_FILE = "run.json"
RUN_COPY = "run.previous.json"
"""The earlier content of `run.json`, for a process that ends while it writes a new one."""


def _moment(text: str) -> str:
    if datetime.fromisoformat(text).tzinfo is None:
        raise ValueError("it has no time zone")
    return text


class _Config(BaseModel, extra="allow"):
    usd_per_hour: FiniteFloat | None = None


class _Invocation(BaseModel, extra="allow"):
    """Those keys of an invocation that commands compute with. `bench.running.run` writes them and more."""

    started: Annotated[str, AfterValidator(_moment)] = ""
    """ISO 8601, with its time zone."""
    seconds: FiniteFloat = 0.0
    command: list[str] | None = None
    config: _Config | None = None
    plan: dict[str, int] | None = None
    planned: dict[str, list[str]] | None = None
    replaced: list[str] | None = None
    """Planned names that had a record when the invocation began, and that it makes again."""


_INVOCATIONS = TypeAdapter(list[_Invocation])


def read_invocations(path: Path) -> list[dict[str, Any]]:
    """Return the invocations that a file lists; none where there is no file.

    Raises:
        DamagedError: the file is not what was written.
    """
    if not path.is_file():
        return []
    values = read_json(path)
    try:
        if DIGEST in values:  # older versions of AdaptBench wrote none
            values = without_digest(values)
        if set(values) != {"invocations"} or not isinstance(values["invocations"], list):
            raise StoreError("it holds no list of invocations")
        _INVOCATIONS.validate_python(values["invocations"], strict=True)
    except ValidationError as error:
        raise DamagedError(f"{path} is damaged: {describe_validation(error, ())}") from error
    except StoreError as error:
        raise DamagedError(f"{path} is damaged: {error}") from error
    invocations: list[dict[str, Any]] = values["invocations"]
    return invocations


def latest_invocations(folder: Path) -> list[dict[str, Any]]:
    """Return the invocations of a run; those of the earlier copy where `run.json` is damaged.

    Raises:
        DamagedError: both files are damaged.
    """
    try:
        return read_invocations(folder / RUN_FILE)
    except StoreError:
        return read_invocations(folder / RUN_COPY)


def write_invocations(folder: Path, invocations: Sequence[Mapping[str, Any]], earlier: Sequence[Any]) -> None:
    """Write `run.json`.

    Args:
        folder: the folder of the run; it is made where it does not exist.
        invocations: what it is to list.
        earlier: what `run.previous.json` keeps until the new file is on the disk.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / RUN_FILE).exists():
        write_durably(folder / RUN_COPY, _text(earlier))
    write_durably(folder / RUN_FILE, _text(invocations))


def _text(invocations: Sequence[Mapping[str, Any]]) -> str:
    return json.dumps(with_digest({"invocations": list(invocations)}), indent=1, ensure_ascii=False) + "\n"
