"""An OpenAI-compatible embedding endpoint: `openai:http://127.0.0.1:8000/v1#model-name`.

vLLM, Text Embeddings Inference, Ollama, llama.cpp and hosted services answer `POST <url>/embeddings`. Neither weights
nor tokeniser can be seen. So address and name identify the model in fits and in the vector cache: a changed model needs
another name. Texts are cut at four characters for each token of the limit.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self
from urllib.parse import parse_qsl, quote, urlsplit, urlunsplit

import numpy as np

from bench.errors import ModelError, unknown

if TYPE_CHECKING:
    from openai import OpenAI

PREFIX = "openai:"
DEFAULT_URL = "https://api.openai.com/v1"
KEY = "BENCH_API_KEY"
"""Environment variable with the key of any endpoint."""
OPENAI_KEY = "OPENAI_API_KEY"
"""Environment variable with OpenAI's key. No other server receives it."""
TEXTS_PER_REQUEST = 128
_CHARS_PER_TOKEN = 4
_DIGITS = 10
"""Digits that an option may not have."""


@dataclass(frozen=True)
class Endpoint:
    """The address of an embedding endpoint, and the model to request there."""

    url: str
    """The address without `/embeddings`."""
    model: str
    dimensions: int | None = None
    """Length of the vectors, where the model offers shorter ones (`?dimensions=256`)."""
    tokens: int = 8192
    """Number of tokens that the model takes (`?tokens=512`)."""
    path: ClassVar[str] = "/embeddings"
    """What requests add to the address."""
    options: ClassVar[Sequence[str]] = ("dimensions", "tokens")
    """The options that a name may hold."""

    @classmethod
    def parse(cls, name: str) -> Self:
        """Return the endpoint of `openai:URL#MODEL`. Without a URL it is OpenAI's own.

        Raises:
            ModelError: the name holds no model, or its address is not one.
        """
        try:
            parts = urlsplit(name.removeprefix(PREFIX))
        except ValueError as error:
            raise ModelError(f"model {name[:200]!r}: not an address: {error}") from error
        if not parts.fragment:
            raise ModelError(f"model {name!r}: write the model's name after '#': {PREFIX}http://127.0.0.1:8000/v1#name")
        if "@" in parts.netloc:
            raise ModelError(
                f"model endpoint at {parts.hostname}: a name with a password in it would be recorded. The key is read "
                f"from the environment variable {KEY}"
            )
        url = urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/").removesuffix(cls.path), "", ""))
        if url and (parts.scheme not in ("http", "https") or not parts.hostname):
            raise ModelError(f"model {name!r}: {url!r} is not an address such as http://127.0.0.1:8000/v1")
        options: dict[str, int] = {}
        for key, value in parse_qsl(parts.query, keep_blank_values=True):
            if key not in cls.options:
                raise unknown("endpoint option", key, cls.options)
            if not (value.isascii() and value.isdigit() and len(value) < _DIGITS) or not int(value):
                raise ModelError(f"model {name!r}: {key} is {value!r}, not a whole number above 0")
            options[key] = int(value)
        return cls(url or DEFAULT_URL, parts.fragment, **options)

    def __str__(self) -> str:
        return f"model {self.model!r} at {self.url}"

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Return the vectors (n, d) float32 of texts, in their order.

        Raises:
            ModelError: the endpoint refuses, cannot be reached, or does not answer with vectors.
        """
        parts = [self._request(texts[at : at + TEXTS_PER_REQUEST]) for at in range(0, len(texts), TEXTS_PER_REQUEST)]
        if len({part.shape[1] for part in parts}) > 1:
            raise ModelError(f"{self}: its answers hold vectors of several lengths")
        return np.concatenate(parts)

    def _request(self, texts: Sequence[str]) -> np.ndarray:
        from openai import APIConnectionError, APIStatusError

        options: dict[str, Any] = {} if self.dimensions is None else {"dimensions": self.dimensions}
        try:
            answer = self._client.embeddings.with_raw_response.create(
                model=self.model,
                input=[text or " " for text in texts],  # some servers refuse an empty text
                encoding_format="float",
                **options,
            )
        except APIStatusError as error:
            raise ModelError(self._refusal(error.status_code, error.response.text)) from None  # it may hold the key
        except APIConnectionError as error:
            raise ModelError(self._unreachable(error)) from None  # it may hold the key
        return self._vectors(answer.content, texts)

    @property
    def _client(self) -> OpenAI:
        from bench.models.openai_client import open_client

        return open_client(self.url, self._key)

    @property
    def _key(self) -> str:
        host = urlsplit(self.url).hostname or ""
        own = os.environ.get(OPENAI_KEY, "") if host == "openai.com" or host.endswith(".openai.com") else ""
        return os.environ.get(KEY) or own

    def _unreachable(self, error: Exception) -> str:
        """Return the message for an endpoint that does not answer."""
        from bench.models.openai_client import ATTEMPTS

        return f"{self}: no answer after {ATTEMPTS} attempts: {self._shown(str(error.__cause__ or error), 300)}"

    def _refusal(self, status: int, body: str) -> str:
        """Return the message for a refused request: the server's reason, and what may help."""
        try:
            answer = json.loads(body)
            reason = answer.get("error", answer.get("message", body))
            body = str(reason.get("message", reason) if isinstance(reason, dict) else reason)
        except (ValueError, AttributeError, RecursionError):
            pass
        hint = {
            401: f" Its key is read from the environment variable {KEY}, for OpenAI from {OPENAI_KEY} too.",
            404: f" The address ends before {self.path}, mostly in /v1; the model's name follows '#'.",
            413: f" A request holds up to {TEXTS_PER_REQUEST} texts; ?tokens=512 cuts them shorter.",
        }
        return f"{self}: HTTP {status}: {self._shown(body, 300)}.{hint.get(401 if status == 403 else status, '')}"

    def _shown(self, text: str, length: int) -> str:
        """Return the beginning of a server's text for a message, without the key."""
        for form in {self._key, quote(self._key, safe=""), json.dumps(self._key)[1:-1]} - {""}:
            text = re.sub(re.escape(form), "[key]", text, flags=re.IGNORECASE)
        return " ".join(text.split())[:length] or "no reason given"

    def _vectors(self, body: bytes, texts: Sequence[str]) -> np.ndarray:
        """Return the vectors of an answer. Each text must have one, and all must have the same length.

        A vector of zeros has no direction, so that its cosine with others is undefined. Only a blank text may have one.

        Raises:
            ModelError: the answer has another form.
        """
        try:
            rows = json.loads(body)["data"]
            order = sorted(range(len(rows)), key=lambda row: rows[row]["index"])
            indexes = [rows[row]["index"] for row in order]
            complete = indexes == list(range(len(texts))) and not any(isinstance(each, bool) for each in indexes)
            with np.errstate(over="ignore"):  # a number beyond float32 is infinite, and refused below
                vectors = np.array([row["embedding"] for row in rows], dtype=np.float32)
        except (ValueError, KeyError, TypeError, RecursionError, OverflowError):
            start = self._shown(body[:4096].decode("utf-8", "replace"), 80)
            raise ModelError(f"{self}: the answer is not one of an embedding endpoint: {start!r}") from None
        if vectors.ndim != 2 or not complete:
            raise ModelError(f"{self}: the answer to {len(texts)} texts holds vectors of shape {vectors.shape}")
        if not np.isfinite(vectors).all():
            raise ModelError(f"{self}: the answer holds a number that is not finite")
        if self.dimensions is not None and vectors.shape[1] != self.dimensions:
            raise ModelError(
                f"{self}: {self.dimensions} dimensions were requested, and its vectors have {vectors.shape[1]}"
            )
        vectors = vectors[order]
        blank = np.array([not text.strip() for text in texts])
        if (np.abs(vectors).max(axis=1, initial=0.0) == 0)[~blank].any():
            raise ModelError(f"{self}: the answer holds a vector of zeros for a text that is not empty")
        return vectors


def cut(text: str, tokens: int) -> str:
    """Return the beginning of a text that is about this number of tokens long."""
    return text[: tokens * _CHARS_PER_TOKEN]
