"""A sheet as one HTML file: one row at a time, judged by key or button, saved as the CSV that is read back.

The page makes no network request: a Content-Security-Policy allows its own script (by hash) and nothing else. Texts
reach it as JSON, which the script sets with `textContent`. Choices are kept in the browser until they are saved.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from bench.data.files import write_atomically
from bench.judging.sheet import COLUMNS, Item, refuse_to_overwrite, row_of

ASSETS = Path(__file__).parent / "assets"
GRADES = ("not relevant", "relevant", "highly", "perfectly")
"""What grades 0 to 3 mean, in the words of TREC."""


@dataclass(frozen=True)
class Form:
    """What a page asks about each row of a sheet."""

    template: str
    choices: Sequence[tuple[str, str, str]]
    """Key on the keyboard, value in the last column of the sheet, words on the button."""
    item: str
    """What the page calls a row: `Result`."""
    done: str
    """What the page calls a row with a choice: `graded`."""
    none: str
    """What the page says where there is no row."""


GRADING = Form(
    "judge.html.j2",
    [(str(grade), str(grade), words) for grade, words in enumerate(GRADES)],
    "Result",
    "graded",
    "Every result has a judgement.",
)


def write_page(items: Sequence[Item], path: Path, sheet: str) -> None:
    """Write the page for grading results.

    Args:
        items: the results to judge, in the order of the sheet.
        path: the file.
        sheet: file name that the browser gives to the saved grades.

    Raises:
        BenchError: the file exists already.
    """
    write_form(GRADING, COLUMNS, [row_of(item) for item in items], path, sheet)


def write_form(form: Form, columns: Sequence[str], rows: Sequence[Sequence[str]], path: Path, sheet: str) -> None:
    """Write a page that asks about each row of a sheet.

    Args:
        form: what it asks.
        columns: the columns of the sheet; that of the choice is the last one. The page shows those that it has a place
            for.
        rows: the rows without a choice.
        path: the file.
        sheet: file name that the browser gives to the saved sheet.

    Raises:
        BenchError: the file exists already.
    """
    refuse_to_overwrite(path)
    script = (ASSETS / "judge.js").read_text(encoding="utf-8")
    environment = Environment(loader=FileSystemLoader(ASSETS), autoescape=True, undefined=StrictUndefined)
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "separators": (",", ":")}
    words = {"item": form.item, "done": form.done, "none": form.none}
    key = hashlib.sha256(repr(rows).encode()).hexdigest()
    page = environment.get_template(form.template).render(
        data={"columns": columns, "rows": rows, "sheet": sheet, "key": key, "words": words},
        choices=form.choices,
        words=words,
        count=len(rows),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, page.encode())
