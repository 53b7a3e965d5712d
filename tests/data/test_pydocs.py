from __future__ import annotations

import dataclasses
import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

from bench.data import pydocs
from bench.data.dataset import Dataset, DatasetInfo
from bench.data.docstrings import Docstring, read_package, source_folder
from bench.data.locate import load_dataset
from bench.data.pydocs import SHARES, make_splits, read_pydocs
from bench.data.text import normalise, shingles
from bench.errors import DataError

INFO = DatasetInfo("pydocs")
LONG = (
    "It says a good deal more than that, so that there is something to find, in at least twenty words of plain English."
)

SOURCE = f'''
"""Not an object."""

def grow(plant, water=1, *, light: float = 0.5):
    """Make a plant larger over time. It needs care.

    {LONG}
    """

def _private(x):
    """Make a private thing of public parts.

    {LONG}
    """

def thin(x):
    """Make a thin thing of thick parts.

    Too short.
    """

def sign(x):
    """sign(x, out=None, where=True, casting=None)

    {LONG}
    """

class Garden:
    """Hold all plants that grow together.

    {LONG}
    """

    def __init__(self, size=3):
        pass

    def water(self, litres):
        """Give every plant in it some water.

        {LONG}
        """

    class _Bed:
        def dig(self):
            """Dig over the soil of this bed.

            {LONG}
            """

if True:
    async def rest(hours):
        """Wait until everything has grown again.

        {LONG}
        """
'''


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "garden"
    (folder / "tests").mkdir(parents=True)
    (folder / "__init__.py").write_text("from garden._core import grow\nraise RuntimeError('imported')\n")
    (folder / "_core.py").write_text(SOURCE)
    (folder / "tests" / "test_core.py").write_text(SOURCE)
    return folder


def test_public_objects_are_read_where_they_are_defined(package: Path) -> None:
    found = {entry.name: entry for entry in read_package(package)}
    assert set(found) == {f"garden._core.{name}" for name in ("grow", "Garden", "Garden.water", "rest")}
    grow = found["garden._core.grow"]
    assert grow.query == "Make a plant larger over time."
    assert grow.document == f"(plant, water=1, *, light: float=0.5)\nIt needs care.\n\n{LONG}"
    assert grow.module == "garden._core"
    assert found["garden._core.Garden"].document.startswith("(size=3)\n")
    assert found["garden._core.Garden.water"].document.startswith("(litres)\n")


def test_a_file_that_cannot_be_parsed_is_named_with_its_line(package: Path) -> None:
    (package / "broken.py").write_text("x = 1\ndef (:\n")
    with pytest.raises(DataError, match=r"broken.py:2: cannot be parsed"):
        list(read_package(package))


def entries(count: int) -> list[Docstring]:
    """Entries in modules of five, no two alike."""
    return [
        Docstring(f"p.m{n // 5}.f{n}", f"p.m{n // 5}", " ".join(f"q{n}x{k}" for k in range(6)),
                  " ".join(f"d{n}x{k}" for k in range(30)))
        for n in range(count)
    ]  # fmt: skip


def test_modules_do_not_cross_splits_and_shares_are_met() -> None:
    splits = make_splits(entries(400))
    modules = [{entry.module for entry in found} for found in splits.values()]
    assert not modules[0] & modules[1] and not modules[0] & modules[2] and not modules[1] & modules[2]
    for split, share in SHARES.items():
        assert len(splits[split]) == pytest.approx(400 * share, abs=5)


def test_equal_summaries_and_nearly_equal_documents_collapse() -> None:
    first, second, third = entries(3)
    same_summary = dataclasses.replace(second, query=first.query.upper())
    words = third.document.split()
    same_document = dataclasses.replace(third, name="p.zz", query="another summary", document=" ".join([*words, "end"]))
    kept = {
        entry.name for found in make_splits([first, same_summary, third, same_document]).values() for entry in found
    }
    assert kept == {first.name, third.name}


def test_entries_that_resemble_a_test_entry_leave_the_other_splits() -> None:
    plain = entries(100)
    target = plain[0]
    words = target.document.split()
    half = " ".join([*words[:24], *(f"new{n}" for n in range(6))])
    outcomes = set()
    for module in (f"p.m{n}" for n in range(1, 12)):
        alike = Docstring(f"{module}.zz", module, "quite another question about it", half)
        splits = {entry.name: split for split, found in make_splits([*plain, alike]).items() for entry in found}
        neighbour = splits[f"{module}.f{int(module[3:]) * 5}"]
        expected = min(splits.get(target.name, "train"), neighbour, key=list(SHARES).index)
        assert {splits.get(target.name, expected), splits.get(alike.name, expected)} == {expected}
        outcomes.add((target.name in splits, alike.name in splits))
    assert len(outcomes) > 1


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, Path]:
    cache = tmp_path_factory.mktemp("cache")
    return read_pydocs(INFO, {"numpy": importlib.metadata.version("numpy")}, None, cache), cache


