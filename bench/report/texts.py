"""The texts behind a comparison's ids: queries, documents and judgements, where the dataset is still at hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError

if TYPE_CHECKING:
    from bench.data.dataset import Dataset
    from bench.report.comparison import Comparison
    from bench.report.load import Run

LARGEST_CORPUS = 250_000
"""Documents above which a report does not read a corpus again just to show some of it."""


@dataclass(frozen=True)
class Texts:
    """A comparison's dataset, or the reason why only ids are shown."""

    dataset: Dataset | None = None
    reason: str = ""


def find_texts(run: Run, comparison: Comparison) -> Texts:
    """Read the dataset of a comparison from where its run found it. The network is not asked.

    A dataset whose content differs from what was run is not used: its texts might not be those that were ranked.
    """
    from bench.data.dataset import Dataset
    from bench.data.locate import load_dataset

    cell = next((cell for entry in comparison.candidates.values() for cell in entry.usable), None)
    if cell is None:
        return Texts(reason="no cell was scored")
    if cell.n_docs > LARGEST_CORPUS:
        return Texts(reason=f"the corpus has more than {LARGEST_CORPUS:,} documents")
    found: Any = None
    reason = "the dataset is not where the run found it"
    for name, folder in _places(run, comparison.dataset):
        if not at_hand(name, folder):
            continue
        try:
            found = load_dataset(name, folder)
        except (BenchError, OSError) as error:
            reason = str(error).splitlines()[0]
            continue
        if isinstance(found, Dataset) and found.fingerprint == cell.fingerprints.get("dataset"):
            return Texts(found)
        reason = "the dataset has changed since the run"
    return Texts(reason=reason)


def at_hand(name: str, data_dir: Path | None) -> bool:
    """Whether a dataset can be read without asking the network."""
    from bench.data.catalogue import catalogue
    from bench.data.folders import is_dataset
    from bench.data.locate import Spec, search_places

    spec = Spec.parse(name)
    if spec.name == "hub":
        return False
    entry = catalogue().get(spec.name)
    if entry is not None and entry.kind == "pydocs":
        return True
    places = [Path(spec.name).expanduser(), *search_places(spec.name, entry, data_dir)]
    return any(is_dataset(place) for place in places)


def _places(run: Run, dataset: str) -> list[tuple[str, Path | None]]:
    """Names and data folders to try: what the run's commands asked for, the latest first."""
    places: list[tuple[str, Path | None]] = []
    for call in reversed(run.invocations):
        config = call.get("config")
        if not isinstance(config, Mapping):
            continue
        folder = Path(str(config["data_dir"])) if config.get("data_dir") else None
        asked = [str(name) for name in config.get("datasets") or []]
        matching = [name for name in asked if name == dataset or Path(name).name == dataset]
        places += [(name, folder) for name in [*matching, *asked] if (name, folder) not in places]
    return places or [(dataset, None)]
