"""Documents and questions of the tests on dataset folders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bench.data.dataset import Dataset

DOCUMENTS = ["To reset the kettle, hold it.", "To clean the lamp, unplug it.", "To charge the printer, open it."]
QUESTIONS = ["how do I reset the kettle", "how do I clean the lamp", "how do I charge the printer"]
Make, Read = Callable[..., Path], Callable[[Path], Dataset]
