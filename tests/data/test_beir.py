from __future__ import annotations

import gzip
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.data.beir import read_beir
from bench.data.dataset import DatasetInfo
from bench.data.similarity import read_similarity
from bench.errors import DataError

INFO = DatasetInfo("toy")
HEADER = "query-id\tcorpus-id\tscore\n"
DOC = '{"_id": "d1", "title": "Tea", "text": "Green."}\n'


def test_text_of_a_document_is_title_space_text(write_folder: Callable[..., Path]) -> None:
    dataset = read_beir(write_folder(), INFO)
    assert list(dataset.corpus.ids) == ["d1", "d2"]
    assert list(dataset.corpus.texts) == ["Tea Green.", "Milk."]
    assert dataset.corpus.titles == ["Tea", ""]
    assert dataset.splits == {"test": {"q1": {"d1": 1}, "q2": {"d2": 1}}}
    assert dataset.warnings == ()


def test_crlf_byte_order_mark_and_gzip_change_nothing(write_folder: Callable[..., Path]) -> None:
    plain = write_folder("plain")
    odd = plain.with_name("odd")
    shutil.copytree(plain, odd)
    for path in [*odd.glob("*.jsonl"), odd / "qrels" / "test.tsv"]:
        content = b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n") + b"\r\n"
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(content))
        path.unlink()
    assert read_beir(odd, INFO) == read_beir(plain, INFO)


def test_line_separators_inside_a_text_do_not_end_its_line(write_folder: Callable[..., Path]) -> None:
    text = "one\u2028two\u0085three\x0b"
    folder = write_folder(corpus=f'{DOC}{{"_id": "d2", "text": "{text[:-1]}"}}\n')
    assert read_beir(folder, INFO).corpus.text_of("d2") == text[:-1]


def test_whole_numbers_are_taken_as_ids(write_folder: Callable[..., Path]) -> None:
    folder = write_folder(corpus='{"_id": 1, "text": "a"}\n{"_id": 2, "text": "b"}\n', test=f"{HEADER}q1\t1\t1\n")
    assert read_beir(folder, INFO).splits["test"] == {"q1": {"1": 1}}


def test_empty_texts_are_kept_and_counted(write_folder: Callable[..., Path]) -> None:
    folder = write_folder(
        corpus=f'{DOC}{{"_id": "d2", "title": null, "text": ""}}\n{{"_id": "d3", "text": "  "}}\n',
        queries='{"_id": "q1", "text": ""}\n{"_id": "q2", "text": "x"}\n',
    )
    dataset = read_beir(folder, INFO)
    assert len(dataset.corpus) == 3
    assert dataset.warnings == (
        "corpus.jsonl: 2 empty documents are kept (lines 2, 3)",
        "queries.jsonl: 1 empty queries are kept (line 1)",
    )


def test_repeated_rows_and_queries_without_relevant_documents_are_warned_about(
    write_folder: Callable[..., Path],
) -> None:
    folder = write_folder(test=f"{HEADER}q1\td1\t1\nq1\td1\t1\nq2\td2\t0\n")
    first, second = read_beir(folder, INFO).warnings
    assert "1 repeated rows" in first and "line 3" in first
    assert "1 queries have no relevant document" in second


def test_groups_come_from_the_queries_metadata(write_folder: Callable[..., Path]) -> None:
    queries = '{"_id": "q1", "text": "a", "metadata": {"group": "g"}}\n{"_id": "q2", "text": "b", "metadata": {}}\n'
    assert read_beir(write_folder(queries=queries), INFO).groups == {"q1": "g"}


@pytest.mark.parametrize(
    ("files", "where", "what"),
    [
        ({"corpus": f"{DOC}{{'_id': 2}}\n"}, "corpus.jsonl:2", "not JSON"),
        ({"corpus": f'{DOC}{{"_id": "d2", "text": "cut off\n'}, "corpus.jsonl:2", "not JSON"),
        ({"corpus": f'{DOC}["d2"]\n'}, "corpus.jsonl:2", "expected a JSON object, found list"),
        ({"corpus": f'{DOC}\n{{"text": "no id"}}\n'}, "corpus.jsonl:3", "no '_id'"),
        ({"corpus": f'{DOC}{{"id": "d2", "text": ""}}\n'}, "corpus.jsonl:2", "write it as '_id'"),
        ({"corpus": f'{DOC}{{"_id": "", "text": ""}}\n'}, "corpus.jsonl:2", "no '_id'"),
        ({"corpus": f'{DOC}{{"_id": 1.5, "text": ""}}\n'}, "corpus.jsonl:2", "'_id' is float"),
        ({"corpus": f'{DOC}{{"_id": "a\\tb", "text": ""}}\n'}, "corpus.jsonl:2", "has a tab"),
        ({"corpus": DOC * 2}, "corpus.jsonl:2", "duplicate '_id' 'd1', first on line 1"),
        ({"corpus": f'{DOC}{{"_id": "d2", "txt": "x"}}\n'}, "corpus.jsonl:2", "did you mean 'txt'"),
        ({"corpus": f'{DOC}{{"_id": "d2", "text": 3}}\n'}, "corpus.jsonl:2", "'text' is int"),
        ({"corpus": ""}, "corpus.jsonl", "the corpus is empty"),
        ({"corpus": DOC.encode() + b'{"_id": "\xff"}\n'}, "corpus.jsonl:2", "not UTF-8"),
        ({"queries": "\n\n"}, "queries.jsonl", "the file has no queries"),
        ({"queries": '{"_id": "q1", "text": "a"}\n' * 2}, "queries.jsonl:2", "duplicate '_id' 'q1'"),
        ({"corpus": None}, "toy", "no corpus.jsonl"),
        ({"test": None}, "qrels", "no qrels"),
        ({"test": ""}, "test.tsv", "no judgements"),
        ({"test": "q1\td1\t1\n"}, "test.tsv:1", "expected the header"),
        ({"test": "q1 0 d1 1\n"}, "test.tsv:1", "looks like TREC qrels"),
        ({"test": HEADER}, "test.tsv", "no judgements"),
        ({"test": f"{HEADER}q1\td1\n"}, "test.tsv:2", "expected 3 columns separated by tabs, found 2"),
        ({"test": f"{HEADER}q1\td1\t1\nq2\td2\t0.5\n"}, "test.tsv:3", "grade '0.5' is not an integer"),
        ({"test": f"{HEADER}q1\td1\t1\nq9\td2\t1\nq8\td2\t1\n"}, "test.tsv:3", "query 'q9' is not in queries.jsonl"),
        ({"test": f"{HEADER}q1\td1\t1\nq2\td9\t1\nq2\td8\t1\n"}, "test.tsv:3", "document 'd9' is not in corpus.jsonl"),
        ({"test": f"{HEADER}q1\td1\t1\nq1\td1\t2\n"}, "test.tsv:3", "contradicts an earlier 1"),
    ],
)
def test_errors_name_file_and_line(
    write_folder: Callable[..., Path], files: dict[str, str | bytes | None], where: str, what: str
) -> None:
    with pytest.raises(DataError) as caught:
        read_beir(write_folder(**files), INFO)
    assert re.search(rf"{re.escape(where)}\b", str(caught.value))
    assert what in str(caught.value)


