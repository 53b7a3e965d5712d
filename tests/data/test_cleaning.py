from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest

from bench.cli import main
from bench.data.cleaning import Drop, clean, tidy
from bench.data.dataset import Corpus, Dataset, DatasetInfo, Qrels
from bench.data.inspection import inspect
from bench.data.locate import load_dataset
from bench.data.templates import OTHER, find_templates, template_groups
from bench.data.write import write_dataset
from bench.retrieval.lexical_terms import english as tokenize

WORDS = [f"word{n}" for n in range(3000)]


def passage(seed: int, length: int = 40) -> str:
    return " ".join(random.Random(seed).choices(WORDS, k=length))


def question(seed: int) -> str:
    return passage(10_000 + seed, 12)


def make(
    documents: Mapping[str, str], queries: Mapping[str, str], splits: Mapping[str, Qrels], **groups: str
) -> Dataset:
    return Dataset(DatasetInfo("toy"), Corpus(list(documents), list(documents.values())), queries, splits, (), groups)


@pytest.fixture
def spotless() -> Dataset:
    """Sixty documents, a question to each; nothing repeats, nothing resembles."""
    splits: dict[str, dict[str, dict[str, int]]] = {"train": {}, "dev": {}, "test": {}}
    for n in range(60):
        splits["train" if n < 40 else "dev" if n < 50 else "test"][f"q{n}"] = {f"d{n}": 1}
    return make({f"d{n}": passage(n) for n in range(60)}, {f"q{n}": question(n) for n in range(60)}, splits)


@pytest.fixture
def planted(spotless: Dataset) -> Dataset:
    """The same with a copy, a near-copy and an empty document, and four leaks of questions."""
    documents = dict(zip(spotless.corpus.ids, spotless.corpus.texts, strict=True))
    documents["d1"] = documents["d0"].upper()  # a copy, both in train
    documents["d2"] = documents["d55"].replace(documents["d55"].split()[20], "other", 1)  # near a test document
    documents["d3"] = " ... "
    queries = dict(spotless.queries)
    queries["q5"] = queries["q56"].title() + "?"  # repeats a test query
    queries["q6"] = queries["q57"] + " indeed"  # resembles one
    queries["q7"] = queries["q45"]  # repeats a dev query
    queries["q46"] = queries["q58"]  # dev repeats test
    splits = {split: {query: dict(docs) for query, docs in qrels.items()} for split, qrels in spotless.splits.items()}
    splits["train"]["q8"]["d59"] = 1  # a document that is relevant in the test
    return make(documents, queries, splits)


def test_spotless_data_gives_no_findings(spotless: Dataset) -> None:
    cleaned, drops, tidied = clean(spotless, drop_shared=True)
    assert (drops, tidied) == ([], 0)
    assert cleaned.fingerprint == spotless.fingerprint
    facts = inspect(spotless, tokenize)
    assert facts.leaks == () and facts.templates == ()
    assert (facts.copied_documents, facts.near_documents) == (0, 0)


def test_each_planted_fault_is_dropped_with_its_reason(planted: Dataset) -> None:
    before = planted.fingerprint
    cleaned, drops, _ = clean(planted)
    assert set(drops) == {
        Drop("document", "d3", "", "has no words"),
        Drop("judgement", "q3 d3", "train", "its document has no words"),
        Drop("query", "q3", "train", "has no relevant document left"),
        Drop("document", "d1", "", "is a copy, merged", "d0"),
        Drop("query", "q5", "train", "repeats a query of test", "q56"),
        Drop("query", "q6", "train", "resembles a query of test", "q57"),
        Drop("query", "q7", "train", "repeats a query of dev", "q45"),
        Drop("query", "q46", "dev", "repeats a query of test", "q58"),
        Drop("judgement", "q2 d2", "train", "resembles a document relevant in test", "d55"),
        Drop("query", "q2", "train", "has no relevant document left"),
    }
    assert planted.fingerprint == before, "the dataset that was given is not changed"
    assert cleaned.splits["train"]["q1"] == {"d0": 1}
    assert cleaned.splits["test"] == planted.splits["test"]
    assert "d2" in cleaned.corpus.ids
    assert clean(cleaned)[1] == []


