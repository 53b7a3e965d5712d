"""The catalogue of known datasets: one TOML file each, under `datasets/`. A new dataset is a new file.

Files are looked for in `./datasets`, beside the checkout, and in the installed package (`bench/_datasets`); where two
have the same name the earlier one counts.
"""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from bench.data.dataset import DatasetInfo
from bench.errors import DataError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable

Kind = Literal["retrieval", "similarity", "pydocs"]
ROLES = ("target", "probe", "both")
_PACKAGE = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Archive:
    """An archive to download: the same file at one or more addresses, tried in order."""

    urls: tuple[str, ...]
    folder: str
    """The dataset's folder inside the archive, such as `scifact` or `cqadupstack/android`."""
    md5: str = ""
    """Checksum that the source publishes; empty where it publishes none."""
    bytes: int = 0
    """Size of the archive; 0 where it is not known."""


@dataclass(frozen=True)
class Hub:
    """A dataset on the Hugging Face hub. `revision` pins a commit; empty takes the newest."""

    repo: str
    revision: str = ""
    queries: str = "queries"
    corpus: str = "corpus"
    qrels: str = ""
    """Names of the configurations that hold queries, corpus and qrels; qrels are sought as `qrels` and `default`."""
    qrels_repo: str = ""
    """The repository of the qrels where it is not `repo` (BeIR/scifact-qrels)."""
    splits: Mapping[str, str] = field(default_factory=dict)
    """Our split -> the hub's, where the names differ (`test` -> `train` in NanoBEIR)."""


@dataclass(frozen=True)
class Entry:
    """What one file of the catalogue says."""

    info: DatasetInfo
    kind: Kind = "retrieval"
    splits: tuple[str, ...] = ()
    documents: int = 0
    """Documents in the corpus, or 0 where it is not known: a copy with another number is warned about."""
    queries: Mapping[str, int] = field(default_factory=dict)
    """Split -> judged queries (retrieval) or pairs (similarity)."""
    expected_source: Mapping[str, str] = field(default_factory=dict)
    """Strategy -> where its expected scores come from."""
    archive: Archive | None = None
    hub: Hub | None = None
    packages: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """pydocs: variant (`default` is the plain name) -> distribution -> version."""
    size: int | None = None
    """pydocs: pairs, unless `?size=` says otherwise."""

    @property
    def name(self) -> str:
        """The dataset's name."""
        return self.info.name


def catalogue_folders() -> list[Path]:
    """Return the folders that catalogue files are looked for in, the first winning."""
    places = (Path("datasets"), _PACKAGE.parent / "datasets", _PACKAGE / "_datasets")
    return [place for place in dict.fromkeys(place.resolve() for place in places) if place.is_dir()]


def catalogue() -> dict[str, Entry]:
    """Return every known dataset, sorted by name.

    Raises:
        DataError: a file is malformed; with the file, and the key.
    """
    found: dict[str, Entry] = {}
    for folder in catalogue_folders():
        for path in sorted(folder.glob("*.toml")):
            raw = _parse(path)
            if "kind" in raw:  # a user's own ./datasets may hold other TOML files
                found.setdefault(path.stem, _entry(path, path.stem, raw))
    return dict(sorted(found.items()))


def read_entry(path: Path, name: str) -> Entry:
    """Read one file of the catalogue's form, such as the `dataset.toml` that `bench import` leaves in a folder.

    Raises:
        DataError: it is malformed; with the file, and the key.
    """
    return _entry(path, name, _parse(path))


def _parse(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not TOML: {error}") from error


def _entry(path: Path, name: str, raw: Mapping[str, Any]) -> Entry:
    """Build an entry, checking every key and its type."""
    values = dict(raw)
    try:
        described = {f.name for f in dataclasses.fields(DatasetInfo)} - {"name"}
        info = _build(DatasetInfo, {key: values.pop(key) for key in described & values.keys()} | {"name": name})
        for key, kind in (("archive", Archive), ("hub", Hub)):
            if key in values:
                values[key] = _build(kind, values[key])
        entry = _build(Entry, values | {"info": info}, also=described)
    except _FormError as error:
        raise DataError(f"{path}: {error}") from error
    for key, value, known in (("kind", entry.kind, get_args(Kind)), ("role", info.role, ROLES)):
        if value not in known:
            raise DataError(f"{path}: {key} {value!r}{did_you_mean(value, known) or '.'} Known: {', '.join(known)}.")
    return entry


class _FormError(Exception):
    """A key of a catalogue file is unknown, missing or of the wrong type."""


def _build(kind: Callable[..., Any], values: Mapping[str, Any], also: Set[str] = frozenset()) -> Any:
    """Build a dataclass from a table; `also` are keys of the table that were taken before, for suggestions."""
    if not isinstance(values, Mapping):
        raise _FormError(f"expected a table, found {values!r}")
    known = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    built: dict[str, Any] = {}
    for key, value in values.items():
        if key not in known:
            names = sorted((known.keys() | also) - {"info", "name"})
            hint = did_you_mean(key, names) or "."
            raise _FormError(f"unknown key {key!r}{hint} Known: {', '.join(names)}.")
        built[key] = _typed(key, value, str(known[key].type))
    missing = [f.name for f in known.values() if _required(f) and f.name not in built]
    if missing:
        raise _FormError(f"missing: {', '.join(missing)}")
    return kind(**built)


def _required(field_: dataclasses.Field[Any]) -> bool:
    return field_.default is dataclasses.MISSING and field_.default_factory is dataclasses.MISSING


_SCALARS: dict[str, tuple[type, ...]] = {"str": (str,), "int": (int,), "int | None": (int,), "bool": (bool,)}
_LEAVES: dict[str, tuple[type, ...]] = {"float": (float, int), "int": (int,), "str": (str,)}


def _typed(key: str, value: Any, annotation: str) -> Any:
    """Check a value against the field's annotation, as deep as the catalogue's files go."""
    if wanted := _SCALARS.get(annotation):
        if not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted):
            raise _FormError(f"{key} = {value!r} is not {annotation.removesuffix(' | None')}")
    elif annotation.startswith("tuple[str"):
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise _FormError(f"{key} = {value!r} is not a list of strings")
        return tuple(value)
    elif annotation.startswith("Mapping["):
        leaf = _LEAVES[annotation.rstrip("]").split(", ")[-1]]
        if not isinstance(value, dict) or not _leaves(value, leaf):
            raise _FormError(f"{key} = {value!r} is not a table of {leaf[0].__name__}")
    return value


def _leaves(value: Any, kinds: tuple[type, ...]) -> bool:
    if isinstance(value, dict):
        return all(_leaves(item, kinds) for item in value.values())
    return isinstance(value, kinds) and not isinstance(value, bool)
