"""Queries that a reader writes: what is kept, what is paid, what is marked, and that an interruption costs nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from bench.cli import main
from bench.data.dataset import Corpus
from bench.data.locate import load_dataset
from bench.data.pseudo import is_pseudo
from bench.errors import BenchError, DataError, ModelError
from bench.readers.base import Messages, Written
from bench.readers.query_generation import GenerationSettings, generate
from bench.readers.query_prompts import QueryPrompt, read_query_prompt
from bench.retrieval.ranking import Ranking
from bench.store.answers import ReadingCache
from tests.loopback import serving

SUBJECTS = ("kettle", "bicycle", "garden", "invoice", "violin", "harbour", "glacier", "pension")
CORPUS = Corpus(
    [f"d{place}" for place in range(len(SUBJECTS))],
    [f"The {subject} is described here, and how it is repaired in winter." for subject in SUBJECTS],
)
ALL = GenerationSettings(per_passage=1, round_trip=0)


class Planted:
    """Writes, for the passage on a subject, what a table says, and a proper question elsewhere."""

    name, fingerprint, scores = "planted", "f00d", False

    def __init__(self, texts: Mapping[str, str] | None = None, lives: int | None = None) -> None:
        self.texts, self.lives, self.asked = dict(texts or {}), lives, 0

    def cut(self, text: str, tokens: int) -> tuple[str, int]:
        kept = text.split()[:tokens]
        return " ".join(kept), len(kept)

    def write(self, prompts: Sequence[Messages], max_tokens: int) -> Iterator[tuple[int, Written]]:
        for place, messages in reversed(list(enumerate(prompts))):
            if self.lives == 0:
                raise ModelError("the reader died")
            if self.lives is not None:
                self.lives -= 1
            self.asked += 1
            subject = next(each for each in SUBJECTS if each in messages[-1][1])
            text = self.texts.get(subject, f"How do I mend my {subject} before spring?")
            yield place, Written(text, 100, 10, 0.5)

    def score(self, prompts: Sequence[Messages], answers: Sequence[str]) -> Any:
        raise NotImplementedError


def made(reader: Planted, cache: Path, settings: GenerationSettings = ALL, search: Any = None) -> Any:
    return generate(CORPUS, reader, QueryPrompt(), settings, ReadingCache(cache), search)


@pytest.mark.parametrize(
    ("written", "fate"),
    [
        ("", "no question"),
        ("Kettle", "no question"),
        ("word " * 60, "no question"),
        ("how it is repaired in winter?", "copied"),
        ("How do I mend my violin before spring?", "repeated"),
        ('Question: "where is the kettle kept?"\nAnother line', ""),
        ("1. where is the kettle kept", ""),
    ],
)
def test_what_is_no_query_of_its_own_is_dropped(written: str, fate: str, tmp_path: Path) -> None:
    generated = made(Planted({"kettle": written}), tmp_path / "cache.jsonl")
    kept = {query.doc: query.text for query in generated.queries}
    assert generated.fates == {"kept": 8} if not fate else generated.fates == {"kept": 7, fate: 1}, generated.summary
    if not fate:
        assert kept["d0"].startswith("where is the kettle kept") and "\n" not in kept["d0"]
    assert all(query.group == "pseudo:generated" for query in generated.queries)


def test_a_query_whose_passage_is_not_found_again_or_scores_too_low_is_dropped(tmp_path: Path) -> None:
    def search(queries: Mapping[str, str], depth: int) -> Ranking:
        """Find each passage with a similarity of 0.8, that of the kettle with 0.1, and never that of the violin."""
        docs = {query: query.rpartition("-")[2] for query in queries}
        return Ranking({q: [] if doc == "d4" else [(doc, 0.1 if doc == "d0" else 0.8)] for q, doc in docs.items()})

    cache = tmp_path / "cache.jsonl"
    found = made(Planted(), cache, GenerationSettings(per_passage=1, round_trip=3), search)
    assert found.fates == {"kept": 7, "not found again": 1}
    found = made(Planted(), cache, GenerationSettings(per_passage=1, round_trip=3, min_score=0.5), search)
    assert found.fates == {"kept": 6, "not found again": 1, "low score": 1}


def test_a_reader_that_dies_is_resumed_without_paying_twice(tmp_path: Path) -> None:
    cache = tmp_path / "cache.jsonl"
    with pytest.raises(ModelError, match="died"):
        made(Planted(lives=3), cache)
    reader = Planted()
    generated = made(reader, cache, GenerationSettings(per_passage=1, round_trip=0, usd_per_million=(1000.0, 10_000.0)))
    assert reader.asked == 5 and generated.paid["calls"] == 5 and generated.paid["reused"] == 3
    assert generated.paid["usd"] == pytest.approx((5 * 100 * 1000 + 5 * 10 * 10_000) / 1e6)
    again = made(Planted(lives=0), cache)
    assert again.paid["calls"] == 0 and [q.text for q in again.queries] == [q.text for q in generated.queries]


def test_several_queries_of_a_passage_come_from_other_orders_of_the_examples() -> None:
    prompt = QueryPrompt()
    chats = [prompt.messages("a passage", number) for number in range(4)]
    assert len(set(chats)) == 3 and chats[0] == chats[3]
    assert all(len(chat) == 8 and chat[-1] == chats[0][-1] for chat in chats)


def test_a_sample_of_passages_is_drawn_by_the_seed(tmp_path: Path) -> None:
    settings = GenerationSettings(per_passage=1, passages=3, round_trip=0)
    first, again = (made(Planted(), tmp_path / name, settings) for name in ("a", "b"))
    assert len(first.queries) == 3 and [q.doc for q in first.queries] == [q.doc for q in again.queries]


def test_no_query_left_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="wrote 8 queries; 0 are kept \\(8 no question\\)"):
        made(Planted(dict.fromkeys(SUBJECTS, "no")), tmp_path / "cache")


@pytest.mark.parametrize(
    "text",
    ["passage = 'no slot'", "passage = '{passage} {x}'", "passages = '{passage}'", "[[examples]]\npassage='x'", "="],
)
def test_a_prompt_that_makes_no_sense_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "prompt.toml"
    path.write_text(text)
    with pytest.raises(BenchError, match=r"prompt\.toml"):
        read_query_prompt(path)


# --- the command --------------------------------------------------------------------------------------------------


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """A chat endpoint on loopback that asks about the subject of a passage, as the name of a reader."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("ADAPTBENCH_CACHE", str(tmp_path / "cache"))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            subject = next(each for each in SUBJECTS if each in body["messages"][-1]["content"])
            message = {"message": {"content": f"Who mends a {subject} before spring?"}}
            reply = json.dumps({"choices": [message], "usage": {"prompt_tokens": 30, "completion_tokens": 6}}).encode()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, *args: Any) -> None: ...

    with serving(Handler) as address:
        yield f"openai:{address}/v1#writer"


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    folder = tmp_path / "documents"
    folder.mkdir()
    for subject in SUBJECTS:
        (folder / f"{subject}.md").write_text(f"The {subject} is described here, and how it is repaired in winter.")
    return folder


