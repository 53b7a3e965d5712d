"""The sheet as one HTML file: one result at a time, graded by key or button, saved as the CSV that is read back.

The page makes no network request: a Content-Security-Policy allows its own script (by hash) and nothing else. Texts
reach it as JSON, which the script sets with `textContent`. Grades are kept in the browser until they are saved.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from bench.data.files import write_atomically
from bench.judging.sheet import COLUMNS, Item, refuse_to_overwrite, row_of

ASSETS = Path(__file__).parent / "assets"
GRADES = ("not relevant", "relevant", "highly", "perfectly")
"""What grades 0 to 3 mean, in the words of TREC."""


def write_page(items: Sequence[Item], path: Path, sheet: str) -> None:
    """Write the page.

    Args:
        items: the results to judge, in the order of the sheet.
        path: the file.
        sheet: file name that the browser gives to the saved grades.

    Raises:
        BenchError: the file exists already.
    """
    refuse_to_overwrite(path)
    script = (ASSETS / "judge.js").read_text(encoding="utf-8")
    rows = [row_of(item) for item in items]
    environment = Environment(loader=FileSystemLoader(ASSETS), autoescape=True, undefined=StrictUndefined)
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "separators": (",", ":")}
    page = environment.get_template("judge.html.j2").render(
        data={"columns": COLUMNS, "rows": rows, "sheet": sheet, "key": hashlib.sha256(repr(rows).encode()).hexdigest()},
        grades=list(enumerate(GRADES)),
        count=len(rows),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, page.encode())
