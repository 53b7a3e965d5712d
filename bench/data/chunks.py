"""A folder of Markdown or text files as a corpus: chunks by heading and length, with ids that lead back to the file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from bench.data.text import sentences
from bench.errors import DataError

SUFFIXES = (".md", ".markdown", ".mdx", ".txt", ".text", ".rst")
MAX_WORDS = 200
"""Words a chunk: some 256 tokens, the limit of the default model."""
_HEADING = re.compile(r"^ {0,3}(#{1,6})\s+(.*?)\s*#*\s*$")
_FENCE = re.compile(r"^\s*(```+|~~~+)")
_UNDERLINE = re.compile(r"^([=\-~^\"'*+#`])\1{2,}\s*$")
_MARKUP = (
    (re.compile(r"<!--.*?-->", re.DOTALL), ""),
    (re.compile(r"!\[([^\]]*)\]\([^)]*\)"), r"\1"),
    (re.compile(r"\[([^\]]+)\]\([^)]*\)"), r"\1"),
)
"""Comments go, images and links leave their words."""


@dataclass(frozen=True)
class Chunk:
    """A piece of a file. `id` is `path#heading`, and `~2`, `~3` for the further parts of a long section."""

    id: str
    file: str
    section: str
    """`path#heading` without the part; the path alone before the first heading."""
    title: str
    """The file's title and the headings above, joined by ` > `."""
    text: str
    headings: tuple[str, ...]


def read_folder(folder: Path, max_words: int = MAX_WORDS) -> list[Chunk]:
    """Cut every Markdown and text file below a folder into chunks, in order of path. Hidden files are left out.

    A section is what stands under one heading; a longer one is cut between paragraphs, a longer paragraph between
    sentences, and a longer sentence between words.

    Raises:
        DataError: there is no such file, one is not UTF-8 (with the line), or all are empty.
    """
    files = [
        path
        for path in sorted(folder.rglob("*"), key=lambda path: path.relative_to(folder).parts)
        if path.is_file()
        and path.suffix.casefold() in SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    if not files:
        raise DataError(f"{folder}: no {', '.join(SUFFIXES)} file in this folder")
    chunks = [chunk for path in files for chunk in _chunks(path, path.relative_to(folder), max_words)]
    if not chunks:
        raise DataError(f"{folder}: the files in this folder are empty")
    return chunks


def _chunks(path: Path, relative: Path, max_words: int) -> Iterator[Chunk]:
    raw = path.read_bytes()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}:{line}: not UTF-8; save the file as UTF-8") from error
    file = quote(relative.as_posix(), safe="/._-~()[]!,;=+@&'")
    title, sections = _sections(text, relative.suffix.casefold())
    used: dict[str, int] = {}
    for headings, body in sections:
        slug = _slug(headings[-1]) if headings else ""
        count = used[slug] = used.get(slug, 0) + 1
        anchor = f"{slug}-{count - 1}" if count > 1 else slug
        section = f"{file}#{anchor}" if anchor else file
        path_of_titles = [title or relative.stem, *(heading for heading in headings if heading != title)]
        for part, piece in enumerate(_pieces(body, max_words), start=1):
            name = section if part == 1 else f"{section}~{part}"
            yield Chunk(name, file, section, " > ".join(path_of_titles), piece, tuple(headings))


def _sections(text: str, suffix: str) -> tuple[str, list[tuple[list[str], str]]]:
    """Split a text at its headings; return its title (front matter's, or the only top heading's) and the sections."""
    title, text = _front_matter(text)
    marks = _headings(text.split("\n"), suffix)
    lines = text.split("\n")
    sections: list[tuple[list[str], str]] = []
    open_headings: list[tuple[int, str]] = []
    start = 0
    for line, length, level, heading in [*marks, (len(lines), 0, 0, "")]:
        body = "\n".join(lines[start:line]).strip()
        if body:
            sections.append(([name for _, name in open_headings], body))
        open_headings = [(other, name) for other, name in open_headings if other < level]
        open_headings.append((level, heading))
        start = line + length
    tops = [heading for _, _, level, heading in marks if level == min(mark[2] for mark in marks)]
    return title or (tops[0] if len(tops) == 1 else ""), sections


