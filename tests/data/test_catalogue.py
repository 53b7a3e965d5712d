from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.data import catalogue as catalogue_module
from bench.data.catalogue import catalogue, read_entry
from bench.data.dataset import Dataset, SimilarityDataset
from bench.data.locate import DatasetName, load_dataset
from bench.errors import DataError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No data set of this machine is found by chance, and nothing is downloaded."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("BENCH_OFFLINE", "1")
    monkeypatch.delenv("BENCH_DATA", raising=False)


def test_expected_scores_name_their_source() -> None:
    for entry in catalogue().values():
        assert set(entry.info.expected) == set(entry.expected_source), entry.name


def test_golden_scores_are_those_of_the_field() -> None:
    known = catalogue()
    assert known["scifact"].info.expected == {
        "frozen": {"ndcg@10": 0.6451, "recall@10": 0.7833, "recall@100": 0.9250, "mrr@10": 0.6047},
        "bm25": {"ndcg@10": 0.687},
    }
    assert known["stsb"].info.expected["frozen"] == {"spearman": 0.8203}


def test_pydocs_is_fixed_to_the_locked_versions() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    for packages in catalogue()["pydocs"].packages.values():
        for package, version in packages.items():
            assert f"{package}=={version}" in lock
            assert importlib.metadata.version(package) == version


def test_folders_are_searched_in_the_documented_order(
    write_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folders = {}
    for place in ("given", "variable", "work/datasets", "cache/datasets"):
        one = f'{{"_id": "d1", "text": "{place}"}}\n{{"_id": "d2", "text": ""}}\n'
        folders[place] = write_folder(f"{place}/mine", corpus=one)
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "variable"))
    data_dir: Path | None = tmp_path / "given"
    for place, folder in folders.items():
        dataset = load_dataset("mine", data_dir)
        assert isinstance(dataset, Dataset)
        assert dataset.corpus.texts[0] == place
        (folder / "corpus.jsonl").unlink()
    with pytest.raises(DataError) as caught:
        load_dataset("mine", data_dir)
    positions = [str(caught.value).index(str(folder)) for folder in folders.values()]
    assert positions == sorted(positions)


