"""Settings that must stand before any test module imports a library that reads them, and the suite's own plugins."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
_THREADS = os.environ.setdefault("OMP_NUM_THREADS", "1")
"""Of each process. The models are tiny: several threads would only wait for each other."""

pytest_plugins = ("pytester", "tests.no_skips", "tests.tiny_reader", "tests.toy_runs", "tests.toy_studies")


def freeze_heap() -> None:
    """Take all objects out of garbage collection. Each training starts with a full one, which would take 0.3 s."""
    gc.collect()
    gc.freeze()


def pytest_collection_finish() -> None:
    freeze_heap()


@pytest.fixture(scope="module", autouse=True)
def _frozen_heap() -> Iterator[None]:
    """Take the libraries that a module's tests have imported out of garbage collection."""
    yield
    freeze_heap()


def pytest_runtest_logfinish() -> None:
    """Take back the threads that a command has set for its process, such as `bench speed`."""
    if os.environ.get("OMP_NUM_THREADS") != _THREADS:
        from bench.running.process import set_threads

        set_threads(int(_THREADS))