def test_documents_become_a_dataset_whose_queries_are_marked_everywhere(
    endpoint: str, documents: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "made"
    arguments = ["import", str(documents), "--out", str(out), "--generate-queries", "1", "--reader", endpoint]
    assert main([*arguments, "--round-trip", "0", "--usd-per-million-tokens", "1000,1000"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "writer wrote 8 queries; 8 are kept" in printed and "0.29 USD" in printed
    assert "training queries written by writer: no labels" in printed

    dataset = load_dataset(str(out))
    assert dataset.info.pseudo and dataset.info.generated_by == "writer"
    assert any("written by writer; they are not labels" in warning for warning in dataset.warnings)
    assert all(is_pseudo(dataset.groups, query) for qrels in dataset.splits.values() for query in qrels)
    record = json.loads((out / "generated.json").read_text())
    assert (
        record["paid"]["calls"] == 8 and record["fates"] == {"kept": 8} and "{passage}" in record["prompt"]["passage"]
    )


def test_labelled_questions_may_train_beside_the_generated_ones(endpoint: str, documents: Path, tmp_path: Path) -> None:
    rows = "".join(f"who repairs the {subject} at home,{subject}.md\n" for subject in SUBJECTS)
    (tmp_path / "pairs.csv").write_text("question,file\n" + rows)
    out = tmp_path / "made"
    arguments = ["import", str(documents), "--out", str(out), "--pairs", str(tmp_path / "pairs.csv"), "--keep-labels"]
    assert main([*arguments, "--generate-queries", "1", "--reader", endpoint, "--round-trip", "0"]) == 0
    dataset = load_dataset(str(out))
    assert not dataset.info.pseudo and set(dataset.splits) == {"train", "dev", "test", "generated"}
    assert {is_pseudo(dataset.groups, query) for query in dataset.splits["train"]} == {False}
    assert all(is_pseudo(dataset.groups, query) for query in dataset.splits["generated"])
    assert any("stand beside the labels" in warning for warning in dataset.warnings)


def test_a_beir_folder_brings_its_labels(
    endpoint: str, documents: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = "".join(f"who repairs the {subject} at home,{subject}.md\n" for subject in SUBJECTS)
    (tmp_path / "pairs.csv").write_text("question,file\n" + rows)
    labelled, out = str(tmp_path / "labelled"), tmp_path / "made"
    assert main(["import", str(documents), "--out", labelled, "--pairs", str(tmp_path / "pairs.csv")]) == 0
    assert main(["import", labelled, "--out", str(out)]) != 0 and "is a dataset already" in capsys.readouterr().err
    arguments = ["import", labelled, "--out", str(out), "--generate-queries", "1", "--keep-labels"]
    assert main([*arguments, "--reader", endpoint, "--round-trip", "0"]) == 0
    before, made = load_dataset(labelled), load_dataset(str(out))
    assert {split: made.splits[split] for split in before.splits} == before.splits
    assert made.splits["generated"] and made.corpus.ids == before.corpus.ids


def test_labels_to_keep_are_asked_for_before_a_query_is_paid_for(
    documents: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["import", str(documents), "--out", str(tmp_path / "made"), "--keep-labels", "--generate-queries", "1"]
    assert main([*arguments, "--reader", "openai:http://127.0.0.1:9/v1#nobody"]) != 0
    assert "has no labelled questions" in capsys.readouterr().err


def test_labelled_questions_are_kept_for_the_test(endpoint: str, documents: Path, tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_text("question,file\nwho repairs kettles,kettle.md\nwho tunes violins,violin.md\n")
    out = tmp_path / "made"
    arguments = ["import", str(documents), "--out", str(out), "--pairs", str(tmp_path / "pairs.csv")]
    assert main([*arguments, "--generate-queries", "1", "--reader", endpoint, "--round-trip", "0"]) == 0
    dataset = load_dataset(str(out))
    assert {dataset.queries[query] for query in dataset.splits["test"]} == {"who repairs kettles", "who tunes violins"}
    assert all(is_pseudo(dataset.groups, query) for query in dataset.splits["train"])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--pseudo-queries"], "take one"),
        (["--usd-per-million-tokens", "1"], "expected two prices"),
        (["--usd-per-million-tokens", "-1,0"], "from 0 up"),
        (["--reader", "nobody"], "unknown reader"),
        (["--prompt", "missing.toml"], "missing.toml"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    more: list[str], message: str, endpoint: str, documents: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "made"
    arguments = ["import", str(documents), "--out", str(out), "--generate-queries", "1", "--reader", endpoint]
    assert main([*arguments, *more]) != 0
    assert message in " ".join(capsys.readouterr().err.split()) and not out.exists()
