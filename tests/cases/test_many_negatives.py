"""Hard negatives in several columns: all of them are used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cases.conftest import shared, write_lines
from tests.cases.tables import LONG, THINGS, Import, judged, question

NEGATIVES: dict[str, Callable[[str], dict[str, Any]]] = {
    "negative_1 to negative_3": lambda t: {f"negative_{n}": f"wrong {t} {n}" for n in (1, 2, 3)},
    "hard_negative_1, hard_negative_2": lambda t: {f"hard_negative_{n}": f"wrong {t} {n}" for n in (1, 2)},
    "Neg 1, Neg 2": lambda t: {f"Neg {n}": f"wrong {t} {n}" for n in (1, 2)},
    "a list": lambda t: {"negatives": [f"wrong {t} {n}" for n in range(4)]},
    "a list and a column": lambda t: {"negative": f"wrong {t}", "hard_negatives": [f"worse {t}", f"worst {t}"]},
    "objects with titles": lambda t: {"negative_passages": [{"docid": f"{t}{n}", "title": "", "text": f"wrong {t} {n}"}
                                                            for n in (1, 2)]},
}  # fmt: skip


@pytest.mark.parametrize("form", NEGATIVES)
def test_many_negatives_are_all_used(form: str, import_table: Import, tmp_path: Path) -> None:
    rows = [{"anchor": question(t), "positive": LONG.format(t), **NEGATIVES[form](t)} for t in THINGS]
    grades = judged(import_table(write_lines(tmp_path / "mined.jsonl", rows)))
    per_question = {tuple(sorted(docs.values())) for docs in grades.values()}
    wanted = sum(len(value) if isinstance(value, list) else 1 for value in NEGATIVES[form]("x").values())
    assert per_question == {(*[0] * wanted, 1)}


@pytest.mark.parametrize("source", [path for root in shared("many-negatives") for path in root.iterdir()], ids=str)
def test_shared_examples(source: Path, import_table: Import) -> None:
    dataset = import_table(source)
    answered = [docs for qrels in dataset.splits.values() for docs in qrels.values() if max(docs.values()) > 0]
    assert (len(answered), len(dataset.corpus)) == (30, 120)
