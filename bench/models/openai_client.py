"""Opens clients of OpenAI-compatible servers: retries, answers and times are bounded, and no key reaches a stranger.

Imports the `openai` package, which the extra `adaptbench[endpoint]` installs.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import lru_cache

import httpx2
from openai import DefaultHttpxClient, OpenAI

from bench.errors import ModelError

ATTEMPTS = 5
"""Number of times that a request is sent, until one succeeds."""
MAX_ANSWER_BYTES = 64 * 1024**2
_READ_SECONDS = 120.0
_ANSWER_SECONDS = 600.0
_HEADERS = frozenset(
    {"host", "accept", "connection", "content-type", "content-length", "user-agent", "x-stainless-raw-response"}
)
"""Headers that a request keeps. The client would also send those of OpenAI's environment variables to any server."""


@lru_cache(maxsize=16)
def open_client(url: str, key: str) -> OpenAI:
    """Return a client of the server at `url` that sends `key` and no other credential. Without a key it sends none.

    The client waits and tries again where that may help, and follows no redirect: texts and key would go elsewhere.
    """

    def keep_own_headers(request: httpx2.Request) -> None:
        for name in set(request.headers) - _HEADERS:
            del request.headers[name]
        request.headers["accept-encoding"] = "identity"
        if key:
            request.headers["authorization"] = f"Bearer {key}"

    def bound(response: httpx2.Response) -> None:
        assert isinstance(response.stream, httpx2.SyncByteStream)
        response.stream = _BoundedStream(response.stream, url)

    http_client = DefaultHttpxClient(
        follow_redirects=False,
        timeout=_READ_SECONDS,
        event_hooks={"request": [keep_own_headers], "response": [bound]},
    )
    return OpenAI(api_key=key or "none", base_url=url, max_retries=ATTEMPTS - 1, http_client=http_client)


class _BoundedStream(httpx2.SyncByteStream):
    """The bytes of an answer, up to a size and a time."""

    def __init__(self, stream: httpx2.SyncByteStream, url: str) -> None:
        self._stream = stream
        self._url = url
        self._end = time.monotonic() + _ANSWER_SECONDS

    def __iter__(self) -> Iterator[bytes]:
        """Yield the bytes.

        Raises:
            ModelError: the answer is too large, or takes too long.
        """
        received = 0
        for chunk in self._stream:
            received += len(chunk)
            if received > MAX_ANSWER_BYTES:
                raise ModelError(f"{self._url}: the answer has more than {MAX_ANSWER_BYTES:,} bytes")
            if time.monotonic() > self._end:
                raise ModelError(f"{self._url}: the answer took more than {_ANSWER_SECONDS:.0f} s")
            yield chunk

    def close(self) -> None:
        """Close the connection's stream."""
        self._stream.close()
