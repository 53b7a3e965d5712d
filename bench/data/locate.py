"""Finds and loads a dataset by its name: folders, options, the catalogue, and downloads."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import parse_qsl

from bench.data.beir import read_beir
from bench.data.catalogue import CatalogueEntry, Hub, catalogue, catalogue_folders, read_entry
from bench.data.dataset import Dataset, DatasetInfo, SimilarityDataset
from bench.data.download import fetch
from bench.data.files import cache_folder, expanded, is_folder
from bench.data.folders import DESCRIPTION, is_dataset
from bench.data.hub import fetch_hub
from bench.data.pseudo import GENERATED, is_pseudo
from bench.data.similarity import is_similarity, read_similarity
from bench.data.text import normalise
from bench.data.union import SIGN, union
from bench.errors import DataError, did_you_mean

_HUB_OPTIONS = ("config", "relevant_from")
"""Options by which a dataset is read from the hub. They are part of the name of its folder."""
_DIGITS = 12
"""Digits of the largest number that an option may be."""
_OPTIONS = {"retrieval": ("max_length",), "similarity": ("max_length",), "pydocs": ("max_length", "packages", "size")}


@dataclass(frozen=True)
class DatasetName:
    """A dataset's name as a user writes it: `name[:variant][?option=value&...]`."""

    name: str
    variant: str = ""
    options: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> DatasetName:
        """Return a parsed name. The path of an existing folder has neither variant nor options.

        Raises:
            DataError: an option has no value, or is set twice.
        """
        if is_folder(text):
            return cls(text)
        head, _, query = text.partition("?")
        try:
            pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
        except ValueError as error:
            raise DataError(f"dataset {text!r}: options are written name?option=value&option=value") from error
        options = dict(pairs)
        if len(options) < len(pairs) or not all(options.values()):
            raise DataError(f"dataset {text!r}: an option is empty or set twice")
        if _is_path(head) and not head.startswith("hub:"):
            return cls(head, options=options)
        name, _, variant = head.partition(":")
        return cls(name, variant, options)

    @property
    def text(self) -> str:
        """The canonical spelling, with sorted options."""
        variant = f":{self.variant}" if self.variant else ""
        options = "&".join(f"{key}={value}" for key, value in sorted(self.options.items()))
        return f"{self.name}{variant}{'?' if options else ''}{options}"


def load_dataset(name: str, data_dir: Path | None = None) -> Dataset | SimilarityDataset:
    """Load a dataset by its name or folder. Download it where no folder holds it.

    Args:
        name: a name of the catalogue, the name of a folder in `data_dir`, a path, or `hub:owner/name`. Options follow
            a question mark: `pydocs:tune`, `pydocs?size=800`, `scifact?max_length=128`. Several of these with a plus
            between them are their union (`bench.data.union`): `xquad+boolq`.
        data_dir: searched first, before `$BENCH_DATA`, `./datasets`, the user's cache and the network.

    Raises:
        DataError: no place holds the dataset (the message lists the places), or its files are malformed or cannot be
            read.
    """
    try:
        return _load(name, data_dir)
    except OSError as error:
        place = error.filename if error.filename is not None else f"dataset {name[:200]!r}"
        raise DataError(f"{place}: {error.strerror or error}") from error
    except ValueError as error:  # a path with a null character
        raise DataError(f"dataset {name[:200]!r}: {error}") from error


def parts_of(name: str, data_dir: Path | None = None) -> list[str]:
    """Return the names in `a+b`, or the name alone where it is the name of a folder."""
    if SIGN not in name or is_folder(name) or any(is_dataset(place) for place in search_places(name, None, data_dir)):
        return [name]
    return name.split(SIGN)


def _load(name: str, data_dir: Path | None) -> Dataset | SimilarityDataset:
    parts = parts_of(name, data_dir)
    return _load_one(name, data_dir) if len(parts) == 1 else _load_union(name, parts, data_dir)


def _load_union(name: str, parts: Sequence[str], data_dir: Path | None) -> Dataset:
    if not all(part.strip() for part in parts):
        raise DataError(f"dataset {name!r}: a name is missing beside {SIGN!r}")
    loaded = []
    for part in parts:
        dataset = _load_one(part.strip(), data_dir)
        if not isinstance(dataset, Dataset):
            raise DataError(f"dataset {name!r}: {part} holds sentence pairs, and no corpus to search")
        loaded.append(dataset)
    return union(loaded)


