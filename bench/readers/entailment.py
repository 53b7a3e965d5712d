"""An entailment classifier as a judge: the passages are the premise, question and answer the hypothesis."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.errors import ModelError
from bench.models.base import BaseModel
from bench.models.length import token_limit
from bench.readers.base import Written
from bench.readers.judges import Claim, JudgePrompt

ENTAILMENT = "entail"
"""What the name of the label for entailment begins with, in lower case."""
_BATCH = 16
"""Windows that are classified together."""
_OVERLAP = 4
"""One part in so many of a window's passages stands in the next one too."""
_LEAST_ROOM = 16
"""Tokens that a window must have left for passages."""
_LONGEST = 4096
"""Tokens of a window at most: some configurations name no limit."""


class EntailmentJudge:
    """A sequence classifier that was trained on natural language inference.

    Passages that do not fit are read in overlapping windows; one window that entails the answer is enough (as in
    SummaC; Laban et al., 2022).

    Args:
        folder: a model folder with safetensors and a tokeniser. One of its labels is named `entailment`.
        device: where it computes.

    Raises:
        ModelError: the folder holds no classifier with such a label.
    """

    prompt: JudgePrompt | None = None

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        self.folder, self.device, self.name = folder, device, folder.resolve().name
        labels = _config(folder).get("id2label") or {}
        self.labels = {int(number): str(label).lower() for number, label in labels.items()}
        known = [number for number, label in self.labels.items() if label.startswith(ENTAILMENT)]
        if len(known) != 1:
            raise ModelError(
                f"{folder}: a judge needs one label whose name begins with {ENTAILMENT!r}, and its labels are "
                f"{', '.join(self.labels.values()) or 'not named'}"
            )
        self.entailment = known[0]
        self.fingerprint = BaseModel(self.name, folder).fingerprint
        self._loaded: tuple[Any, Any, int] | None = None

    def key(self, claim: Claim) -> str:
        """Return a hash of the classifier and what it reads."""
        identity = json.dumps([self.fingerprint, "entailment", claim.context, hypothesis(claim)])
        return hashlib.sha256(identity.encode()).hexdigest()[:32]

    def verdicts(self, claims: Sequence[Claim]) -> Iterator[tuple[int, Written]]:
        """Yield (position, label) of each claim: that of the window in which entailment is most probable."""
        for place, claim in enumerate(claims):
            began = time.perf_counter()
            label, tokens = self._label(claim)
            yield place, Written(label, tokens, 0, time.perf_counter() - began)

    def supports(self, reply: str) -> bool | None:
        """Return whether a label is the one for entailment."""
        return reply == self.labels[self.entailment]

    def _label(self, claim: Claim) -> tuple[str, int]:
        """Return the label of the window in which entailment is most probable, and the tokens of all windows."""
        import torch

        model, tokenizer, limit = self._load()
        asked = hypothesis(claim)
        room = limit - len(tokenizer("", asked)["input_ids"])
        if room < _LEAST_ROOM:
            raise ModelError(
                f"{self.name} reads {limit} tokens at once, and question and answer leave {max(room, 0)} of them for "
                f"passages: {asked[:200]!r}"
            )
        windows = tokenizer(
            claim.context, asked, truncation="only_first", max_length=limit, stride=room // _OVERLAP,
            return_overflowing_tokens=True, padding=True, return_tensors="pt",
        )  # fmt: skip
        windows.pop("overflow_to_sample_mapping")
        found = []
        for at in range(0, len(windows["input_ids"]), _BATCH):
            batch = {name: values[at : at + _BATCH].to(self.device) for name, values in windows.items()}
            with torch.inference_mode():
                found.append(model(**batch).logits.float().softmax(dim=1))
        probabilities = torch.cat(found)
        best = probabilities[probabilities[:, self.entailment].argmax()]
        return self.labels[int(best.argmax())], int(windows["attention_mask"].sum())

    def _load(self) -> tuple[Any, Any, int]:
        """Return the classifier, its tokeniser and the number of tokens that it reads at once. They are read once."""
        if self._loaded is None:
            from transformers import AutoModelForSequenceClassification, AutoTokenizer
            from transformers.utils import logging

            logging.disable_progress_bar()
            try:
                tokenizer = AutoTokenizer.from_pretrained(self.folder)
                model = AutoModelForSequenceClassification.from_pretrained(self.folder, use_safetensors=True)
            except (OSError, ValueError, KeyError) as error:
                raise ModelError(f"{self.folder}: not a sequence classifier: {error}") from error
            self._loaded = model.to(self.device).eval(), tokenizer, min(token_limit(tokenizer, model.config), _LONGEST)
        return self._loaded


def hypothesis(claim: Claim) -> str:
    """Return what the passages should entail: the question followed by the answer."""
    return f"{claim.question} {claim.answer}"


def is_classifier(folder: Path) -> bool:
    """Return whether the configuration of a model folder names a sequence classifier."""
    architectures = _config(folder).get("architectures") or []
    return any(str(name).endswith("ForSequenceClassification") for name in architectures)


def _config(folder: Path) -> dict[str, Any]:
    """Return the configuration of a model folder; nothing where there is none that can be read."""
    try:
        values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}
