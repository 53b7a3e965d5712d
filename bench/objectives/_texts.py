"""What objectives without labels share: documents drawn by seed."""

from __future__ import annotations

import numpy as np

from bench.data.dataset import TrainingData
from bench.errors import NotApplicableError


def drawn_documents(data: TrainingData, count: int, rng: np.random.Generator, words: int = 1) -> list[tuple[str, str]]:
    """Return id and text of up to `count` documents with at least `words` words, in random order.

    Raises:
        NotApplicableError: no document is long enough.
    """
    order = (int(row) for row in rng.permutation(len(data.corpus)))
    found: list[tuple[str, str]] = []
    for row in order:
        if len(found) == count:
            break
        text = data.corpus.texts[row]
        if len(text.split()) >= words:
            found.append((data.corpus.ids[row], text))
    if not found:
        raise NotApplicableError(f"no document of {data.dataset!r} has {words} words")
    return found
