"""A reader in a model folder, by transformers: greedy answers and likelihoods, in batches of texts of like length."""

from __future__ import annotations

import hashlib
import inspect
import time
from collections.abc import Iterator, Sequence
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import ModelError
from bench.models.base import sha256
from bench.models.precision import Precision, resolve
from bench.readers.base import Messages, Scored, Written

if TYPE_CHECKING:
    import torch

BATCH_TOKENS = 8192
"""Tokens of a batch, padding included. It bounds memory, whatever the length of texts."""
WEIGHTS = ".safetensors"
_CONTENT = (WEIGHTS, ".json", ".jinja", ".txt", ".model")
"""Kinds of files that decide what a model writes."""


class LocalReader:
    """A causal language model in a folder.

    Args:
        folder: a model folder that transformers reads, with safetensors and a tokeniser.
        name: for tables; None is the folder's name.
        device: `cpu`, `cuda`, ...
        precision: `auto`, `bf16` or `fp32`.

    Raises:
        ModelError: the folder holds no such model.
    """

    scores = True

    def __init__(self, folder: Path, name: str | None = None, device: str = "cpu", precision: str = "auto") -> None:
        if not (folder / "config.json").is_file() or not any(folder.glob("*.safetensors")):
            raise ModelError(f"{folder}: not a model folder: it needs config.json and a .safetensors file")
        self.folder, self.device = folder, device
        self.name = name or folder.resolve().name
        self.precision: Precision = resolve(precision, device)
        digest = hashlib.sha256(self.precision.encode())
        for path in sorted(path for path in folder.iterdir() if path.suffix in _CONTENT):
            digest.update(f"{path.name} {sha256(path)}\n".encode())
        self.fingerprint = digest.hexdigest()[:16]
        self._loaded: tuple[Any, Any] | None = None

    def cut(self, text: str, tokens: int) -> tuple[str, int]:
        """Return the beginning of a text that is at most this number of tokens long, and its number of tokens."""
        _, tokenizer = self._load()
        encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        ends = [end for _, end in encoded["offset_mapping"]]
        return (text, len(ends)) if len(ends) <= tokens else (text[: ends[tokens - 1]] if tokens else "", tokens)

    def write(self, prompts: Sequence[Messages], max_tokens: int) -> Iterator[tuple[int, Written]]:
        """Yield (position, answer) of each prompt, greedily decoded. An answer ends at the end of its line."""
        import torch

        model, tokenizer = self._load()
        encoded = [self.encode(prompt) for prompt in prompts]
        for places in _batches([len(ids) + max_tokens for ids in encoded]):
            began = time.perf_counter()
            ids, mask = self._padded([encoded[place] for place in places])
            with torch.inference_mode():
                made = model.generate(
                    input_ids=ids, attention_mask=mask, do_sample=False, num_beams=1, max_new_tokens=max_tokens,
                    pad_token_id=self._pad(tokenizer),
                )[:, ids.shape[1] :]  # fmt: skip
            seconds = (time.perf_counter() - began) / len(places)
            stops = self._stops(model, tokenizer)
            for place, row in zip(places, made.tolist(), strict=True):
                end = next((at for at, token in enumerate(row) if token in stops), len(row))
                text = tokenizer.decode(row[:end], skip_special_tokens=True).strip().partition("\n")[0].strip()
                yield place, Written(text, len(encoded[place]), end, seconds)

    def score(self, prompts: Sequence[Messages], answers: Sequence[str]) -> Iterator[tuple[int, Scored]]:
        """Yield (position, likelihood) of each prompt's answer."""
        import torch

        model, tokenizer = self._load()
        encoded = [self.encode(prompt) for prompt in prompts]
        ends = [tokenizer(answer, add_special_tokens=False)["input_ids"] for answer in answers]
        for places in _batches([len(encoded[at]) + len(ends[at]) for at in range(len(encoded))]):
            began = time.perf_counter()
            ids, mask = self._padded([encoded[place] + ends[place] for place in places])
            longest = max(len(ends[place]) for place in places)
            positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
            with torch.inference_mode():
                inputs = {"input_ids": ids, "attention_mask": mask, "position_ids": positions}
                logits = self._last_logits(model, longest + 1, **inputs)
                known = torch.log_softmax(logits[:, :-1].float(), dim=2)
                found = known.gather(2, ids[:, -longest:, None]).squeeze(2)
            seconds = (time.perf_counter() - began) / len(places)
            for place, row in zip(places, found, strict=True):
                n = len(ends[place])
                yield place, Scored(float(row[-n:].mean()), len(encoded[place]), n, seconds)

    def text_log_likelihoods(self, texts: Sequence[str], max_tokens: int) -> list[tuple[float, int]]:
        """Return of each text the log-likelihood of its tokens after the first one, summed in nats, and their number.

        Args:
            texts: plain texts. They are no chat, so no template is applied.
            max_tokens: tokens after which a text is cut.
        """
        import torch

        model, tokenizer = self._load()
        encoded = [tokenizer(text, add_special_tokens=False)["input_ids"][:max_tokens] for text in texts]
        found = [(0.0, 0)] * len(texts)
        for places in _batches([len(ids) for ids in encoded]):
            ids, mask = self._padded([encoded[place] for place in places])
            positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
            with torch.inference_mode():
                logits = model(input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=False).logits
                known = torch.log_softmax(logits[:, :-1].float(), dim=2).gather(2, ids[:, 1:, None]).squeeze(2)
            for place, row in zip(places, known, strict=True):
                n = max(len(encoded[place]) - 1, 0)
                found[place] = (float(row[len(row) - n :].sum()), n)
        return found

    def with_weights(self, model: Any) -> LocalReader:
        """Return this reader with the weights of a model in memory, such as one that is being trained."""
        other = copy(self)
        other._loaded = model, self._load()[1]
        return other

    def trainable(self) -> tuple[Any, Any]:
        """Return a fresh fp32 copy of the model for training, and the tokeniser."""
        from transformers import AutoModelForCausalLM

        model = AutoModelForCausalLM.from_pretrained(self.folder, dtype="float32", use_safetensors=True)
        return model.to(self.device), self._load()[1]

    def answer_tokens(self, answer: str) -> list[int]:
        """Return the tokens of an answer and the one that ends it, as a reader is to write them."""
        _, tokenizer = self._load()
        ids: list[int] = tokenizer(answer, add_special_tokens=False)["input_ids"]
        return ids if tokenizer.eos_token_id is None else [*ids, tokenizer.eos_token_id]

    @staticmethod
    def _last_logits(model: Any, n: int, **inputs: Any) -> torch.Tensor:
        """Return the logits of the last n positions. Those of all positions would be most of the work and memory."""
        if "logits_to_keep" in inspect.signature(model.forward).parameters:
            inputs["logits_to_keep"] = n
        logits: torch.Tensor = model(**inputs, use_cache=False).logits
        return logits[:, -n:]

    def encode(self, messages: Messages) -> list[int]:
        """Return the tokens of a chat, up to where the answer begins.

        Raises:
            ModelError: they are more than the model takes.
        """
        _, tokenizer = self._load()
        if tokenizer.chat_template:
            chat = [{"role": role, "content": text} for role, text in messages]
            text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
            ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
        else:
            ids = tokenizer("\n\n".join(text for _, text in messages))["input_ids"]
        limit = getattr(self._load()[0].config, "max_position_embeddings", None)
        if limit and len(ids) >= limit:
            raise ModelError(
                f"{self.name}: a prompt of {len(ids)} tokens is longer than the {limit} that the model takes. Lower "
                "--context-tokens"
            )
        return ids

    def _padded(self, rows: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return tokens and mask, shape (rows, longest), padded on the left, so that all rows end together."""
        import torch

        _, tokenizer = self._load()
        longest = max(map(len, rows))
        pad = self._pad(tokenizer)
        ids = torch.tensor([[pad] * (longest - len(row)) + list(row) for row in rows], device=self.device)
        mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows], device=self.device)
        return ids, mask

    @staticmethod
    def _pad(tokenizer: Any) -> int:
        return next(token for token in (tokenizer.pad_token_id, tokenizer.eos_token_id, 0) if token is not None)

    @staticmethod
    def _stops(model: Any, tokenizer: Any) -> set[int]:
        """Return the tokens that end an answer."""
        ends = model.generation_config.eos_token_id
        listed = ends if isinstance(ends, list) else [ends]
        return {token for token in (*listed, tokenizer.eos_token_id, tokenizer.pad_token_id) if token is not None}

    def _load(self) -> tuple[Any, Any]:
        """Return model and tokeniser, read once."""
        if self._loaded is None:
            import torch
            from transformers import AutoModelForCausalLM, AutoTokenizer
            from transformers.utils import logging

            logging.disable_progress_bar()
            dtype = torch.bfloat16 if self.precision == "bf16" else torch.float32
            try:
                tokenizer = AutoTokenizer.from_pretrained(self.folder)
                model = AutoModelForCausalLM.from_pretrained(self.folder, dtype=dtype, use_safetensors=True)
            except (OSError, ValueError, KeyError) as error:
                raise ModelError(f"{self.folder}: not a causal language model: {error}") from error
            self._loaded = model.to(self.device).eval(), tokenizer
        return self._loaded


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Yield the positions of texts of like length, so many that a batch has at most `BATCH_TOKENS` tokens."""
    batch: list[int] = []
    for place in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and lengths[place] * (len(batch) + 1) > BATCH_TOKENS:  # this text is the longest so far
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch
