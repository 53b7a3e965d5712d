"""Measures of generated answers: equal to their packages, and what is missing is named."""

from __future__ import annotations

from importlib.util import find_spec as really_find
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.errors import ModelError
from bench.evaluation import generated
from bench.evaluation.generated import bert_scores, bleu, meteor, rouge_l, score_texts
from bench.models.base import BaseModel

CASES = [
    ("the cats sat on the mat", ["a cat sat on the mat", "there was a cat on a mat"]),
    ("It was 30 days.", ["30 days"]),
    ("Denver Broncos", ["Carolina Panthers"]),
    ("The Denver Broncos!", ["the Denver Broncos", "Denver"]),
]


@pytest.mark.parametrize(("answer", "gold"), CASES)
def test_bleu_rouge_and_meteor_are_those_of_their_packages(answer: str, gold: list[str]) -> None:
    import sacrebleu
    from nltk.translate.meteor_score import meteor_score
    from rouge_score.rouge_scorer import RougeScorer

    assert bleu(answer, gold) == pytest.approx(sacrebleu.sentence_bleu(answer, gold).score / 100)
    expected = RougeScorer(["rougeL"]).score_multi(gold, answer)["rougeL"].fmeasure
    assert rouge_l(answer, gold) == pytest.approx(expected)

    class NoSynonyms:
        def synsets(self, word: str) -> list[Any]:
            return []

    def split(text: str) -> list[str]:
        return text.lower().rstrip("!.").split()

    known = generated._wordnet() or NoSynonyms()
    assert meteor(answer, gold) == pytest.approx(meteor_score(list(map(split, gold)), split(answer), wordnet=known))


def test_another_script_and_an_empty_answer_have_values() -> None:
    assert rouge_l("Столица Франции", ["столица франции"]) == 1 and meteor("Париж", ["Париж"]) > 0
    assert [measure("", ["Paris"]) for measure in (bleu, rouge_l, meteor)] == [0, 0, 0]
    assert meteor("Paris", ["?"]) == 0


def test_bertscore_is_that_of_its_package_on_a_local_folder(tiny_bert: BaseModel) -> None:
    from bert_score import BERTScorer

    pairs = [(answer, tuple(gold)) for answer, gold in CASES]
    scorer = BERTScorer(model_type=str(tiny_bert.path), num_layers=1, device="cpu")
    scorer._tokenizer.model_max_length = 64
    expected = scorer.score([answer for answer, _ in CASES], [gold for _, gold in CASES])[2].numpy()
    values, notes = score_texts([*pairs, (" ", ("x",)), pairs[0]], tiny_bert.path, layer=1)
    found = values["bert_score"]
    assert np.allclose(found[:-2], expected) and found[-2] == 0 and found[-1] == found[0]
    assert f"BERTScore compared layer 1 of tiny-bert (fingerprint {tiny_bert.fingerprint})." in notes
    with pytest.raises(ModelError, match="layer 99 is not one of its"):
        bert_scores(pairs, tiny_bert.path, layer=99)


def test_what_is_not_installed_is_named_and_the_rest_is_measured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(
        generated, "find_spec", lambda name: None if name in ("sacrebleu", "bert_score") else really_find(name)
    )
    monkeypatch.setattr(generated, "_wordnet", lambda: None)
    found, notes = score_texts([("a cat", ("a cat",)), ("a dog", ("a cat",)), ("a cat", ("a cat",))])
    assert set(found) == {"rouge_l", "meteor"} and list(found["rouge_l"]) == [1, 0.5, 1]
    assert notes[0] == "BLEU is left out: it needs the package sacrebleu: pip install 'adaptbench[answers]'."
    assert "METEOR matched exact words and stems; synonyms too once WordNet is there" in notes[1]
    assert "--bert-score FOLDER" in notes[2]
    with pytest.raises(ModelError, match=r"needs the package bert-score: pip install 'adaptbench\[answers\]'"):
        score_texts([("a", ("b",))], bert=tmp_path)