def test_shared_documents_are_dropped_on_request(planted: Dataset) -> None:
    cleaned, drops, _ = clean(planted, drop_shared=True)
    assert Drop("judgement", "q8 d59", "train", "is relevant in test too", "d59") in drops
    assert cleaned.splits["train"]["q8"] == {"d8": 1}


def test_sources_are_balanced_by_seed(spotless: Dataset) -> None:
    groups = {f"q{n}": "a" if n < 30 else "b" for n in range(60)}
    dataset = make(
        dict(zip(spotless.corpus.ids, spotless.corpus.texts, strict=True)), spotless.queries, spotless.splits, **groups
    )
    kept = [set(clean(dataset, per_group=8, seed=seed)[0].splits["train"]) for seed in (1, 1, 2)]
    assert [sum(groups[query] == name for query in kept[0]) for name in "ab"] == [8, 8]
    assert kept[0] == kept[1] != kept[2]
    assert len(clean(dataset, per_group=8)[0].splits["test"]) == 10


def test_copied_queries_of_one_split_are_merged() -> None:
    dataset = make(
        {"d1": "a b", "d2": "c d"}, {"q1": "What?", "q2": "what"}, {"test": {"q1": {"d1": 1}, "q2": {"d2": 2}}}
    )
    cleaned, drops, _ = clean(dataset)
    assert cleaned.splits == {"test": {"q1": {"d1": 1, "d2": 2}}}
    assert drops == [Drop("query", "q2", "test", "is a copy, merged", "q1")]


def test_the_same_words_in_another_order_make_another_query() -> None:
    queries = {"q1": "increases the rise of a also cause b", "q2": "increases the rise of b also cause a"}
    dataset = make({"d1": "a b", "d2": "c d"}, queries, {"test": {"q1": {"d1": 1}}, "train": {"q2": {"d2": 1}}})
    (drop,) = clean(dataset)[1]
    assert drop.reason == "resembles a query of test"
    assert inspect(dataset, tokenize).leaks[0].same == 0


def test_texts_are_tidied() -> None:
    assert tidy("e\u0301\u00a0 x\r\ny\x07 \n\n\n\nz\ufeff ") == "é x\ny\n\nz"
    assert tidy("plain\n\ntext") == "plain\n\ntext"


def test_inspection_finds_the_planted_faults(planted: Dataset) -> None:
    facts = inspect(planted, tokenize)
    assert facts.copied_documents == 1
    assert facts.near_documents == 4
    leaks = {(leak.first, leak.second, leak.kind): (leak.same, leak.near) for leak in facts.leaks}
    assert leaks == {
        ("test", "dev", "queries"): (1, 0),
        ("test", "train", "queries"): (1, 1),
        ("test", "train", "relevant documents"): (1, 1),
        ("dev", "train", "queries"): (1, 0),
    }
    assert facts.overlaps["train"].shared_relevant == 1
    assert facts.splits["train"].relevant == 41


def test_lengths_are_counted_against_the_limit(spotless: Dataset) -> None:
    facts = inspect(spotless, tokenize, count=lambda texts: [len(text.split()) + 2 for text in texts], limit=20)
    assert facts.lengths["documents"].truncated == 1.0
    assert facts.lengths["queries"].truncated == 0.0
    assert facts.lengths["queries"].median == 14
    assert inspect(spotless, tokenize).lengths["documents"].truncated is None


def test_lexical_overlap_is_of_the_best_relevant_document() -> None:
    documents = {"d1": "green tea leaves", "d2": "black tea", "d3": "milk"}
    queries = {"q1": "green tea shops", "q2": "juice"}
    facts = inspect(make(documents, queries, {"test": {"q1": {"d1": 1, "d2": 1, "d3": 0}, "q2": {"d3": 1}}}), tokenize)
    assert facts.lexical_overlap == {"mean": pytest.approx((2 / 3 + 0) / 2), "none": 0.5}


