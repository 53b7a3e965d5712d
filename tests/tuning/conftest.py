"""Studies that run their trials need a real model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def study_model(tiny_folder: Callable[[str], Path]) -> Path:
    """The tiny BERT."""
    return tiny_folder("bert")
