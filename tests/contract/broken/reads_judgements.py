"""Looks for a file of judgements of the test queries, and reads it."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.data.dataset import Pair, TrainingData
from tests.contract.honest import Honest

_FILE = Path(__file__).with_name("test.tsv")


class Broken(Honest):
    name = "broken"

    def examples(self, data: TrainingData) -> Sequence[Pair]:
        with tempfile.TemporaryFile():  # a file of its own is no fault
            _FILE.read_text(encoding="utf-8")
        return super().examples(data)


_FILE.write_text("query\tdocument\t1\n", encoding="utf-8")