def _load_one(name: str, data_dir: Path | None) -> Dataset | SimilarityDataset:
    spec = DatasetName.parse(name)
    known = catalogue()
    if spec.name == "hub":
        read_with = {key: spec.options[key] for key in _HUB_OPTIONS if key in spec.options}
        others = {key: value for key, value in spec.options.items() if key not in read_with}
        return _load_folder(_fetch_hub(spec.variant, read_with), None, replace(spec, options=others))
    if _is_path(spec.name) or (spec.name not in known and not spec.variant and is_dataset(Path(spec.name))):
        return _load_folder(Path(spec.name), None, spec)
    entry = known.get(spec.name)
    if entry and entry.kind == "pydocs":
        return _load_pydocs(entry, spec)
    if spec.variant:
        raise DataError(f"dataset {name!r}: {spec.name} has no variants")
    places = search_places(spec.name, entry, data_dir)
    folder = next((place for place in places if is_dataset(place)), None)
    if folder:
        return _load_folder(folder, entry, spec)
    if entry is None:
        raise _unknown(spec.name, known, places)
    return _load_folder(_fetch(entry, places), entry, spec)


def search_places(name: str, entry: CatalogueEntry | None, data_dir: Path | None = None) -> list[Path]:
    """Return the folders that may hold a dataset, in the order of the search."""
    bases = [data_dir, Path(env) if (env := os.environ.get("BENCH_DATA")) else None, Path("datasets").resolve()]
    bases += [*catalogue_folders(), cache_folder() / "datasets"]
    names = [name]
    if entry and entry.archive and entry.archive.folder != name:
        names.append(entry.archive.folder)
    return list(dict.fromkeys(base / folder for base in bases if base for folder in names))


def _is_path(name: str) -> bool:
    return name.startswith((".", "~")) or "/" in name or os.sep in name


def _unknown(name: str, known: Mapping[str, CatalogueEntry], places: list[Path]) -> DataError:
    return DataError(
        f"unknown dataset {name!r}{did_you_mean(name, known) or '.'} It is not in the catalogue, and no folder of that "
        f"name holds a dataset. Searched:\n{_listed(places)}\nKnown: {', '.join(known)}."
    )


def _listed(places: list[Path]) -> str:
    return "\n".join(f"  {place}{'' if place.exists() else ' (does not exist)'}" for place in places)


def _fetch(entry: CatalogueEntry, places: list[Path]) -> Path:
    """Download a dataset and return its folder.

    Raises:
        DataError: the catalogue knows no source, or the download failed.
    """
    if entry.archive is None and entry.hub is None:
        raise DataError(
            f"dataset {entry.name!r} is not on this machine, and the catalogue knows no address for it.\n"
            f"Searched:\n{_listed(places)}\nIts source: {entry.info.source or 'unknown'}"
        )
    try:
        return fetch(entry, cache_folder() / "datasets")
    except DataError as error:
        raise DataError(f"{error}\nSearched before the download:\n{_listed(places)}") from error


def _fetch_hub(repo: str, options: Mapping[str, str]) -> Path:
    """Download a dataset of the hub and return its folder, whose name tells the repository and the options.

    Raises:
        DataError: an option has no meaning, or the download failed.
    """
    relevant_from = None
    if "relevant_from" in options:
        try:
            relevant_from = float(options["relevant_from"])
        except ValueError as error:
            raise DataError(f"hub:{repo}?relevant_from={options['relevant_from']}: not a number") from error
    name = "--".join([repo.strip("/.").replace("/", "--"), *(f"{key}={options[key]}" for key in sorted(options))])
    folder = cache_folder() / "datasets" / "hub" / name.replace("/", "-")
    return fetch_hub(Hub(repo=repo), folder, None, options.get("config", ""), relevant_from)


def _load_folder(folder: Path, entry: CatalogueEntry | None, spec: DatasetName) -> Dataset | SimilarityDataset:
    """Read a folder. Its own description has precedence over the catalogue's."""
    folder = expanded(folder)
    if not folder.is_dir():
        raise DataError(f"dataset {spec.text!r}: no such folder: {folder}")
    if not is_dataset(folder):
        raise DataError(
            f"{folder}: not a dataset: it has neither corpus.jsonl (a BEIR folder) nor test.jsonl (sentence pairs); "
            "`python -m bench import` makes a dataset folder from tables and documents"
        )
    name = folder.resolve().name
    if (folder / DESCRIPTION).is_file():
        entry = read_entry(folder / DESCRIPTION, name)
    info = _with_options(entry.info if entry else DatasetInfo(name), spec, "retrieval")
    if is_similarity(folder):
        return read_similarity(folder, info)
    dataset = _with_self_warning(_with_pseudo_warnings(read_beir(folder, info)))
    if entry is None:
        return _recognised(dataset, spec)
    if entry.documents and len(dataset.corpus) != entry.documents:
        warning = f"{folder}: the catalogue has {entry.documents} documents, this copy {len(dataset.corpus)}"
        dataset = replace(dataset, warnings=(*dataset.warnings, warning))
    return dataset