def test_templates_are_found_and_natural_questions_are_not() -> None:
    names = [f"name{n}" for n in range(200)]
    asked = [f"What are the symptoms of {name} ?" for name in names[:100]]
    asked += [f"How many people are affected by {name} syndrome?" for name in names[100:150]]
    natural = [question(n) for n in range(200)]
    found = {template.pattern: len(template.members) for template in find_templates(asked + natural)}
    assert found == {"what are the symptoms of ...": 100, "how many people are affected by ...": 50}


def test_questions_are_grouped_by_template_where_templates_make_most_of_them() -> None:
    asked = [f"What are the symptoms of name{n} ?" for n in range(20)]
    asked += [f"How many people are affected by name{n} syndrome?" for n in range(20)]
    few, many = [question(n) for n in range(10)], [question(n) for n in range(200)]
    groups = template_groups({f"q{n}": text for n, text in enumerate(asked + few)})
    assert Counter(groups.values()) == {
        "what are the symptoms of ...": 20, "how many people are affected by ...": 20, OTHER: 10
    }  # fmt: skip
    assert template_groups({f"q{n}": text for n, text in enumerate(asked + many)}) == {}


def test_the_command_writes_a_copy_and_a_list(
    planted: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_dataset(planted, tmp_path / "given")
    assert main(["clean", str(tmp_path / "given")]) == 0
    assert "nothing was written" in capsys.readouterr().out
    assert main(["clean", str(tmp_path / "given"), "--out", str(tmp_path / "made")]) == 0
    assert "train 40 -> 35" in capsys.readouterr().out
    lines = (tmp_path / "made" / "dropped.jsonl").read_text().splitlines()
    assert len(lines) == 10
    assert json.loads(lines[0])["reason"] == "has no words"
    dataset = load_dataset(str(tmp_path / "made"))
    assert isinstance(dataset, Dataset)
    assert len(dataset.corpus) == 58
    assert main(["clean", str(tmp_path / "given"), "--out", str(tmp_path / "made")]) == 2
    assert "already exists" in capsys.readouterr().err
    assert main(["clean", str(tmp_path / "given"), "--near-query", "1.5"]) == 2


def test_the_inspect_command_prints_its_findings(
    planted: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_dataset(planted, tmp_path / "given")
    assert main(["inspect", str(tmp_path / "given"), "--no-model"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "leak: 1 queries of train are also in test, and 1 resemble one there" in printed
    assert "1 documents are copies" in printed
    assert "power: 10 judged queries detect" in printed
    assert main(["inspect", str(tmp_path / "given"), "--no-model", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["power"]["queries_needed"] == 1077
    assert set(facts["baseline_scores"]) == {"BM25"}
    assert main(["inspect", str(tmp_path / "given"), "--no-model", "--split", "tset"]) == 2
    assert "did you mean 'test'" in capsys.readouterr().err


def test_the_inspect_command_measures_a_model(
    beir_folder: Path,
    tiny_folder: object,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    model = tiny_folder("bert")  # type: ignore[operator]
    assert main(["inspect", str(beir_folder), "--model", str(model), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["lengths"]["documents"]["unit"] == "tokens"
    assert facts["lengths"]["documents"]["limit"] == 64
    assert len(facts["baseline_scores"]) == 2
    assert all(0 <= value <= 1 for scores in facts["baseline_scores"].values() for value in scores.values())


def test_the_known_overlap_of_scifact_is_found(shared_data: Path) -> None:
    scifact = load_dataset("scifact", shared_data)
    assert isinstance(scifact, Dataset)
    facts = inspect(scifact, tokenize)
    assert (facts.overlaps["train"].shared_relevant, facts.overlaps["train"].test_relevant) == (181, 283)
    leak = next(leak for leak in facts.leaks if leak.kind == "relevant documents")
    assert (leak.same, leak.near) == (181, 0)
    assert facts.templates == ()
