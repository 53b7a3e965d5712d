"""Judges of support: a tiny random entailment classifier, and a language model that is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from bench.errors import BenchError, ModelError
from bench.models.length import UNLIMITED, token_limit
from bench.readers.base import Messages, Written
from bench.readers.entailment import EntailmentJudge
from bench.readers.judges import Claim, JudgePrompt, ReaderJudge, read_judge_prompt
from bench.readers.locate_judge import judge_of

CLAIM = Claim("when is the ferry late?", "in winter", "the ferry of the harbour is late in winter")


@pytest.fixture
def classifier(tiny_folder: Callable[[str], Path], tmp_path: Path) -> Callable[..., Path]:
    """Return a function that makes a random classifier whose last layer prefers one label."""
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

    def make(labels: Sequence[str], preferred: str | None = None) -> Path:
        folder = tmp_path / "-".join(labels)
        config = AutoConfig.from_pretrained(tiny_folder("bert"), id2label=dict(enumerate(labels)))
        torch.manual_seed(1)
        model = AutoModelForSequenceClassification.from_config(config)
        with torch.no_grad():
            model.classifier.weight.mul_(30)
            if preferred is not None:
                model.classifier.bias[list(labels).index(preferred)] += 1000
        model.save_pretrained(folder)
        AutoTokenizer.from_pretrained(tiny_folder("bert")).save_pretrained(folder)
        return folder

    return make


def test_a_classifier_gives_the_label_of_plain_transformers(classifier: Callable[..., Path]) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = classifier(["CONTRADICTION", "ENTAILMENT", "NEUTRAL"])
    judge = judge_of(str(folder))
    assert isinstance(judge, EntailmentJudge) and judge.prompt is None
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    claims = [CLAIM, Claim("is it?", "no", "tea is green"), Claim("which?", "a kiln", "dough")]
    for place, made in judge.verdicts(claims):
        asked = f"{claims[place].question} {claims[place].answer}"
        inputs = tokenizer(claims[place].context, asked, return_tensors="pt")
        with torch.inference_mode():
            label = model.config.id2label[int(model(**inputs).logits.argmax())].lower()
        assert (made.text, made.prompt_tokens, made.tokens) == (label, inputs["input_ids"].numel(), 0)
        assert judge.supports(made.text) is (label == "entailment")
    assert len({judge.key(claim) for claim in claims}) == 3


def test_passages_that_do_not_fit_are_read_in_windows(classifier: Callable[..., Path]) -> None:
    judge = judge_of(str(classifier(["entailment", "not_entailment"], preferred="entailment")))
    long = Claim(CLAIM.question, CLAIM.answer, " ".join([CLAIM.context] * 40))
    ((_, short), (_, made)) = judge.verdicts([CLAIM, long])
    assert made.prompt_tokens > 10 * short.prompt_tokens > 0 and judge.supports(made.text) is True
    with pytest.raises(ModelError, match="leave 0 of them for passages"):
        list(judge.verdicts([Claim("why " * 500, "no", "tea")]))


@pytest.mark.parametrize("labels", [["LABEL_0", "LABEL_1"], ["entailment", "entailed"]])
def test_a_classifier_without_one_label_for_entailment_is_refused(
    labels: list[str], classifier: Callable[..., Path]
) -> None:
    with pytest.raises(ModelError, match="needs one label whose name begins with 'entail'"):
        judge_of(str(classifier(labels)))


class Asked:
    """A language model that replies with the same words."""

    name, fingerprint, scores = "asked", "f", False

    def __init__(self, reply: str = "") -> None:
        self.reply, self.prompts = reply, list[Messages]()

    def write(self, prompts: Sequence[Messages], max_tokens: int) -> Iterator[tuple[int, Written]]:
        self.prompts += prompts
        yield from ((place, Written(self.reply, 9, 1, 0.1)) for place in range(len(prompts)))

    def cut(self, text: str, tokens: int) -> tuple[str, int]:
        raise NotImplementedError

    def score(self, prompts: Sequence[Messages], answers: Sequence[str]) -> Iterator[object]:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [("Yes.", True), ("no, they do not", False), ("**Supported**", True), ("Maybe", None), ("", None)],
)
def test_the_first_word_of_a_reply_is_the_verdict(reply: str, verdict: bool | None) -> None:
    reader = Asked(reply)
    judge = ReaderJudge(reader, JudgePrompt())  # type: ignore[arg-type]
    ((_, made),) = judge.verdicts([CLAIM])
    assert judge.supports(made.text) is verdict
    assert all(part in reader.prompts[0][-1][1] for part in (CLAIM.question, CLAIM.answer, CLAIM.context))


def test_another_prompt_is_another_verdict(tmp_path: Path) -> None:
    path = tmp_path / "judge.toml"
    path.write_text('system = ""\nuser = "{context} | {question} | {answer} ?"\nyes = ["ja"]\nno = ["nein"]')
    reader = Asked("ja")
    judge = ReaderJudge(reader, read_judge_prompt(path))  # type: ignore[arg-type]
    assert judge.supports("Ja!") is True and judge.supports("yes") is None
    assert judge.prompt.messages(CLAIM) == (("user", f"{CLAIM.context} | {CLAIM.question} | {CLAIM.answer} ?"),)
    assert judge.key(CLAIM) != ReaderJudge(reader, JudgePrompt()).key(CLAIM)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('user = "{context} {question}"', "user needs {answer}, {context} and {question}"),
        ('yes = ["no"]', "'no' stands in yes and in no"),
        ("max_tokens = 0", "max_tokens"),
        ('prompt = "x"', "unknown key 'prompt'"),
    ],
)
def test_a_judge_prompt_that_makes_no_sense_is_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "judge.toml").write_text(text)
    with pytest.raises(BenchError) as error:
        read_judge_prompt(tmp_path / "judge.toml")
    assert "judge.toml" in str(error.value) and message in str(error.value)


def test_the_limit_of_an_encoder_is_stated_or_that_of_its_positions() -> None:
    class Stated:
        model_max_length = 128

    class Silent:
        model_max_length = 10**30

    class Config:
        max_position_embeddings = 514

    assert (token_limit(Stated(), Config()), token_limit(Silent(), Config())) == (128, 512)
    assert (token_limit(Stated(), None), token_limit(Silent(), None)) == (128, UNLIMITED)