def _with_pseudo_warnings(dataset: Dataset) -> Dataset:
    """Return a dataset with warnings about its pseudo-queries."""
    warnings = []
    if dataset.info.pseudo:
        how = f"written by {by}" if (by := dataset.info.generated_by) else "made from the documents"
        warnings.append(f"the training queries are pseudo-queries, {how}; they are not labels")
    elif written := len(dataset.splits.get(GENERATED, ())):
        warnings.append(
            f"{written} queries that a language model wrote stand beside the labels; only gpl trains on them"
        )
    made = sum(is_pseudo(dataset.groups, query) for query in dataset.splits.get("test", ()))
    if made:
        warnings.append(f"{made} test queries are pseudo-queries: scores do not show how real questions fare")
    return replace(dataset, warnings=(*dataset.warnings, *warnings)) if warnings else dataset


def _with_self_warning(dataset: Dataset) -> Dataset:
    """Return a dataset with a warning where queries are documents of the corpus: each one finds itself first."""
    if dataset.info.drop_same_id:
        return dataset
    positions = dataset.corpus.positions
    own = [
        query
        for split, qrels in dataset.splits.items()
        if split != "train"
        for query, docs in qrels.items()
        if query in positions
        and docs.get(query, 0) <= 0
        and normalise(dataset.queries[query]) in _texts_of(dataset, positions[query])
    ]
    if not own:
        return dataset
    warning = (
        f"{len(own)} queries, such as {own[0]!r}, are documents with the same id and text, and not relevant to "
        "themselves: each finds itself first. `drop_same_id = true` in the folder's dataset.toml leaves them out"
    )
    return replace(dataset, warnings=(*dataset.warnings, warning))


def _texts_of(dataset: Dataset, position: int) -> set[str]:
    """Return a document's text with and without its title, normalised."""
    texts = {normalise(dataset.corpus.texts[position])}
    if dataset.corpus.bodies is not None:
        texts.add(normalise(dataset.corpus.bodies[position]))
    return texts


def _recognised(dataset: Dataset, spec: DatasetName) -> Dataset:
    """Return a dataset with the catalogue's description if it has the name and the size of a known one."""
    entry = catalogue().get(dataset.name.partition("?")[0])
    if entry and entry.documents == len(dataset.corpus):
        return replace(dataset, info=_with_options(entry.info, spec, "retrieval"))
    return dataset


def _with_options(info: DatasetInfo, spec: DatasetName, kind: str) -> DatasetInfo:
    for option in spec.options:
        if option not in _OPTIONS[kind]:
            known = _OPTIONS[kind]
            hint = did_you_mean(option, known) or "."
            raise DataError(f"dataset {spec.text!r}: unknown option {option!r}{hint} Known: {', '.join(known)}.")
    name = replace(spec, name=info.name, variant=spec.variant if kind == "pydocs" else "").text
    length = _whole_number(spec, "max_length")
    return replace(info, name=name, max_length=length if length is not None else info.max_length)


def _whole_number(spec: DatasetName, option: str) -> int | None:
    if option not in spec.options:
        return None
    value = spec.options[option]
    if not value.isascii() or not value.isdigit() or len(value) > _DIGITS or int(value) == 0:
        raise DataError(f"dataset {spec.text!r}: {option}={value} is not a whole number above 0")
    return int(value)


def _load_pydocs(entry: CatalogueEntry, spec: DatasetName) -> Dataset:
    from bench.data.pydocs import read_pydocs

    info = _with_options(entry.info, spec, "pydocs")
    variant = spec.variant or "default"
    if variant not in entry.packages:
        raise DataError(
            f"dataset {spec.text!r}: unknown variant {variant!r}{did_you_mean(variant, entry.packages) or '.'} "
            f"Known: {', '.join(entry.packages)}."
        )
    packages: Mapping[str, str] = entry.packages[variant]
    if "packages" in spec.options:
        versions = {name: version for pinned in entry.packages.values() for name, version in pinned.items()}
        packages = {name: versions.get(name, "") for name in spec.options["packages"].split(",")}
    size = entry.size
    if "size" in spec.options:
        size = None if spec.options["size"] == "all" else _whole_number(spec, "size")
    return read_pydocs(info, packages, size, cache_folder() / "pydocs")
