from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.cli import main
from bench.data.dataset import Dataset
from bench.data.locate import load_dataset
from bench.data.splits import training_data

TOPICS = ("tea", "milk", "bread", "salt", "rice", "soap", "glass", "paper", "wool", "iron", "copper", "maize")
FORMS = ("how is {} made in old towns", "In old towns, how is {} made?", "who sells {}", "tell the long story of {}")


def csv_of(rows: list[tuple[str, ...]]) -> str:
    return "".join(",".join('"' + cell.replace('"', '""') + '"' for cell in row) + "\r\n" for row in rows)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A spreadsheet's CSV: four ways to ask of each of twelve things, answers with line ends and quotes."""
    rows: list[tuple[str, ...]] = [("Question", "Answer", "Source")]
    for topic in TOPICS:
        for number, form in enumerate(FORMS):
            answer = f'All about "{topic}",\nin two lines, number {number // 2}.'
            rows.append((form.format(topic), answer, f"s{number % 2}"))
    path = tmp_path / "faq.csv"
    path.write_bytes(b"\xef\xbb\xbf" + csv_of(rows).encode())
    return path


def imported(*arguments: object) -> Dataset:
    assert main(["import", *map(str, arguments)]) == 0
    out = arguments[list(arguments).index("--out") + 1]
    dataset = load_dataset(str(out))
    assert isinstance(dataset, Dataset)
    return dataset


