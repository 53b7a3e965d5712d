"""A base model behind an OpenAI-compatible embedding endpoint: `openai:http://127.0.0.1:8000/v1#model-name`.

vLLM, Text Embeddings Inference, Ollama, llama.cpp and hosted services answer `POST <url>/embeddings`. Weights cannot be
seen, so the address and the name stand for them in a fit's identity and in the vector cache: give a changed model
another name. Texts are cut at four characters a token of the run's limit, as the tokeniser cannot be seen either.
"""

from __future__ import annotations

import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit, urlunsplit

import numpy as np

from bench.errors import ModelError, unknown

PREFIX = "openai:"
DEFAULT_URL = "https://api.openai.com/v1"
KEY = "BENCH_API_KEY"
"""Environment variable with the key of any endpoint."""
OPENAI_KEY = "OPENAI_API_KEY"
"""Its usual name; sent to OpenAI's own address alone, so that no other server learns it."""
TEXTS_A_REQUEST = 128
ATTEMPTS = 5
_TIMEOUT_SECONDS = 120.0
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 60.0
_PASSING = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
"""HTTP statuses after which the same request may succeed."""
_CHARS_PER_TOKEN = 4
_OPTIONS = ("dimensions", "tokens")


@dataclass(frozen=True)
class Endpoint:
    """Where to ask, and for what."""

    url: str
    """Up to and without `/embeddings`."""
    model: str
    dimensions: int | None = None
    """Shorter vectors, where the model offers them (`?dimensions=256`)."""
    tokens: int = 8192
    """The most that the model takes (`?tokens=512`)."""
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False, compare=False)

    @classmethod
    def parse(cls, name: str) -> Endpoint:
        """Read `openai:URL#MODEL`; without a URL it is OpenAI's own.

        Raises:
            ModelError: there is no model in it, or the address is none.
        """
        parts = urlsplit(name.removeprefix(PREFIX))
        if not parts.fragment:
            raise ModelError(
                f"model {name!r}: which model? Write it after a '#': {PREFIX}http://127.0.0.1:8000/v1#name"
            )
        url = urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/").removesuffix("/embeddings"), "", ""))
        if url and (parts.scheme not in ("http", "https") or not parts.hostname):
            raise ModelError(f"model {name!r}: {url!r} is not an address such as http://127.0.0.1:8000/v1")
        options: dict[str, int] = {}
        for key, value in parse_qsl(parts.query, keep_blank_values=True):
            if key not in _OPTIONS:
                raise unknown("endpoint option", key, _OPTIONS)
            if not value.isdigit() or not int(value):
                raise ModelError(f"model {name!r}: {key} is {value!r}, not a whole number above 0")
            options[key] = int(value)
        return cls(url or DEFAULT_URL, parts.fragment, **options)  # type: ignore[arg-type]

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Return the vectors of texts, shape (n, d), float32, in their order.

        Raises:
            ModelError: the endpoint refuses, cannot be reached, or answers something else than vectors.
        """
        found = [self._request(texts[at : at + TEXTS_A_REQUEST]) for at in range(0, len(texts), TEXTS_A_REQUEST)]
        if len({part.shape[1] for part in found}) > 1:
            raise ModelError(f"{self}: answered vectors of several lengths")
        return np.concatenate(found)

    def __str__(self) -> str:
        return f"model {self.model!r} at {self.url}"

    def _request(self, texts: Sequence[str]) -> np.ndarray:
        # some servers refuse an empty text, which a corpus may hold
        body: dict[str, Any] = {
            "model": self.model,
            "input": [text or " " for text in texts],
            "encoding_format": "float",
        }
        if self.dimensions is not None:
            body["dimensions"] = self.dimensions
        headers = {"Content-Type": "application/json", "User-Agent": "adaptbench"}
        if key := self._key:
            headers["Authorization"] = f"Bearer {key}"
        request = urllib.request.Request(f"{self.url}/embeddings", json.dumps(body).encode(), headers)
        return self._vectors(self._answer(request), len(texts))

    @property
    def _key(self) -> str:
        host = urlsplit(self.url).hostname or ""
        theirs = os.environ.get(OPENAI_KEY, "") if host == "openai.com" or host.endswith(".openai.com") else ""
        return os.environ.get(KEY) or theirs

    def _answer(self, request: urllib.request.Request) -> bytes:
        """Return the body of the answer, asking again after a wait that doubles, or that the server asked for."""
        wait = _FIRST_WAIT
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with _OPENER.open(request, timeout=_TIMEOUT_SECONDS) as answer:
                    return bytes(answer.read())
            except urllib.error.HTTPError as error:
                said = error.read()[:2000].decode("utf-8", "replace")
                if error.code not in _PASSING or attempt == ATTEMPTS:
                    raise ModelError(self._refusal(error.code, said)) from error
                asked = error.headers.get("Retry-After", "")
                pause = float(asked) if asked.replace(".", "", 1).isdigit() else wait
            except (OSError, EOFError) as error:  # no connection, cut off, too slow
                if attempt == ATTEMPTS:
                    reason = getattr(error, "reason", None) or error
                    raise ModelError(f"{self}: no answer after {ATTEMPTS} attempts: {reason}") from error
                pause = wait
            self.sleep(min(pause, _LONGEST_WAIT))
            wait *= 2
        raise AssertionError("the last attempt returns or raises")

    def _refusal(self, code: int, said: str) -> str:
        try:
            found = json.loads(said)
            detail = found.get("error", found.get("message", said))
            said = str(detail.get("message", detail) if isinstance(detail, dict) else detail)
        except (ValueError, AttributeError):
            pass
        hint = {
            401: f" Its key is read from the environment variable {KEY}, for OpenAI from {OPENAI_KEY} too.",
            404: " The address ends before /embeddings, mostly in /v1; the model's name follows '#'.",
            413: f" A request holds up to {TEXTS_A_REQUEST} texts; ?tokens=512 cuts them shorter.",
            429: f" It was asked {ATTEMPTS} times.",
        }
        said = " ".join(said.split())[:300]
        return f"{self}: HTTP {code}: {said or 'no reason given'}.{hint.get(401 if code == 403 else code, '')}"

    def _vectors(self, body: bytes, count: int) -> np.ndarray:
        try:
            rows = sorted(json.loads(body)["data"], key=lambda row: int(row["index"]))
            vectors = np.array([row["embedding"] for row in rows], dtype=np.float32)
        except (ValueError, KeyError, TypeError) as error:
            start = body[:80].decode("utf-8", "replace")
            raise ModelError(f"{self}: the answer is not one of an embedding endpoint: {start!r}") from error
        if vectors.ndim != 2 or len(vectors) != count or not np.isfinite(vectors).all():
            raise ModelError(f"{self}: {count} texts were asked for, the answer holds vectors of shape {vectors.shape}")
        return vectors


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect is refused: it would carry texts and key to another address."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirect)


def cut(text: str, tokens: int) -> str:
    """Return the beginning of a text that is about so many tokens long."""
    return text[: tokens * _CHARS_PER_TOKEN]
