"""Measures of generated answers by the packages that define them: BLEU, ROUGE-L, METEOR, BERTScore.

Each is between 0 and 1, and the best gold answer counts. The packages are those of `adaptbench[answers]`; without one,
its measure is left out and a sentence says what to install.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from bench.data.text import words
from bench.errors import ModelError
from bench.models.base import BaseModel
from bench.models.length import token_limit

Pair = tuple[str, tuple[str, ...]]
"""An answer, and the gold answers of its question: one or more."""
_INSTALL = "pip install 'adaptbench[answers]'"
_PERCENT = 100


class _WordTokenizer:
    """Tokens of rouge_score: its own for English, and words of other scripts, which its own would delete."""

    def tokenize(self, text: str) -> list[str]:
        return words(text)


class _NoSynonyms:
    """WordNet where it is not installed: no word has a synonym."""

    def synsets(self, word: str) -> list[Any]:
        return []


def bleu(answer: str, gold: Sequence[str]) -> float:
    """Return sacrebleu's sentence BLEU, with its tokeniser (13a), smoothing (exp) and effective order.

    Source: Post, 2018, A call for clarity in reporting BLEU scores.
    """
    return float(_bleu().sentence_score(answer, list(gold)).score) / _PERCENT


def rouge_l(answer: str, gold: Sequence[str]) -> float:
    """Return rouge_score's F-measure of the longest common subsequence, without stemming (Lin, 2004, section 3)."""
    return float(_rouge().score_multi(list(gold), answer)["rougeL"].fmeasure)


def meteor(answer: str, gold: Sequence[str]) -> float:
    """Return NLTK's METEOR over words: exact words, Porter stems, and synonyms where WordNet is installed.

    Source: Banerjee and Lavie, 2005; the parameters are NLTK's defaults (alpha 0.9, beta 3, gamma 0.5).
    """
    from nltk.translate.meteor_score import meteor_score

    own = words(answer)
    known = [found for text in gold if (found := words(text))]
    return float(meteor_score(known, own, wordnet=_wordnet() or _NoSynonyms())) if own and known else 0.0


def bert_scores(pairs: Sequence[Pair], folder: Path, layer: int | None = None, device: str = "cpu") -> np.ndarray:
    """Return the F1 of BERTScore, without rescaling and without idf weights, shape (pairs,). An empty answer gets 0.

    Args:
        pairs: the answers with their gold answers.
        folder: an encoder that transformers reads.
        layer: the layer whose vectors are compared; None is the one that `bert_score` lists for a model of this name,
            and the last one for other models.
        device: where the encoder computes.

    Raises:
        ModelError: the folder holds no such encoder.

    Source: Zhang et al., 2020, BERTScore.
    """
    from bert_score import BERTScorer
    from bert_score.utils import model2layers
    from transformers import AutoConfig

    scores = np.zeros(len(pairs))
    asked = [place for place, (answer, _) in enumerate(pairs) if answer.strip()]
    if not asked:
        return scores
    try:
        config = AutoConfig.from_pretrained(folder)
        layers = config.num_hidden_layers
        scorer = BERTScorer(
            model_type=str(folder), num_layers=_layer(folder, layer, layers, model2layers), device=device
        )
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise ModelError(f"{folder}: not an encoder that BERTScore can use: {error}") from error
    tokenizer = scorer._tokenizer
    tokenizer.model_max_length = token_limit(tokenizer, config)  # a missing one would overflow the tokeniser
    _, _, found = scorer.score([pairs[at][0] for at in asked], [list(pairs[at][1]) for at in asked])
    scores[asked] = found.numpy()
    return scores


def _layer(folder: Path, layer: int | None, layers: int, listed: dict[str, int]) -> int:
    if layer is None:
        return min(listed.get(folder.name, layers), layers)
    if not 1 <= layer <= layers:
        raise ValueError(f"layer {layer} is not one of its {layers}")
    return layer


_MEASURES: dict[str, tuple[str, str, Callable[[str, Sequence[str]], float]]] = {
    "bleu": ("BLEU", "sacrebleu", bleu),
    "rouge_l": ("ROUGE-L", "rouge_score", rouge_l),
    "meteor": ("METEOR", "nltk", meteor),
}
"""Measure -> its name, the module that it needs, and the function."""


def score_texts(
    pairs: Sequence[Pair], bert: Path | None = None, layer: int | None = None, device: str = "cpu"
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Return measure -> values, shape (pairs,), and sentences on what was left out and how METEOR matched.

    Args:
        pairs: the answers with their gold answers. Equal pairs are measured once.
        bert: the encoder of BERTScore; without one it is left out.
        layer: as in `bert_scores`.
        device: where the encoder computes.

    Raises:
        ModelError: `bert` holds no encoder, or BERTScore was asked for and its package is not installed.
    """
    distinct = list(dict.fromkeys(pairs))
    place = {pair: number for number, pair in enumerate(distinct)}
    order = [place[pair] for pair in pairs]
    found: dict[str, np.ndarray] = {}
    notes = []
    for key, (name, module, measure) in _MEASURES.items():
        if find_spec(module) is None:
            notes.append(f"{name} is left out: it needs the package {module}: {_INSTALL}.")
            continue
        found[key] = np.array([measure(*pair) for pair in distinct], dtype=float)[order]
    if "meteor" in found:
        matched = "exact words, stems and WordNet's synonyms" if _wordnet() else "exact words and stems"
        missing = "" if _wordnet() else "; synonyms too once WordNet is there: python -m nltk.downloader wordnet"
        notes.append(f"METEOR matched {matched}{missing}.")
    if bert is None:
        notes.append("BERTScore is left out: it needs an encoder in a folder: --bert-score FOLDER.")
    elif find_spec("bert_score") is None:
        raise ModelError(f"--bert-score needs the package bert-score: {_INSTALL}")
    else:
        found["bert_score"] = bert_scores(distinct, bert, layer, device)[order]
        encoder = BaseModel(bert.resolve().name, bert)
        which = f"layer {layer}" if layer is not None else "the default layer"
        notes.append(f"BERTScore compared {which} of {encoder.name} (fingerprint {encoder.fingerprint}).")
    return found, notes


@cache
def _bleu() -> Any:
    from sacrebleu.metrics.bleu import BLEU

    return BLEU(effective_order=True)


@cache
def _rouge() -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rougeL"], tokenizer=_WordTokenizer())


@cache
def _wordnet() -> Any:
    """Return WordNet's reader, or None where its data are not installed."""
    from nltk.corpus import wordnet

    try:
        wordnet.ensure_loaded()
    except LookupError:
        return None
    return wordnet
