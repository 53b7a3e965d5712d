"""The catalogue of known datasets: one TOML file for each, under `datasets/`. A new dataset is a new file.

Files lie in `./datasets`, beside the checkout, and in the installed package (`bench/_datasets`). Where two files have
the same name, the earlier place in this order counts.
"""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
from pydantic import Field

from bench.data.dataset import DatasetInfo
from bench.errors import DataError, describe_validation

Kind = Literal["retrieval", "similarity", "pydocs"]
Strings = Annotated[tuple[str, ...], Field(strict=False)]
"""A list in TOML."""
_PACKAGE = Path(__file__).resolve().parent.parent
_DESCRIBED = frozenset(field.name for field in dataclasses.fields(DatasetInfo)) - {"name"}
"""Keys of a catalogue file that describe the dataset: the fields of `DatasetInfo`."""


class _CatalogueModel(pydantic.BaseModel):
    """Base of what a catalogue file holds: each key is known and has its type."""

    model_config = pydantic.ConfigDict(frozen=True, strict=True, extra="forbid")


class Archive(_CatalogueModel):
    """An archive to download: the same file at one or more addresses, tried in order."""

    urls: Strings
    folder: str
    """The dataset's folder inside the archive, such as `scifact` or `cqadupstack/android`."""
    md5: str = ""
    """Checksum that the source publishes; empty where it publishes none."""
    bytes: int = 0
    """Size of the archive; 0 where it is not known."""


class Hub(_CatalogueModel):
    """A dataset on the Hugging Face hub."""

    repo: str
    revision: str = ""
    """The commit to take; empty takes the newest."""
    queries: str = "queries"
    """Name of the configuration that holds the queries."""
    corpus: str = "corpus"
    """Name of the configuration that holds the corpus."""
    qrels: str = ""
    """Name of the configuration that holds the qrels; empty tries `qrels` and `default`."""
    qrels_repo: str = ""
    """The repository of the qrels where it is not `repo` (BeIR/scifact-qrels)."""
    splits: Mapping[str, str] = Field(default_factory=dict)
    """Our split -> the hub's, where the names differ (`test` -> `train` in NanoBEIR)."""


class CatalogueEntry(_CatalogueModel):
    """What one file of the catalogue holds."""

    info: DatasetInfo
    """The fields of `DatasetInfo`, which are keys of their own in the file."""
    kind: Kind = "retrieval"
    splits: Strings = ()
    documents: int = 0
    """Documents in the corpus, or 0 where it is not known. A copy with another number gets a warning."""
    queries: Mapping[str, int] = Field(default_factory=dict)
    """Split -> judged queries (retrieval) or pairs (similarity)."""
    expected_source: Mapping[str, str] = Field(default_factory=dict)
    """Strategy -> source of its expected scores."""
    archive: Archive | None = None
    hub: Hub | None = None
    packages: Mapping[str, Mapping[str, str]] = Field(default_factory=dict)
    """pydocs: variant (`default` is the plain name) -> distribution -> version."""
    size: int | None = None
    """pydocs: number of pairs, unless `?size=` gives another."""

    @property
    def name(self) -> str:
        """The dataset's name."""
        return self.info.name


def catalogue_folders() -> list[Path]:
    """Return the folders that hold catalogue files, in the order in which they count."""
    places = (Path("datasets"), _PACKAGE.parent / "datasets", _PACKAGE / "_datasets")
    return [place for place in dict.fromkeys(place.resolve() for place in places) if place.is_dir()]


def catalogue() -> dict[str, CatalogueEntry]:
    """Return every known dataset, sorted by name.

    Raises:
        DataError: a file is malformed; the message names the file and the key.
    """
    entries: dict[str, CatalogueEntry] = {}
    for folder in catalogue_folders():
        for path in sorted(folder.glob("*.toml")):
            status = path.stat()
            entry = _listed(path, status.st_mtime_ns, status.st_size)
            if entry is not None:
                entries.setdefault(path.stem, entry)
    return dict(sorted(entries.items()))


@lru_cache(maxsize=1024)
def _listed(path: Path, mtime_ns: int, size: int) -> CatalogueEntry | None:
    """Return what a file of the catalogue holds, read once for each state of the file.

    None is for another TOML file, as a user's own ./datasets may hold.
    """
    values = _parse(path)
    return _entry(path, path.stem, values) if "kind" in values else None


def read_entry(path: Path, name: str) -> CatalogueEntry:
    """Read one file of the catalogue's form, such as the `dataset.toml` that `bench import` leaves in a folder.

    Raises:
        DataError: the file is malformed; the message names the file and the key.
    """
    return _entry(path, name, _parse(path))


def _parse(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except RecursionError as error:
        raise DataError(f"{path}: the TOML is nested too deeply") from error
    except ValueError as error:  # no TOML, not UTF-8, or an integer of more digits than Python reads
        raise DataError(f"{path}: not TOML: {str(error).partition(';')[0]}") from error


def _entry(path: Path, name: str, values: Mapping[str, Any]) -> CatalogueEntry:
    described = {key: value for key, value in values.items() if key in _DESCRIBED}
    others = {key: value for key, value in values.items() if key not in _DESCRIBED}
    try:
        return CatalogueEntry(info=DatasetInfo(name=name, **described), **others)
    except pydantic.ValidationError as error:
        known = (_DESCRIBED | CatalogueEntry.model_fields.keys()) - {"info"}
        raise DataError(f"{path}: {describe_validation(error, known)}") from error
