"""`Ranker`: a cross-encoder, which reads query and document together and scores them (Nogueira and Cho, 2019).

Imports torch, so strategies import this module inside their methods.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from sentence_transformers import CrossEncoder
from torch.nn import functional
from transformers.utils import logging as transformers_logging

from bench.errors import ModelError
from bench.models.base import BaseModel
from bench.models.length import UNLIMITED, beginnings
from bench.models.precision import resolve, weights_in

Pair = tuple[str, str]
"""Query and document."""


class Ranker:
    """A cross-encoder with one output.

    Args:
        source: the model: a ranker, or an encoder, which then gets a new random head.
        max_length: number of tokens that query and document are cut to together.
        device: where the model computes.
        precision: `auto`, `bf16` or `fp32`.

    Raises:
        ModelError: the model cannot be loaded, or gives more than one score.
    """

    def __init__(self, source: BaseModel, max_length: int, device: str = "cpu", precision: str = "auto") -> None:
        self.device, self.precision = device, resolve(precision, device)
        self.pretrained = is_ranker(source.path)
        with _quiet():
            try:
                self.model = CrossEncoder(
                    str(source.path),
                    device=device,
                    num_labels=None if self.pretrained else 1,
                    trust_remote_code=source.trust_remote_code,
                    local_files_only=True,
                    model_kwargs={"use_safetensors": True, "dtype": torch.float32},
                )
            except (OSError, ValueError) as error:
                raise ModelError(f"ranker {source.name!r} at {source.path} cannot be loaded: {error}") from error
        if self.model.num_labels != 1:
            raise ModelError(f"ranker {source.name!r} gives {self.model.num_labels} scores for a pair, not one")
        self.model.max_seq_length = min(max_length, self.model.max_seq_length or max_length)
        outputs = [name for name, each in self.model.named_modules() if _is_output(each)]
        self._outputs = [self.model.get_submodule(name) for name in outputs[-1:]]
        self.model.eval()

    @property
    def trainable_params(self) -> int:
        """Number of parameters. All of them are trained."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    @property
    def transformer(self) -> torch.nn.Module:
        """The transformer without its scoring head."""
        inner: torch.nn.Module = self.model[0].model.base_model
        return inner

    def logits(self, pairs: Sequence[Pair]) -> np.ndarray:
        """Return the scores (n,) float32 of pairs, before any sigmoid."""
        if not pairs:
            return np.zeros(0, dtype=np.float32)
        with self.ready():
            scores = self.model.predict(
                self._beginnings(pairs), show_progress_bar=False, activation_fn=torch.nn.Identity()
            )
        return np.asarray(scores, dtype=np.float32)

    @contextmanager
    def ready(self) -> Iterator[None]:
        """Convert the weights to the ranker's precision for the length of a block. Enter it once around many calls."""
        with weights_in(self.model, self.precision, keep=self._outputs):
            yield

    def loss(self, pairs: Sequence[Pair], labels: Sequence[float], dropout: bool = False) -> torch.Tensor:
        """Return the mean binary cross-entropy of a batch, with gradients."""
        self.model.train(dropout)
        features = self.model.preprocess(self._beginnings(pairs))
        features = {
            key: value.to(self.device) if isinstance(value, torch.Tensor) else value for key, value in features.items()
        }
        with torch.autocast(self.device.split(":")[0], dtype=torch.bfloat16, enabled=self.precision == "bf16"):
            scores = self.model(features)["scores"].squeeze(-1).float()
        return functional.binary_cross_entropy_with_logits(scores, torch.tensor(labels, device=scores.device))

    def lengths(self, pairs: Sequence[Pair]) -> list[int]:
        """Return the number of tokens of each pair, after cutting."""
        queries, documents = zip(*self._beginnings(pairs), strict=True)
        ids = self.model.tokenizer(
            list(queries), list(documents), truncation=True, max_length=self.model.max_seq_length
        )["input_ids"]
        return [len(each) for each in ids]

    def _beginnings(self, pairs: Sequence[Pair]) -> list[Pair]:
        """Return the pairs without what lies far beyond the maximum length. Of each text as many tokens remain."""
        queries, documents = zip(*pairs, strict=True)
        limit = self.model.max_seq_length or UNLIMITED
        return list(zip(beginnings(self.model, queries, limit), beginnings(self.model, documents, limit), strict=True))

    def save(self, folder: Path) -> None:
        """Write a folder that sentence-transformers' `CrossEncoder` loads."""
        with _quiet():
            self.model.save_pretrained(str(folder), create_model_card=False)


def files_of(name: str) -> Sequence[Path]:
    """Return the files of a model folder, or nothing for a hub name."""
    from bench.models.locate import expanded

    folder = expanded(name)
    return sorted(path for path in folder.rglob("*") if path.is_file()) if name and folder.is_dir() else ()


def is_ranker(path: Path) -> bool:
    """Whether a folder holds a trained cross-encoder, according to the architecture in its configuration."""
    file = path / "config.json"
    if not file.is_file():
        return False
    named = json.loads(file.read_text(encoding="utf-8")).get("architectures") or [""]
    return any(name.endswith("ForSequenceClassification") for name in named)


def _is_output(module: torch.nn.Module) -> bool:
    return type(module) is torch.nn.Linear and module.out_features == 1


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence progress bars, and transformers' reports about the new head."""
    level = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
