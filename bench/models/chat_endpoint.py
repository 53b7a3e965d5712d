"""An OpenAI-compatible chat endpoint, `openai:http://127.0.0.1:8000/v1#name`: `POST <url>/chat/completions`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

from bench.errors import ModelError
from bench.models.endpoint import Endpoint


@dataclass(frozen=True)
class Completion:
    """What a chat endpoint answered, and the tokens that it counted; 0 where it did not say."""

    text: str
    prompt_tokens: int
    tokens: int


@dataclass(frozen=True)
class ChatEndpoint(Endpoint):
    """The address of a chat endpoint, and the model to request there."""

    path: ClassVar[str] = "/chat/completions"
    options: ClassVar[Sequence[str]] = ()

    @classmethod
    def parse(cls, name: str) -> Self:
        """Return the endpoint of `openai:URL#MODEL`; it takes no options. Otherwise as `Endpoint.parse`."""
        return super().parse(name)

    def complete(self, messages: Sequence[tuple[str, str]], max_tokens: int) -> Completion:
        """Return the answer to a chat, at temperature 0.

        Raises:
            ModelError: the endpoint refuses, cannot be reached, or does not answer with a text.
        """
        from openai import APIConnectionError, APIStatusError

        chat = [{"role": role, "content": text} for role, text in messages]
        try:
            answer = self._client.chat.completions.with_raw_response.create(
                model=self.model,
                messages=chat,  # type: ignore[arg-type]
                temperature=0,
                max_tokens=max_tokens,
            )
        except APIStatusError as error:
            raise ModelError(self._refusal(error.status_code, error.response.text)) from None  # it may hold the key
        except APIConnectionError as error:
            raise ModelError(self._unreachable(error)) from None  # it may hold the key
        return self._completion(answer.content)

    def _completion(self, body: bytes) -> Completion:
        try:
            answer = json.loads(body)
            text = answer["choices"][0]["message"]["content"]
            usage = answer.get("usage") or {}
            counts = [usage.get(key) or 0 for key in ("prompt_tokens", "completion_tokens")]
        except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
            text, counts = None, []
        if not isinstance(text, str) or not all(isinstance(count, int) for count in counts):
            start = self._shown(body[:4096].decode("utf-8", "replace"), 80)
            raise ModelError(f"{self}: the answer is not one of a chat endpoint: {start!r}")
        return Completion(text, *counts)
