"""The parts of a report before it is Markdown or HTML: sections of paragraphs, lists, tables and figures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from bench.report.intervals import Drawn
from bench.report.text import to_plain


@dataclass(frozen=True)
class Cell:
    """One cell of a table: its text, its sort key, and whether it is the best of its column."""

    text: str
    """Text in the markup of `bench.report.text`."""
    value: float | str | None = None
    """The sort key; None sorts by the text."""
    best: bool = False
    drawn: Drawn | None = None
    """An interval to draw before the text."""


@dataclass(frozen=True)
class Column:
    """The head of a column: a name and the unit of its values."""

    name: str
    unit: str = ""
    numeric: bool = True

    @property
    def head(self) -> str:
        """Name and unit."""
        return f"{self.name} ({self.unit})" if self.unit else self.name


@dataclass(frozen=True)
class Table:
    """Rows of cells under named columns. The first column names the row."""

    name: str
    """Identifier, unique in the report: file name of its exports, anchor in HTML."""
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    notes: Sequence[str] = ()
    """Sentences under the table that explain how to read it."""
    folded: bool = False
    """Whether HTML shows the table only on request, because it is long."""


@dataclass(frozen=True)
class Paragraph:
    """A paragraph; `role` is `lead` (the answer), `note`, `warning` or empty."""

    text: str
    role: str = ""


@dataclass(frozen=True)
class Items:
    """A list of sentences."""

    items: Sequence[str]


@dataclass(frozen=True)
class Figure:
    """A plot by its file stem. `alt` describes the picture in a sentence for those who cannot see it."""

    name: str
    caption: str
    alt: str


@dataclass(frozen=True)
class Heading:
    """A heading inside a section, above the blocks up to the next heading."""

    text: str
    facet: str = ""
    """The comparison that these blocks belong to, as HTML can show one comparison alone; empty for none."""


@dataclass(frozen=True)
class Beside:
    """A figure with sentences: side by side where the page is wide enough, else one after the other."""

    figure: Figure
    items: Items


Block = Paragraph | Items | Table | Figure | Heading | Beside


@dataclass(frozen=True)
class Section:
    """A titled part of the report."""

    name: str
    title: str
    blocks: list[Block] = field(default_factory=list)


@dataclass(frozen=True)
class Report:
    """A whole report."""

    title: str
    sections: list[Section]

    @property
    def blocks(self) -> Iterator[Block]:
        """All blocks, in order. Blocks side by side follow each other."""
        for section in self.sections:
            yield from _flat(section.blocks)

    @property
    def tables(self) -> list[Table]:
        """All tables, in order."""
        return [block for block in self.blocks if isinstance(block, Table)]

    @property
    def figures(self) -> list[Figure]:
        """All figures, in order."""
        return [block for block in self.blocks if isinstance(block, Figure)]

    @property
    def words(self) -> str:
        """All paragraphs and lists as plain text."""
        lines: list[str] = []
        for block in self.blocks:
            if isinstance(block, Paragraph):
                lines.append(block.text)
            elif isinstance(block, Items):
                lines += block.items
        return to_plain("\n".join(lines))


def _flat(blocks: Iterable[Block]) -> Iterator[Block]:
    for block in blocks:
        if isinstance(block, Beside):
            yield block.figure
            yield block.items
        else:
            yield block