def test_a_table_becomes_a_dataset(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = imported(table, "--out", tmp_path / "faq")
    assert len(dataset.corpus) == 24
    assert set(dataset.splits) == {"train", "dev", "test"}
    assert sum(map(len, dataset.splits.values())) == len(dataset.queries) == 48
    assert dataset.corpus.text_of("d1") == 'All about "tea",\nin two lines, number 0.'
    assert dataset.queries["q1"] == "how is tea made in old towns"
    assert dataset.groups["q1"] == "s0"
    assert "adaptbench run --datasets" in capsys.readouterr().out


def test_paraphrases_and_questions_with_one_answer_stay_together(table: Path, tmp_path: Path) -> None:
    dataset = imported(table, "--out", tmp_path / "faq", "--shares", "50,20,30")
    sides = {query: split for split, qrels in dataset.splits.items() for query in qrels}
    for first in range(1, 49, 2):
        assert sides[f"q{first}"] == sides[f"q{first + 1}"]
    assert 10 <= len(dataset.splits["test"]) <= 18


def test_the_same_seed_gives_the_same_splits(table: Path, tmp_path: Path) -> None:
    first, second, other = (
        imported(table, "--out", tmp_path / f"out{n}", "--seed", seed).splits for n, seed in enumerate((1, 1, 2))
    )
    assert first == second != other


@pytest.mark.parametrize("suffix", ["tsv", "jsonl", "parquet"])
def test_other_tables_give_the_same_dataset(table: Path, tmp_path: Path, suffix: str) -> None:
    import pandas as pd

    frame = pd.read_csv(table)
    path = tmp_path / f"faq.{suffix}"
    if suffix == "parquet":
        frame.to_parquet(path)
    elif suffix == "jsonl":
        frame.to_json(path, orient="records", lines=True)
    else:
        frame.to_csv(path, sep="\t", index=False)
    one, other = imported(table, "--out", tmp_path / "one"), imported(path, "--out", tmp_path / "other")
    assert one.fingerprint == other.fingerprint


def test_triplets_and_graded_pairs(tmp_path: Path) -> None:
    rows = [{"anchor": f"query {n} {TOPICS[n]}", "positive": f"p{n}", "negative": f"n{n}"} for n in range(10)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    dataset = imported(tmp_path / "a.jsonl", "--out", tmp_path / "a")
    judged = {query: docs for qrels in dataset.splits.values() for query, docs in qrels.items()}
    assert judged["q1"] == {"d1": 1, "d1-2": 0}
    assert dataset.corpus.text_of("d1-2") == "n0"

    lines = ["query,passage,score", *(f"query {n} {TOPICS[n]},p{n},{n % 3}" for n in range(12))]
    (tmp_path / "b.csv").write_text("\n".join(lines))
    dataset = imported(tmp_path / "b.csv", "--out", tmp_path / "b")
    grades = [grade for qrels in dataset.splits.values() for docs in qrels.values() for grade in docs.values()]
    assert sorted(grades) == sorted(n % 3 for n in range(12))


def test_fractional_scores_need_a_threshold(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = "\n".join(f'query {n} {TOPICS[n]},p{n},"0,{n}"' for n in range(9))
    (tmp_path / "a.csv").write_text(f"query,passage,score\n{rows}\n")
    assert main(["import", str(tmp_path / "a.csv"), "--out", str(tmp_path / "a")]) == 2
    assert "a.csv:3: score '0,1' is not a whole grade" in capsys.readouterr().err
    dataset = imported(tmp_path / "a.csv", "--out", tmp_path / "a", "--relevant-from", "0.5")
    grades = [grade for qrels in dataset.splits.values() for docs in qrels.values() for grade in docs.values()]
    assert sorted(grades) == [0] * 5 + [1] * 4


def test_a_settled_split_is_kept(tmp_path: Path) -> None:
    names = ["train", "Validation", "test"]
    lines = ["query,passage,split", *(f"query {n} {TOPICS[n]},p{n},{names[n % 3]}" for n in range(9))]
    (tmp_path / "a.csv").write_text("\n".join(lines))
    dataset = imported(tmp_path / "a.csv", "--out", tmp_path / "a")
    assert {split: sorted(qrels) for split, qrels in dataset.splits.items()} == {
        "train": ["q1", "q4", "q7"], "dev": ["q2", "q5", "q8"], "test": ["q3", "q6", "q9"],
    }  # fmt: skip


@pytest.fixture
def manual(tmp_path: Path) -> Path:
    folder = tmp_path / "manual"
    for topic in TOPICS:
        (folder / topic).mkdir(parents=True)
        text = f"# About {topic}\n\nWhat {topic} is. It is a fine thing of its own kind, as said of {topic}.\n\n"
        text += (
            f"## Making {topic}\n\nSteps to make {topic}. " + f"One takes the {topic} and waits a while longer. " * 6
        )
        (folder / topic / "index.md").write_text(text)
    return folder


def test_a_folder_and_a_table_that_points_into_it(manual: Path, tmp_path: Path) -> None:
    rows = [("question", "document", "passage")]
    for topic in TOPICS:
        rows += [
            (f"what is this {topic} really", f"{topic}/index.md#about-{topic}", ""),
            (f"steps for making {topic} at home", f"./{topic}/index.md", f"steps to make {topic}"),
            (f"anything on {topic}", f"{topic}/index", ""),
        ]
    (tmp_path / "pairs.csv").write_text(csv_of(rows))
    dataset = imported(manual, "--pairs", tmp_path / "pairs.csv", "--out", tmp_path / "made")
    assert len(dataset.corpus) == 24
    judged = {query: sorted(docs) for qrels in dataset.splits.values() for query, docs in qrels.items()}
    assert judged["q1"] == ["tea/index.md#about-tea"]
    assert judged["q2"] == ["tea/index.md#making-tea"]
    assert judged["q3"] == ["tea/index.md#about-tea", "tea/index.md#making-tea"]
    sides = {query: split for split, qrels in dataset.splits.items() for query in qrels}
    assert sides["q1"] == sides["q2"] == sides["q3"]


def test_the_error_of_a_pointer_to_nowhere_names_its_row(manual: Path, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "pairs.csv").write_text("question,file\nwhat is tea,tee/index.md\n")
    command = ["import", str(manual), "--pairs", str(tmp_path / "pairs.csv"), "--out", str(tmp_path / "made")]
    assert main(command) == 2
    assert "pairs.csv:2: the corpus has no 'tee/index.md', did you mean 'tea/index.md'?" in capsys.readouterr().err
    (tmp_path / "pairs.csv").write_text("question,passage\nwhat is tea,nobody ever wrote this\n")
    assert main(command) == 2
    assert "no chunk of the corpus holds this passage" in capsys.readouterr().err


def test_pseudo_queries_train_and_labels_test(manual: Path, tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_text("question,file\n" + "".join(f"on {t},{t}/index.md\n" for t in TOPICS))
    dataset = imported(
        manual, "--pairs", tmp_path / "pairs.csv", "--pseudo-queries", "--out", tmp_path / "made"
    )  # fmt: skip
    assert dataset.info.pseudo
    assert len(dataset.splits["test"]) == 12
    assert {dataset.groups[query].partition(":")[0] for query in dataset.splits["train"]} == {"pseudo"}
    data = training_data(dataset, seed=0)
    assert data.pairs and data.labels == 0
    assert data.pseudo
    documents = {split: {doc for docs in qrels.values() for doc in docs} for split, qrels in dataset.splits.items()}
    assert not documents["train"] & documents["dev"]


def test_without_labels_the_test_split_is_pseudo_too_with_a_note(manual: Path, tmp_path: Path, capsys: Any) -> None:
    dataset = imported(manual, "--pseudo-queries", "--out", tmp_path / "made")
    assert set(dataset.splits) == {"train", "dev", "test"}
    assert all(dataset.groups[query].startswith("pseudo:") for query in dataset.splits["test"])
    assert "scores do not show how real questions fare" in capsys.readouterr().err
    assert any("pseudo-queries" in warning for warning in dataset.warnings)


def test_too_few_documents_to_split_are_an_error(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.md").write_text("# Two words\n\nOne sentence here.\n")
    assert main(["import", str(tmp_path / "notes"), "--pseudo-queries", "--out", str(tmp_path / "made")]) == 2
    assert "1 documents with pseudo-queries cannot be split into train, dev, test" in capsys.readouterr().err


def test_a_bare_corpus_gets_pseudo_queries(write_folder: Callable[..., Path], tmp_path: Path) -> None:
    lines = [
        json.dumps({"_id": f"x{n}", "title": f"The {t} book", "text": f"{t} is good. It is {n}."})
        for n, t in enumerate(TOPICS)
    ]
    folder = write_folder(corpus="\n".join(lines), queries=None, test=None)
    dataset = imported(folder, "--pseudo-queries", "--out", tmp_path / "made")
    assert list(dataset.corpus.ids) == [f"x{n}" for n in range(12)]
    assert dataset.corpus.titles is not None and dataset.corpus.titles[0] == "The tea book"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{table}", "--out", "{tmp}/x", "--query", "Qestion"], "did you mean 'Question'"),
        (["{table}", "--out", "{tmp}/x", "--shares", "80,20"], "expected three numbers"),
        (["{table}", "--out", "{tmp}/x", "--shares", "90,10,0"], "the share of the test split must be above 0"),
        (["{table}", "--out", "{tmp}", "--seed", "1"], "already exists"),
        (["{tmp}", "--out", "{tmp}/x"], "--pairs"),
        (["{tmp}/nowhere.csv", "--out", "{tmp}/x"], "no such file"),
        (["{table}", "--out", "{tmp}/x", "--pairs", "{table}"], "--pairs goes with a folder"),
        (["{table}", "--out", "{tmp}/x", "--target", "Answer"], "--target goes with --pairs"),
        (["{tmp}", "--out", "{tmp}/x", "--pseudo-queries", "--query", "q"], "without --pairs there is no table"),
        (["{tmp}", "--out", "{tmp}/x", "--pairs", "{table}", "--title", "Source"], "--title Source names a column"),
        (
            ["{table}", "--out", "{tmp}/x", "--query", "Answer", "--positive", "Answer"],
            "column 'Answer' cannot be both --query and --positive",
        ),
        (["{table}", "--out", "{tmp}/x", "--query", "Answer"], "no column for the passage (--positive)"),
    ],
)
def test_mistakes_give_a_message_and_leave_nothing(
    table: Path, tmp_path: Path, capsys: Any, arguments: list[str], message: str
) -> None:
    (tmp_path / "a.md").write_text("text")
    assert main(["import", *(each.format(table=table, tmp=tmp_path) for each in arguments)]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_json_names_what_was_made(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    imported(table, "--out", tmp_path / "faq", "--json")
    made = json.loads(capsys.readouterr().out)
    assert made["documents"] == 24
    assert sum(made["queries"].values()) == 48
    assert made["fingerprint"] == load_dataset(str(tmp_path / "faq")).fingerprint