def test_many_unknown_documents_are_named_and_counted(write_folder: Callable[..., Path]) -> None:
    rows = "".join(f"q1\tx{number}\t1\n" for number in range(5))
    with pytest.raises(DataError, match=r"(?s)test.tsv:2:.*test.tsv:4:.*and 2 more"):
        read_beir(write_folder(test=HEADER + rows), INFO)


def test_a_missing_split_names_the_present_ones(write_folder: Callable[..., Path]) -> None:
    folder = write_folder(train=f"{HEADER}q1\td1\t1\n")
    with pytest.raises(DataError, match=r"did you mean 'train'.*Present: test, train"):
        read_beir(folder, INFO, splits=["trian"])
    assert set(read_beir(folder, INFO, splits=["test"]).splits) == {"test"}


def test_a_truncated_gzip_file_is_an_error(write_folder: Callable[..., Path]) -> None:
    folder = write_folder(corpus=None)
    content = gzip.compress("".join(f'{{"_id": "{n}", "text": "{n * 7919}"}}\n' for n in range(999)).encode())
    (folder / "corpus.jsonl.gz").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"corpus.jsonl.gz:\d+: damaged gzip"):
        read_beir(folder, INFO)


def test_the_error_names_a_nested_folder_that_holds_the_files(write_folder: Callable[..., Path]) -> None:
    outer = write_folder("outer/toy").parent
    with pytest.raises(DataError, match=r"no corpus.jsonl.*toy has one"):
        read_beir(outer, INFO, splits=[])


@pytest.mark.parametrize(
    ("name", "documents", "queries"),
    [
        ("scifact", 5183, {"train": 809, "test": 300}),
        ("medquad", 15809, {"train": 11466, "dev": 1433, "test": 1446}),
        ("boolq", 2939, {"test": 3270}),
    ],
)
def test_real_folders_have_the_documented_sizes(
    shared_data: Path, name: str, documents: int, queries: dict[str, int]
) -> None:
    dataset = read_beir(shared_data / name, DatasetInfo(name))
    assert len(dataset.corpus) == documents
    assert {split: len(found) for split, found in dataset.splits.items()} == queries


def test_similarity_pairs_are_read(tmp_path: Path) -> None:
    (tmp_path / "test.jsonl").write_text('{"s1": "a", "s2": "b", "score": 2.5}\n{"s1": "c", "s2": "d", "score": 0}\n')
    dataset = read_similarity(tmp_path, INFO)
    assert (dataset.first, dataset.second, dataset.scores) == (["a", "c"], ["b", "d"], [2.5, 0.0])


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ('{"s1": "a", "score": 1}', "'s2' is missing"),
        ('{"s1": "a", "s2": "b"}', "'score' is missing"),
        ('{"s1": "a", "s2": "b", "score": true}', "not a number"),
        ('{"s1": "a", "s2": "b", "score": NaN}', "not a number"),
        ('{"s1": "a", "s2": "b", "score": ' + "9" * 400 + "}", "not a number"),
        ('{"s1": "a", "s2": "b", "score": ' + "9" * 4400 + "}", "not read"),
    ],
)
def test_similarity_errors_name_the_line(tmp_path: Path, line: str, what: str) -> None:
    (tmp_path / "test.jsonl").write_text('{"s1": "a", "s2": "b", "score": 1}\n' + line + "\n")
    with pytest.raises(DataError, match=rf"test.jsonl:2: .*{what}"):
        read_similarity(tmp_path, INFO)


def test_a_missing_similarity_split_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "dev.jsonl").write_text("")
    with pytest.raises(DataError, match="Present: dev"):
        read_similarity(tmp_path, INFO)


def test_the_sts_benchmark_has_its_official_sizes(shared_data: Path) -> None:
    sizes = [len(read_similarity(shared_data / "stsb", INFO, split).scores) for split in ("train", "dev", "test")]
    assert sizes == [5749, 1500, 1379]
