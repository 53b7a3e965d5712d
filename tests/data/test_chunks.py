from __future__ import annotations

from pathlib import Path

import pytest

from bench.data.chunks import count_words, read_folder
from bench.data.dataset import Corpus
from bench.data.pseudo import pseudo_queries
from bench.errors import DataError

GUIDE = """---
title: "The guide"
layout: page
---
Before any heading, see [the site](https://example.org) ![a logo](logo.png).

# Install

First paragraph.

```sh
# not a heading
make setup
```

## On Linux

Use the *package* manager.
<!-- a note to ourselves -->

On Windows
----------

Use the installer.

## On Linux

A second section of that name.
"""


def test_sections_become_chunks_with_ids_that_lead_back(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "the guide.md").write_text(GUIDE)
    chunks = {chunk.id: chunk for chunk in read_folder(tmp_path)}
    assert list(chunks) == [
        "docs/the%20guide.md",
        "docs/the%20guide.md#install",
        "docs/the%20guide.md#on-linux",
        "docs/the%20guide.md#on-windows",
        "docs/the%20guide.md#on-linux-1",
    ]
    assert chunks["docs/the%20guide.md"].text == "Before any heading, see the site a logo."
    assert "# not a heading" in chunks["docs/the%20guide.md#install"].text
    linux = chunks["docs/the%20guide.md#on-linux"]
    assert linux.title == "The guide > Install > On Linux"
    assert linux.text == "Use the *package* manager."


def test_long_sections_are_cut_between_paragraphs_sentences_and_words(tmp_path: Path) -> None:
    sentence = "It goes on and on and on. "
    (tmp_path / "a.md").write_text(f"# Long\n\n{sentence * 4}\n\n{sentence * 20}\n\n{'word ' * 130}")
    chunks = read_folder(tmp_path, max_words=50)
    assert [chunk.id for chunk in chunks] == ["a.md#long", *(f"a.md#long~{n}" for n in range(2, len(chunks) + 1))]
    assert max(len(chunk.text.split()) for chunk in chunks) <= 50
    assert " ".join(chunk.text for chunk in chunks).split() == f"{sentence * 24}{'word ' * 130}".split()
    assert {chunk.section for chunk in chunks} == {"a.md#long"}


@pytest.mark.parametrize("suffix", ["md", "txt"])
@pytest.mark.parametrize(
    "sentence",
    ["我们在河边的工厂里制造钟表和镜片。", "私たちは川のそばの工場で時計を作ります。", "เราทำนาฬิกาในโรงงานริมแม่น้ำ "],
)
def test_text_without_spaces_is_cut_too(tmp_path: Path, sentence: str, suffix: str) -> None:
    (tmp_path / f"a.{suffix}").write_text(sentence * 40, encoding="utf-8")
    chunks = read_folder(tmp_path, max_words=50)
    assert len(chunks) >= 40 * len(sentence.strip()) / 50
    assert max(count_words(chunk.text) for chunk in chunks) <= 50
    assert "".join(chunk.text for chunk in chunks).replace(" ", "") == (sentence * 40).replace(" ", "")


def test_a_document_is_split_in_blocks_without_losing_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The splitter's time grows with the square of a paragraph's length, so it gets no long text at once."""
    monkeypatch.setattr("bench.data.chunks._BLOCK_CHARACTERS", 400)
    text = "It goes on and on, as logs do; " * 200 + "x" * 1000
    (tmp_path / "a.md").write_text(text)
    chunks = read_folder(tmp_path, max_words=50)
    assert "".join("".join(chunk.text for chunk in chunks).split()) == "".join(text.split())
    assert max(len(chunk.text) for chunk in chunks) <= 400


def test_a_code_block_that_fits_stays_whole(tmp_path: Path) -> None:
    code = "```py\n" + "call(one, two)\n\n" * 10 + "```"
    (tmp_path / "a.md").write_text(f"{'Some words before. ' * 12}\n\n{code}\n\n{'Some words after. ' * 12}")
    assert sum(code in chunk.text for chunk in read_folder(tmp_path, max_words=40)) == 1


def test_the_only_top_heading_is_the_title(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("# Product\n\nIntro.\n\n## Part\n\nText.\n")
    assert [chunk.title for chunk in read_folder(tmp_path)] == ["Product", "Product > Part"]


def test_restructured_text_and_plain_text(tmp_path: Path) -> None:
    (tmp_path / "a.rst").write_text("Title\n=====\n\nIntro.\n\nPart\n----\n\nText.\n")
    (tmp_path / "b.txt").write_text("Title\n=====\n\n# just a line\n")
    found = {chunk.id: chunk.text for chunk in read_folder(tmp_path)}
    assert found == {"a.rst#title": "Intro.", "a.rst#part": "Text.", "b.txt": "Title\n=====\n\n# just a line"}


@pytest.mark.timeout(20)
def test_thousands_of_spaces_in_a_heading_or_a_title_are_read(tmp_path: Path) -> None:
    """Patterns that try every way to part the spaces would take hours."""
    spaces = " " * 20_000
    (tmp_path / "a.md").write_text(f"---\ntitle: 'The{spaces}guide'{spaces}\n---\n# On{spaces}x ##{spaces}\n\ntext\n")
    (chunk,) = read_folder(tmp_path)
    assert chunk.title.split() == ["The", "guide", ">", "On", "x"] and chunk.text == "text"


def test_hidden_and_other_files_are_left_out(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "a.md").write_text("no")
    (tmp_path / "code.py").write_text("no")
    (tmp_path / "yes.md").write_text("\ufeffyes\r\n")
    assert [(chunk.id, chunk.text) for chunk in read_folder(tmp_path)] == [("yes.md", "yes")]


def test_a_folder_without_documents_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no \.md"):
        read_folder(tmp_path)
    (tmp_path / "a.md").write_text("\n")
    with pytest.raises(DataError, match="are empty"):
        read_folder(tmp_path)
    (tmp_path / "b.md").write_bytes(b"one\ntwo \xff\n")
    with pytest.raises(DataError, match=r"b.md:2: not UTF-8"):
        read_folder(tmp_path)


def corpus(*documents: tuple[str, str]) -> Corpus:
    titles, bodies = [title for title, _ in documents], [body for _, body in documents]
    return Corpus([f"d{n}" for n in range(len(documents))], bodies, titles, bodies)


BODY = "Tea is a drink made of leaves. " + "It has been known in many countries for a very long time indeed. " * 4


def test_pseudo_queries_come_from_title_first_sentence_and_a_span() -> None:
    made = {query.kind: query for query in pseudo_queries(corpus(("Drinks > Hot > Green tea", BODY)))}
    assert made["title"].text == "Hot Green tea"
    assert made["sentence"].text == "Tea is a drink made of leaves."
    assert 6 <= len(made["span"].text.split()) <= 16
    assert made["span"].text in " ".join(BODY.split()[7:])
    assert {query.doc for query in made.values()} == {"d0"}
    assert made["title"].group == "pseudo:title"


def test_a_query_of_two_documents_is_left_out() -> None:
    made = pseudo_queries(corpus(("Green tea", "One thing."), ("green TEA", "Another."), ("Black tea", "A third.")))
    assert [query.text for query in made] == ["Black tea"]


def test_spans_are_drawn_by_seed() -> None:
    documents = corpus(("", BODY))
    spans = [[query.text for query in pseudo_queries(documents, seed) if query.kind == "span"] for seed in (1, 1, 2)]
    assert spans[0] == spans[1] != spans[2]