def test_an_unknown_name_gets_a_suggestion(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"unknown dataset 'scifcat', did you mean 'scifact'\?"):
        load_dataset("scifcat")
    with pytest.raises(DataError, match="no such folder"):
        load_dataset("./missing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"not a dataset.*import"):
        load_dataset(str(tmp_path / "empty"))


def test_options_are_checked_and_part_of_the_name(shared_data: Path) -> None:
    dataset = load_dataset("scifact?max_length=64", shared_data)
    assert (dataset.name, dataset.info.max_length) == ("scifact?max_length=64", 64)
    for text, message in {
        "scifact?maxlength=3": "unknown option 'maxlength', did you mean 'max_length'",
        "scifact?max_length=x": "not a whole number",
        "scifact?max_length=": "empty or set twice",
        "scifact?size=20": "unknown option 'size'",
        "scifact:tune": "has no variants",
        "pydocs:tuen": "did you mean 'tune'",
        "pydocs?size=0": "not a whole number",
    }.items():
        with pytest.raises(DataError, match=message):
            load_dataset(text, shared_data)


def test_one_spelling_for_the_same_options() -> None:
    assert (
        DatasetName.parse("pydocs?size=20&packages=numpy").text
        == DatasetName.parse("pydocs?packages=numpy&size=20").text
    )
    assert DatasetName.parse("pydocs:tune?size=20") == DatasetName("pydocs", "tune", {"size": "20"})


def test_pydocs_takes_packages_and_size() -> None:
    dataset = load_dataset("pydocs?packages=numpy&size=100")
    assert isinstance(dataset, Dataset)
    assert len(dataset.corpus) == 100
    assert dataset.info.max_length == 128
    assert dataset.warnings == ()
    assert all(doc.startswith("numpy.") for doc in dataset.corpus.ids)


def test_a_folder_describes_itself(write_folder: Callable[..., Path]) -> None:
    folder = write_folder()
    (folder / "dataset.toml").write_text('kind = "retrieval"\npseudo = true\nlicence = "CC0"\n')
    dataset = load_dataset(str(folder))
    assert (dataset.name, dataset.info.pseudo, dataset.info.licence) == ("toy", True, "CC0")


def test_a_known_dataset_by_path_gets_the_catalogues_description(shared_data: Path) -> None:
    assert load_dataset(str(shared_data / "boolq")).info.role == "probe"
    assert isinstance(load_dataset(str(shared_data / "stsb")), SimilarityDataset)


def test_a_folder_of_the_same_name_but_another_size_does_not(write_folder: Callable[..., Path]) -> None:
    folder = write_folder("scifact")
    assert load_dataset(str(folder)).info.expected == {}
    dataset = load_dataset("scifact", folder.parent)
    assert isinstance(dataset, Dataset)
    assert "the catalogue has 5183 documents, this copy 2" in dataset.warnings[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('kind = "retrieval', "not TOML"),
        ('kind = "retreival"', "kind = 'retreival': input should be 'retrieval', 'similarity' or 'pydocs'"),
        (
            'kind = "retrieval"\nrole = "both of them"',
            "role = 'both of them': input should be 'target', 'probe' or 'both'",
        ),
        ('kind = "retrieval"\nlicense = "x"', "unknown key 'license', did you mean 'licence'"),
        ('kind = "retrieval"\ndocuments = "many"', "documents = 'many': input should be a valid integer"),
        ('kind = "retrieval"\ndocuments = true', "documents = True: input should be a valid integer"),
        ('kind = "retrieval"\ntitle = 2020-01-01', r"title = .*: input should be a valid string"),
        ('kind = "retrieval"\nmax_length = "64"', "max_length = '64': input should be a valid integer"),
        ('kind = "retrieval"\nsplits = "test"', "splits = 'test': input should be a list"),
        ('kind = "retrieval"\nsplits = ["test", 1]', "splits.1 = 1: input should be a valid string"),
        ('kind = "retrieval"\n[expected.frozen]\nx = "y"', "expected.frozen.x = 'y': input should be a valid number"),
        ('kind = "retrieval"\n[archive]\nurls = []', "missing key 'archive.folder'"),
        ('kind = "retrieval"\narchive = "x.zip"', "archive = 'x.zip': input should be a table of keys and values"),
        ('kind = "retrieval"\n[hub]\nrepository = "a/b"', "missing key 'hub.repo'; unknown key 'hub.repository'"),
        ('kind = "retrieval"\nname = "x"', "unknown key 'name'"),
    ],
)
def test_the_error_of_a_malformed_catalogue_file_names_its_key(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "x.toml"
    path.write_text(text)
    with pytest.raises(DataError, match=rf"x.toml: .*{message}"):
        read_entry(path, "x")


def test_a_file_in_the_working_folder_adds_to_the_catalogue(tmp_path: Path) -> None:
    (tmp_path / "work" / "datasets").mkdir()
    (tmp_path / "work" / "datasets" / "own.toml").write_text('kind = "retrieval"\ntitle = "Own"\n')
    (tmp_path / "work" / "datasets" / "unrelated.toml").write_text('[tool]\nkind_of = "other"\n')
    known = catalogue()
    assert known["own"].info.title == "Own"
    assert "unrelated" not in known and "scifact" in known


def test_in_a_wheel_the_catalogue_travels_inside_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "site" / "bench"
    (package / "_datasets").mkdir(parents=True)
    (package / "_datasets" / "only.toml").write_text('kind = "retrieval"\n')
    monkeypatch.setattr(catalogue_module, "_PACKAGE", package)
    assert list(catalogue()) == ["only"]


def test_a_file_is_parsed_once_for_each_of_its_states(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = tmp_path / "work" / "datasets"
    mine.mkdir()
    (mine / "mine.toml").write_text('kind = "retrieval"\ntitle = "before"\n', encoding="utf-8")
    catalogue()
    plain, parsed = catalogue_module._parse, list[str]()
    monkeypatch.setattr(catalogue_module, "_parse", lambda path: (parsed.append(path.name), plain(path))[1])
    assert catalogue()["mine"].info.title == "before" and parsed == []
    (mine / "mine.toml").write_text('kind = "retrieval"\ntitle = "afterwards"\n', encoding="utf-8")
    assert catalogue()["mine"].info.title == "afterwards" and parsed == ["mine.toml"]
    (mine / "mine.toml").write_text("kind = \n", encoding="utf-8")
    for _ in range(2):
        with pytest.raises(DataError, match=r"mine\.toml: not TOML"):
            catalogue()
