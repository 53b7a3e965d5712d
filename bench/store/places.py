"""Where a run is kept: a folder, or a URL of any file system that fsspec knows."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from bench.errors import BenchError
from bench.store.mirror import Mirror
from bench.store.store import Store

Place = Path | str
"""A folder, or a URL as text."""
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+(::[^:]+)?://")
_ONE_SLASH = re.compile(r"[a-z0-9]{2,}:/(?!/)")


def is_url(place: Place) -> bool:
    """Whether a place is a URL. A path of a folder is none."""
    return isinstance(place, str) and _URL.match(place) is not None


def open_store(place: Place) -> Store:
    """Return the store of a run. One at a URL has fetched its records, without weights, into a working copy.

    Args:
        place: a folder, or a URL such as `s3://bucket/run`. `file://` is a folder.

    Raises:
        BenchError: the protocol of the URL is unknown, its library is missing, or a slash is missing.
        StoreError: the URL cannot be read.
    """
    require_both_slashes(place)
    if not is_url(place):
        return Store(Path(place))
    url = str(place)
    if url.startswith("file://"):
        return Store(Path(url2pathname(urlsplit(url).path)))
    mirror = Mirror(url)
    mirror.refresh()
    return Store(mirror.folder, mirror=mirror)


def require_both_slashes(place: Place) -> None:
    """Refuse a place that looks like a URL with one slash missing, unless there is such a folder.

    Raises:
        BenchError: it looks so; the message shows the URL.
    """
    text = str(place)
    if _ONE_SLASH.match(text) and not Path(place).is_dir():
        url = text.replace(":/", "://", 1)
        raise BenchError(f"{text} looks like a URL with one slash missing: write {url}, or ./{text} for a folder")


def last_name(place: Place) -> str:
    """Return the last part of a path or URL."""
    return str(place).rstrip("/").rpartition("/")[2] if is_url(place) else Path(place).resolve().name
