"""A reader in a model folder: what it writes and scores does not depend on its batch, and equals plain transformers."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from bench.errors import BenchError, ModelError
from bench.readers import local
from bench.readers.base import Messages
from bench.readers.local import LocalReader
from bench.readers.locate import reader_of
from bench.readers.smollm2 import FOLDER, smollm2_folder

TEXTS = ("a crane", "the ferry of the harbour is late", "dough " * 30, "what happens to the comet?")
PROMPTS: list[Messages] = [(("system", "Be brief."), ("user", text)) for text in TEXTS]
ANSWERS = ["ferry", "the kiln was repaired twice last winter", "an apple", "orbit"]


@pytest.fixture
def reader(tiny_reader_folder: Path) -> LocalReader:
    return LocalReader(tiny_reader_folder, precision="fp32")


def test_likelihoods_are_those_of_plain_transformers_whatever_the_batch(
    reader: LocalReader, tiny_reader_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    together = dict(reader.score(PROMPTS, ANSWERS))
    monkeypatch.setattr(local, "BATCH_TOKENS", 1)
    alone = dict(reader.score(PROMPTS, ANSWERS))
    model, tokenizer = (each.from_pretrained(tiny_reader_folder) for each in (AutoModelForCausalLM, AutoTokenizer))
    for place, (prompt, answer) in enumerate(zip(PROMPTS, ANSWERS, strict=True)):
        head = tokenizer("\n\n".join(text for _, text in prompt))["input_ids"]
        tail = tokenizer(answer)["input_ids"]
        with torch.inference_mode():
            logits = model(torch.tensor([head + tail])).logits[0, len(head) - 1 : -1]
        expected = torch.log_softmax(logits, dim=1)[range(len(tail)), tail].mean().item()
        assert together[place].log_likelihood == pytest.approx(expected, abs=1e-4)
        assert alone[place].log_likelihood == pytest.approx(expected, abs=1e-4)
        assert (together[place].prompt_tokens, together[place].tokens) == (len(head), len(tail))


def test_answers_are_those_of_plain_transformers_whatever_the_batch(
    reader: LocalReader, tiny_reader_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    together = dict(reader.write(PROMPTS, 6))
    monkeypatch.setattr(local, "BATCH_TOKENS", 1)
    alone = dict(reader.write(PROMPTS, 6))
    model, tokenizer = (each.from_pretrained(tiny_reader_folder) for each in (AutoModelForCausalLM, AutoTokenizer))
    for place, prompt in enumerate(PROMPTS):
        ids = torch.tensor([tokenizer("\n\n".join(text for _, text in prompt))["input_ids"]])
        made = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=6)
        expected = (
            tokenizer.decode(made[0, ids.shape[1] :], skip_special_tokens=True).strip().partition("\n")[0].strip()
        )
        assert together[place].text == alone[place].text == expected
        assert 0 < together[place].tokens <= 6
    assert any(each.text for each in together.values())


def test_a_text_is_cut_after_a_token(reader: LocalReader) -> None:
    text, tokens = reader.cut(TEXTS[2], 7)
    assert TEXTS[2].startswith(text) and tokens == 7 and reader.cut(text, 100) == (text, 7)
    assert reader.cut("any", 0) == ("", 0)


def test_a_batch_holds_texts_of_like_length_and_a_bounded_number_of_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "BATCH_TOKENS", 12)
    assert list(local._batches([9, 2, 3, 4, 20])) == [[1, 2, 3], [0], [4]]


def test_content_and_precision_identify_a_reader(tiny_reader_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_reader_folder, tmp_path / "copy")
    shutil.copytree(tiny_reader_folder, tmp_path / "other")
    weights = next((tmp_path / "other").glob("*.safetensors"))
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(bytes(content))
    names = [(tiny_reader_folder, "fp32"), (tmp_path / "copy", "fp32"), (tmp_path / "other", "fp32")]
    first, same, other = (LocalReader(folder, precision=precision).fingerprint for folder, precision in names)
    assert first == same != other
    assert LocalReader(tiny_reader_folder, precision="bf16").fingerprint != first


def test_a_prompt_that_is_too_long_is_refused(reader: LocalReader) -> None:
    with pytest.raises(ModelError, match=r"longer than the 256 that the model takes. Lower --context-tokens"):
        list(reader.write([(("user", "dough " * 400),)], 4))


@pytest.mark.parametrize(("name", "message"), [
    ("smolm2", "did you mean 'smollm2'"),
    ("./nothere", "unknown reader './nothere'"),
    ("openai:http://127.0.0.1:1/v1", "write the model's name after"),
    ("openai:http://127.0.0.1:1/v1?tokens=5#m", "unknown endpoint option 'tokens'"),
])  # fmt: skip
def test_an_unknown_reader_is_refused(name: str, message: str) -> None:
    with pytest.raises(BenchError, match=message):
        reader_of(name)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="not a model folder"):
        reader_of(str(tmp_path))


def test_the_packaged_reader_says_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"adaptbench\[answers\]"):
        smollm2_folder()
    assert not any(path.is_dir() for path in (tmp_path / "readers").iterdir())


def test_a_converted_copy_needs_no_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModelError):
        smollm2_folder()
    (tmp_path / "readers" / FOLDER).mkdir()
    (tmp_path / "readers" / FOLDER / "config.json").write_text("{}")
    assert smollm2_folder() == tmp_path / "readers" / FOLDER
