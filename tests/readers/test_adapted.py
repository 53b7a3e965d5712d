"""Readers that are adapted: what the loss counts, which checkpoint is kept, what is cached, what was forgotten."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.errors import BenchError, BudgetError, ModelError
from bench.readers import adapted, tuning
from bench.readers.adaptation import Adaptation, DpoOptions, SftOptions, is_adaptation, parse_adaptation
from bench.readers.adapted import adapted_reader
from bench.readers.lessons import Lesson, Lessons, Preference
from bench.readers.local import LocalReader
from bench.readers.tuning import Tuned, tune
from bench.readers.tuning_process import tune_apart

WORDS = ("tea", "cup", "sun", "oak", "elm", "fir", "box", "jar")
TRAIN = tuple(Lesson((("user", f"what is {word}?"),), f"{word} of {word}") for word in WORDS)
DEV = TRAIN[:3]
TEXTS = ["the ferry of the harbour is late", "a crane was repaired twice last winter"] * 3
SFT = SftOptions(steps=6, lr=1e-2, batch=8)


@pytest.fixture(scope="module")
def reader(tiny_reader_folder: Path) -> LocalReader:
    return LocalReader(tiny_reader_folder, precision="fp32")


def likelihoods(reader: LocalReader, lessons: tuple[Lesson, ...]) -> np.ndarray:
    scored = dict(reader.score([each.messages for each in lessons], [each.answer for each in lessons]))
    return np.array([scored[place].log_likelihood for place in range(len(lessons))])


@pytest.mark.parametrize(("text", "form", "lr"), [
    ("sft(lora)", "sft(smollm2)", 2e-4),
    ("sft(full)", "sft(smollm2, method=full)", 2e-5),
    ("sft(smollm2, method=full, steps=60, lr=1e-5)", "sft(smollm2, lr=1e-05, method=full)", 1e-5),
    ("dpo(sft(models/a, steps=9), steps=50)", "dpo(sft(models/a, steps=9), steps=50)", 2e-5),
])  # fmt: skip
def test_an_adaptation_has_one_form(text: str, form: str, lr: float) -> None:
    assert is_adaptation(text) and not is_adaptation("sft") and not is_adaptation("models/sft(1)")
    found = parse_adaptation(text)
    assert str(found) == form and parse_adaptation(form) == found and found.options.lr == pytest.approx(lr)


@pytest.mark.parametrize(("text", "message"), [
    ("sft(smollm2, other)", r"sft adapts one reader: write sft\(smollm2\)"),
    ("sft(lora, method=full)", "method is set twice"),
    ("sft(method=ia3)", "sft trains by method lora or full, not 'ia3'"),
    ("dpo(full)", "dpo trains by method lora, not 'full'"),
    ("sft(step=4)", "unknown option 'step', did you mean 'steps'"),
    ("sft(steps=0)", "steps must be above 0"),
    ("sft(sgd(smollm2))", "adapted by sft or dpo"),
])  # fmt: skip
def test_an_adaptation_that_makes_no_sense_is_refused(text: str, message: str) -> None:
    with pytest.raises(BenchError, match=message):
        parse_adaptation(text)


@pytest.mark.parametrize("method", ["lora", "full"])
def test_sft_learns_the_tokens_of_answers_alone(method: str, reader: LocalReader, tmp_path: Path) -> None:
    tuned = tune(reader, replace(SFT, method=method), TRAIN, DEV, tmp_path)
    whole = [reader.answer_tokens(each.answer) for each in TRAIN]
    with_end = np.array([len(tokens) for tokens in whole])
    ends = dict(reader.score([each.messages for each in TRAIN], [each.answer + "<end>" for each in TRAIN]))
    known = sum(ends[place].log_likelihood * n for place, n in enumerate(with_end)) / with_end.sum()
    assert tuned.losses[0] == pytest.approx(-known, abs=1e-4)  # the prompt is not in it, the end of the answer is
    assert tuned.dev[0] == pytest.approx(likelihoods(reader, DEV).mean(), abs=1e-4)
    after = LocalReader(tmp_path, precision="fp32")
    assert likelihoods(after, DEV).mean() == pytest.approx(tuned.dev[tuned.best_step], abs=1e-4)
    assert tuned.dev[tuned.best_step] == max(value for step, value in tuned.dev.items() if step) > tuned.dev[0]
    assert after.encode(TRAIN[0].messages) == reader.encode(TRAIN[0].messages)
    everything = sum(each.numel() for each in reader.trainable()[0].parameters())
    assert (tuned.trainable_params == everything) == (method == "full") and tuned.steps == 6


def test_the_checkpoint_that_development_questions_prefer_is_kept(reader: LocalReader, tmp_path: Path) -> None:
    """The lessons teach the wrong answer, so every step makes the development answers less likely."""
    wrong = tuple(replace(each, answer="xyz qqq") for each in TRAIN)
    tuned = tune(reader, replace(SFT, lr=3e-2), wrong, DEV, tmp_path)
    assert tuned.best_step < tuned.steps and tuned.dev[tuned.steps] < tuned.dev[tuned.best_step]
    assert likelihoods(LocalReader(tmp_path, precision="fp32"), DEV).mean() == pytest.approx(
        tuned.dev[tuned.best_step], abs=1e-4
    )


def test_in_bf16_a_reader_learns_and_is_kept_in_fp32(tiny_reader_folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    tuned = tune(LocalReader(tiny_reader_folder, precision="bf16"), SFT, TRAIN, DEV, tmp_path)
    after = likelihoods(LocalReader(tmp_path, precision="bf16"), DEV).mean()
    assert after == pytest.approx(tuned.dev[tuned.best_step], abs=0.1) and after > tuned.dev[0] + 0.5
    (weights,) = tmp_path.glob("*.safetensors")
    assert {str(each.dtype) for each in load_file(weights).values()} == {"torch.float32"}


def test_a_budget_in_seconds_becomes_steps(
    reader: LocalReader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, timed = (tune(reader, replace(SFT, steps=2, seconds=s), TRAIN, (), tmp_path) for s in (0.0, 3600.0))
    assert timed.losses == plain.losses and timed.stopped_by == "steps"  # measuring a step changes nothing
    monkeypatch.setattr(tuning, "_step_seconds", lambda trainer: 0.05)
    tuned = tune(reader, replace(SFT, steps=10**6, seconds=0.35), TRAIN, (), tmp_path, spent=0.05)
    assert tuned.stopped_by == "seconds" and 0 < tuned.steps == tuned.best_step <= 6
    assert tuned.over_budget == (tuned.seconds > 1.25 * (0.35 - 0.05))
    with pytest.raises(BudgetError, match="do not pay for one step"):
        tune(reader, replace(SFT, seconds=0.3), TRAIN, (), tmp_path / "other", spent=0.3)


def test_a_training_in_a_process_of_its_own_is_the_same(reader: LocalReader, tmp_path: Path) -> None:
    options = replace(SFT, steps=2)
    here, apart = tune(reader, options, TRAIN, (), tmp_path), tune_apart(reader, options, TRAIN, tmp_path / "apart")
    assert apart.losses == pytest.approx(here.losses, abs=1e-4) and apart.best_step == 2
    assert LocalReader(tmp_path / "apart").encode(TRAIN[0].messages) == reader.encode(TRAIN[0].messages)


def test_dpo_prefers_the_gold_answer_over_the_readers_own(reader: LocalReader, tmp_path: Path) -> None:
    pairs = [Preference(each.messages, each.answer, "no") for each in TRAIN]
    tuned = tune(reader, DpoOptions(steps=5, lr=1e-2), pairs, DEV, tmp_path)
    assert tuned.losses[0] == pytest.approx(np.log(2), abs=1e-4)  # the reference is the reader itself
    after = LocalReader(tmp_path, precision="fp32")
    worse = tuple(replace(each, answer="no") for each in TRAIN)
    margin, before = ((likelihoods(each, TRAIN) - likelihoods(each, worse)).mean() for each in (after, reader))
    assert margin > before


def test_an_adapted_reader_is_made_once_and_whole(
    reader: LocalReader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adaptation, lessons = Adaptation("sft", "somewhere/else", SFT), Lessons(TRAIN, DEV)

    def made() -> tuple[LocalReader, adapted.AdaptationRecord]:
        return adapted_reader(adaptation, reader, lessons, TEXTS, tmp_path)

    def killed(*args: object) -> Tuned:
        Path(str(args[4])).mkdir()
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(adapted, "tune", killed)
        with pytest.raises(KeyboardInterrupt):
            made()
    assert not [path for path in (tmp_path / "adapted").iterdir() if path.is_dir()]
    first, record = made()
    assert first.name == record.expression == "sft(tiny-llama, lr=0.01, steps=6)"
    assert (record.train_queries, record.dev_queries, record.base) == (8, 3, "tiny-llama")
    forgotten = record.perplexity
    assert forgotten is not None and forgotten.texts == 6
    ratio = forgotten.after / forgotten.before
    assert forgotten.ratio_low <= ratio <= forgotten.ratio_high and ratio != 1
    with monkeypatch.context() as patched:
        patched.setattr(adapted, "tune", killed)
        again, same = made()
        assert same == record and again.fingerprint == first.fingerprint
        with pytest.raises(KeyboardInterrupt):  # other lessons are another reader
            adapted_reader(adaptation, reader, Lessons(TRAIN[1:], DEV), TEXTS, tmp_path)
        weights = next(first.folder.glob("*.safetensors"))
        weights.write_bytes(weights.read_bytes()[:-1] + b"\1")
        with pytest.raises(KeyboardInterrupt):  # a damaged one is made again
            made()


def test_preferences_are_wrong_answers_of_the_readers_own(reader: LocalReader, tmp_path: Path) -> None:
    own = dict(reader.write([each.messages for each in TRAIN], adapted._ANSWER_TOKENS))
    answered = [place for place, made in own.items() if made.text]
    right = replace(TRAIN[answered[0]], golds=(own[answered[0]].text,), answer=own[answered[0]].text)
    lessons = (right, *(TRAIN[place] for place in answered[1:]))
    pairs, paid = adapted._preferences(reader, lessons, tmp_path, lambda event, values: None)
    assert [(each.better, each.worse) for each in pairs] == [
        (TRAIN[place].answer, own[place].text) for place in answered[1:]
    ]
    assert paid["tokens"] == sum(own[place].tokens for place in answered)
    with pytest.raises(ModelError, match="gives no wrong answer"):
        adapted_reader(Adaptation("dpo", "x", DpoOptions()), reader, Lessons((right,)), (), tmp_path)


def test_perplexity_is_that_of_plain_transformers(reader: LocalReader, tiny_reader_folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, tokenizer = (each.from_pretrained(tiny_reader_folder) for each in (AutoModelForCausalLM, AutoTokenizer))
    for (found, n), text in zip(reader.text_log_likelihoods(TEXTS[:2], 9), TEXTS[:2], strict=True):
        ids = torch.tensor([tokenizer(text)["input_ids"][:9]])
        with torch.inference_mode():
            loss = model(ids, labels=ids).loss.item()
        assert n == ids.shape[1] - 1 and found == pytest.approx(-loss * n, rel=1e-4)
