"""The texts behind a comparison's ids: queries, documents and judgements, where the dataset is available."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.data.catalogue import catalogue
from bench.data.dataset import Dataset
from bench.data.files import expanded
from bench.data.folders import is_dataset
from bench.data.locate import DatasetName, load_dataset, parts_of, search_places
from bench.errors import BenchError
from bench.report.comparison import Comparison
from bench.report.load import LoadedRun

LARGEST_CORPUS = 250_000
"""A report does not read a corpus of more documents than this to show some of them."""


@dataclass(frozen=True)
class Texts:
    """A comparison's dataset, or the reason why only ids are shown."""

    dataset: Dataset | None = None
    reason: str = ""


def find_texts(run: LoadedRun, comparison: Comparison) -> Texts:
    """Return the dataset of a comparison, read from where its run found it and never from the network.

    A dataset whose content has changed since the run is not used, because other texts may have been ranked.
    """
    cells = (cell for candidate in comparison.candidates.values() for cell in candidate.usable)
    cell = next(cells, None)
    if cell is None:
        return Texts(reason="no cell was scored")
    if cell.n_docs > LARGEST_CORPUS:
        return Texts(reason=f"the corpus has more than {LARGEST_CORPUS:,} documents")
    reason = "the dataset is no longer where the run found it"
    for name, folder in _places(run, comparison.dataset):
        if not is_local(name, folder):
            continue
        try:
            dataset = load_dataset(name, folder)
        except (BenchError, OSError) as error:
            reason = str(error).splitlines()[0]
            continue
        if isinstance(dataset, Dataset) and dataset.fingerprint == cell.fingerprints.get("dataset"):
            return Texts(dataset)
        reason = "the dataset has changed since the run"
    return Texts(reason=reason)


def is_local(name: str, data_dir: Path | None) -> bool:
    """Return whether a dataset can be read without the network."""
    return all(_is_local(part, data_dir) for part in parts_of(name, data_dir))


def _is_local(name: str, data_dir: Path | None) -> bool:
    spec = DatasetName.parse(name)
    if spec.name == "hub":
        return False
    entry = catalogue().get(spec.name)
    if entry is not None and entry.kind == "pydocs":
        return True
    places = [expanded(Path(spec.name)), *search_places(spec.name, entry, data_dir)]
    return any(is_dataset(place) for place in places)


def _places(run: LoadedRun, dataset: str) -> list[tuple[str, Path | None]]:
    """Return the names and data folders in the run's commands, the latest command first."""
    places: list[tuple[str, Path | None]] = []
    for call in reversed(run.invocations):
        config = call.get("config")
        if not isinstance(config, Mapping):
            continue
        folder = Path(str(config["data_dir"])) if config.get("data_dir") else None
        names = [str(name) for name in config.get("datasets") or []]
        matching = [name for name in names if name == dataset or Path(name).name == dataset]
        places += [(name, folder) for name in [*matching, *names] if (name, folder) not in places]
    return places or [(dataset, None)]
