"""Imports bm25s without JAX."""

from __future__ import annotations

import sys
from functools import cache
from types import ModuleType


@cache
def bm25s_module() -> ModuleType:
    """Return the module `bm25s`, imported as if JAX were not installed.

    bm25s starts JAX when it is imported, and JAX takes three quarters of a GPU's memory. Nothing here uses that part.
    """
    hidden = "jax" not in sys.modules
    if hidden:
        sys.modules["jax"] = None  # type: ignore[assignment]
    try:
        import bm25s
        import bm25s.stopwords
    finally:
        if hidden:
            del sys.modules["jax"]
    module: ModuleType = bm25s
    return module
