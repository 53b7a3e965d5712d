"""A reader behind an OpenAI-compatible chat endpoint: vLLM, Ollama, llama.cpp, or a hosted service."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

from bench.data.text import without_surrogates
from bench.errors import ModelError
from bench.models.chat_endpoint import ChatEndpoint
from bench.models.endpoint import cut
from bench.readers.base import Messages, Scored, Written

PARALLEL = 4
"""Requests under way at once."""
_CHARS_PER_TOKEN = 4


class EndpointReader:
    """Writes answers by requests. Its weights cannot be seen, so address and model's name identify it."""

    scores = False

    def __init__(self, endpoint: ChatEndpoint) -> None:
        self.endpoint = endpoint
        self.name = endpoint.model
        self.fingerprint = hashlib.sha256(f"{endpoint.url} {endpoint.model}".encode()).hexdigest()[:16]

    def cut(self, text: str, tokens: int) -> tuple[str, int]:
        """Return the beginning of a text and its length: four characters count as a token."""
        kept = cut(text, tokens)
        return kept, -(-len(kept) // _CHARS_PER_TOKEN)

    def write(self, prompts: Sequence[Messages], max_tokens: int) -> Iterator[tuple[int, Written]]:
        """Yield (position, answer) of each prompt. The first error ends the requests that have not begun."""
        with ThreadPoolExecutor(PARALLEL) as pool:
            futures = {pool.submit(self._one, prompt, max_tokens): place for place, prompt in enumerate(prompts)}
            try:
                failed: ModelError | None = None
                for future in as_completed(futures):
                    if future.cancelled():
                        continue
                    try:
                        written = future.result()
                    except ModelError as error:
                        failed = failed or error
                        for other in futures:
                            other.cancel()
                        continue
                    yield futures[future], written  # also what was under way when another request failed: it is paid
                if failed is not None:
                    raise failed
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def score(self, prompts: Sequence[Messages], answers: Sequence[str]) -> Iterator[tuple[int, Scored]]:
        """Refuse: chat endpoints do not say how likely a given answer is.

        Raises:
            ModelError: always.
        """
        raise ModelError(f"{self.endpoint}: a chat endpoint does not score answers")

    def _one(self, prompt: Messages, max_tokens: int) -> Written:
        began = time.perf_counter()
        done = self.endpoint.complete(prompt, max_tokens)
        text = without_surrogates(done.text).strip().partition("\n")[0].strip()
        return Written(text, done.prompt_tokens, done.tokens, time.perf_counter() - began)