def test_no_test_query_resembles_a_training_query(small: tuple[Dataset, Path]) -> None:
    dataset, _ = small
    assert {dataset.groups[query] for query in dataset.splits["train"]}.isdisjoint(
        dataset.groups[query] for query in dataset.splits["test"]
    )
    train = [shingles(dataset.queries[query], 1) for query in dataset.splits["train"]]
    for query in dataset.splits["test"]:
        found = shingles(dataset.queries[query], 1)
        assert max(len(found & other) / len(found | other) for other in train) < 0.75, dataset.queries[query]
    texts = [normalise(text) for text in dataset.queries.values()]
    assert len(texts) == len(set(texts))


def test_a_document_does_not_name_its_object_in_its_signature(small: tuple[Dataset, Path]) -> None:
    dataset, _ = small
    assert all(text.startswith("(") for text in dataset.corpus.texts)
    assert all(len(docs) == 1 for qrels in dataset.splits.values() for docs in qrels.values())


@pytest.fixture
def extractions(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Put a hundred made-up entries in the place of a package's, and list the packages that are read."""
    read: list[Path] = []

    def read_package(folder: Path) -> list[Docstring]:
        read.append(folder)
        return entries(100)

    monkeypatch.setattr(pydocs, "read_package", read_package)
    return read


def test_the_cache_changes_nothing_and_is_made_again_when_damaged(extractions: list[Path], tmp_path: Path) -> None:
    first = read_pydocs(INFO, {"numpy": ""}, None, tmp_path)
    (file,) = tmp_path.iterdir()
    assert read_pydocs(INFO, {"numpy": ""}, None, tmp_path).fingerprint == first.fingerprint
    assert len(extractions) == 1
    file.write_text("{")
    assert read_pydocs(INFO, {"numpy": ""}, None, tmp_path).fingerprint == first.fingerprint
    assert len(extractions) == 2
    assert file.stat().st_size > 1000


def test_sizes_are_nested_exact_and_in_proportion(small: tuple[Dataset, Path]) -> None:
    whole, cache = small
    packages = {"numpy": importlib.metadata.version("numpy")}
    at_200, at_400 = (read_pydocs(INFO, packages, size, cache) for size in (200, 400))
    assert {split: len(found) for split, found in at_200.splits.items()} == {"test": 70, "dev": 30, "train": 100}
    assert len(at_400.corpus) == 400
    for split in SHARES:
        assert set(at_200.splits[split]) < set(at_400.splits[split]) <= set(whole.splits[split])
    with pytest.raises(DataError, match="not between 20 and"):
        read_pydocs(INFO, packages, 10**6, cache)


def test_another_version_than_the_fixed_one_is_warned_about(small: tuple[Dataset, Path]) -> None:
    _, cache = small
    assert small[0].warnings == ()
    assert "pydocs uses numpy 0.1, but" in read_pydocs(INFO, {"numpy": "0.1"}, 100, cache).warnings[0]
    assert "no version of numpy" in read_pydocs(INFO, {"numpy": ""}, 100, cache).warnings[0]


def test_a_package_that_is_not_installed_is_named() -> None:
    with pytest.raises(DataError, match="pip install no-such-package"):
        source_folder("no-such-package")


def test_sources_are_found_without_importing_the_package() -> None:
    program = "import sys; from bench.data.docstrings import source_folder; source_folder('scipy'); " \
        "sys.exit('scipy' in sys.modules)"  # fmt: skip
    assert subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parents[2], check=False).returncode == 0


def test_the_extraction_has_a_version_in_its_cache_key(
    extractions: list[Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    read_pydocs(INFO, {"numpy": ""}, None, tmp_path)
    monkeypatch.setattr(pydocs, "EXTRACTION", pydocs.EXTRACTION + 1)
    read_pydocs(INFO, {"numpy": ""}, None, tmp_path)
    assert len(extractions) == len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(("name", "fingerprint"), [("pydocs", "d1361c8d0473ccd6"), ("pydocs:tune", "ecfa9588643556c7")])
def test_the_extraction_changes_only_with_its_version(
    name: str, fingerprint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where this fails the extraction has changed: raise `EXTRACTION`, or caches go on giving the corpus of before."""
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    dataset = load_dataset(name)
    assert not [warning for warning in dataset.warnings if "installed" in warning], (
        "made from other versions than fixed"
    )
    assert (pydocs.EXTRACTION, dataset.fingerprint) == (3, fingerprint)
