"""Prompts from a file, with examples or without."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.readers.prompts import Prompt, read_prompt

FEW_SHOT = """
system = "Be brief."
with_context = "Context: {context}\\n\\nQ: {question}"
without_context = "Q: {question}"
[[examples]]
context = "Tea is green."
question = "Which colour has tea?"
answer = "green"
"""


def test_a_few_shot_prompt_shows_its_examples_as_a_chat(tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text(FEW_SHOT)
    prompt = read_prompt(tmp_path / "p.toml")
    assert prompt.messages("Which colour has milk?", "Milk is {white}.") == (
        ("system", "Be brief."),
        ("user", "Context: Tea is green.\n\nQ: Which colour has tea?"),
        ("assistant", "green"),
        ("user", "Context: Milk is {white}.\n\nQ: Which colour has milk?"),
    )
    assert prompt.messages("Why?", "")[1] == ("user", "Q: Which colour has tea?")


def test_texts_are_filled_in_once() -> None:
    assert Prompt(system="").messages("{context}?", "the {question}") == (
        ("user", "the {question}\n\nQuestion: {context}?\nAnswer:"),
    )


@pytest.mark.parametrize(("content", "message"), [
    ("system = 3", "system = 3"),
    ('sytem = "x"', "unknown key 'sytem', did you mean 'system'"),
    ('with_context = "{context}"', "with_context needs {context} and {question}"),
    ('without_context = "{question} {context}"', "without_context needs {question}"),
    ("[[examples]]\nquestion = 'x'", "missing key 'examples.0.answer'"),
    ("system =", "not TOML"),
])  # fmt: skip
def test_a_malformed_prompt_is_refused(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text(content)
    with pytest.raises(BenchError) as error:
        read_prompt(tmp_path / "p.toml")
    assert "p.toml" in str(error.value) and message in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"p\.toml: no such file"):
        read_prompt(tmp_path / "p.toml")