def _front_matter(text: str) -> tuple[str, str]:
    """Take YAML front matter off; return its title and the rest."""
    match = re.match(r"---\r?\n(.*?)\r?\n(?:---|\.\.\.)\r?\n", text, re.DOTALL)
    if match is None:
        return "", text.replace("\r\n", "\n")
    title = re.search(r"^title:\s*['\"]?(.*?)['\"]?\s*$", match[1], re.MULTILINE)
    return (title[1] if title else ""), text[match.end() :].replace("\r\n", "\n")


def _headings(lines: list[str], suffix: str) -> list[tuple[int, int, int, str]]:
    """Return (line, lines taken, level, heading) of every heading outside of code; plain text has none."""
    found: list[tuple[int, int, int, str]] = []
    levels: dict[str, int] = {}
    fence = ""
    if suffix in (".txt", ".text"):
        return found
    for number, line in enumerate(lines):
        if match := _FENCE.match(line):
            fence = "" if fence and match[1].startswith(fence) else fence or match[1]
            continue
        if fence:
            continue
        if suffix != ".rst" and (match := _HEADING.match(line)):
            found.append((number, 1, len(match[1]), _plain(match[2])))
        elif number and (match := _UNDERLINE.match(line)) and _underlines(lines, number, suffix):
            level = levels.setdefault(match[1], len(levels) + 1) if suffix == ".rst" else 1 + (match[1] == "-")
            found.append((number - 1, 2, level, _plain(lines[number - 1])))
    return found


def _underlines(lines: list[str], number: int, suffix: str) -> bool:
    """Whether a line of one sign underlines the line before: text of one line that stands after a blank one."""
    above = lines[number - 1].strip()
    alone = number < 2 or not lines[number - 2].strip() or bool(_UNDERLINE.match(lines[number - 2]))
    wide = len(lines[number].rstrip()) >= len(above) if suffix == ".rst" else lines[number][0] in "=-"
    return bool(above) and alone and wide and not _UNDERLINE.match(above) and not above.startswith(("-", "*", ">", "|"))


def _plain(text: str) -> str:
    for pattern, replacement in _MARKUP:
        text = pattern.sub(replacement, text)
    return re.sub(r"[`*_]{1,3}(\S.*?\S|\S)[`*_]{1,3}", r"\1", text).strip()


def _slug(heading: str) -> str:
    """Return a heading as the anchors of rendered Markdown write it."""
    return re.sub(r"[\s]+", "-", re.sub(r"[^\w\s-]", "", heading.casefold()).strip())


def _pieces(body: str, max_words: int) -> Iterator[str]:
    for pattern, replacement in _MARKUP:
        body = pattern.sub(replacement, body)
    held: list[str] = []
    for unit in _units(body, max_words):
        if held and sum(len(part.split()) for part in held) + len(unit.split()) > max_words:
            yield "\n\n".join(held)
            held = []
        held.append(unit)
    if held:
        yield "\n\n".join(held)


def _units(body: str, max_words: int) -> Iterator[str]:
    """Yield paragraphs, or what is left of them once they are cut to at most `max_words` words."""
    for paragraph in re.split(r"\n\s*\n", body):
        if len(paragraph.split()) <= max_words:
            if paragraph.strip():
                yield paragraph.strip("\n")
            continue
        held: list[str] = []
        for sentence in sentences(paragraph):
            for start in range(0, len(words := sentence.split()), max_words):
                part = words[start : start + max_words]
                if held and len(held) + len(part) > max_words:
                    yield " ".join(held)
                    held = []
                held += part
        if held:
            yield " ".join(held)
