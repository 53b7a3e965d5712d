"""The report as a Markdown page beside its plots."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bench.data.files import write_atomically
from bench.report.document import Beside, Block, Cell, Column, Figure, Heading, Items, Paragraph, Report, Table
from bench.report.intervals import as_text
from bench.report.text import code, strong, to_markdown, to_markdown_line, to_plain

PLOTS = "plots"


def render(report: Report, plots: str = PLOTS) -> str:
    """Return the page; `plots` is the folder of the figures, relative to the page."""
    lines = [f"# {to_markdown(report.title)}", ""]
    for section in report.sections:
        lines += [f"## {to_markdown(section.title)}", ""]
        for block in section.blocks:
            lines += [*_block(block, plots), ""]
    return "\n".join(lines).rstrip() + "\n"


def write(report: Report, path: Path) -> None:
    """Write the page."""
    write_atomically(path, render(report).encode())


def _block(block: Block, plots: str) -> Iterator[str]:
    match block:
        case Heading(text):
            yield f"### {to_markdown(text)}"
        case Paragraph(text, role):
            yield f"> **Note.** {to_markdown(text)}" if role == "warning" else to_markdown_line(text)
        case Items(items):
            yield from (f"- {to_markdown_line(item)}" for item in items)
        case Figure(name, caption, alt):
            yield f"![{to_markdown(to_plain(alt))}]({plots}/{name}.png)"
            yield ""
            yield f"*{to_markdown(caption)}*"
        case Beside(figure, items):
            yield from _block(figure, plots)
            yield ""
            yield from _block(items, plots)
        case Table():
            yield from _table(block)


def put_between(page: Path, name: str, text: str) -> None:
    """Replace the text between the lines `<!-- name: begin -->` and `<!-- name: end -->` of a page.

    Measured tables get into the documentation this way and are never copied by hand.

    Raises:
        ValueError: the page does not have exactly one such pair of lines.
    """
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
    before, rest = page.read_text(encoding="utf-8").split(begin)
    _, after = rest.split(end)
    page.write_text(before + begin + text.rstrip("\n") + "\n" + end + after, encoding="utf-8")


def _table(table: Table) -> Iterator[str]:
    yield to_markdown(strong(table.caption)) + "  "
    yield ""
    yield "| " + " | ".join(to_markdown(column.head) for column in table.columns) + " |"
    yield "|" + "|".join(_rule(column) for column in table.columns) + "|"
    for row in table.rows:
        yield "| " + " | ".join(_cell(cell) for cell in row) + " |"
    for note in table.notes:
        yield ""
        yield to_markdown_line(note)


def _rule(column: Column) -> str:
    return "---:" if column.numeric else "---"


def _cell(cell: Cell) -> str:
    text = strong(cell.text) if cell.best else cell.text
    return to_markdown(f"{code(as_text(cell.drawn))} {text}" if cell.drawn else text)
