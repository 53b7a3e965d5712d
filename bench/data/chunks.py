"""Reads a folder of Markdown or text files as chunks, by heading and length. Their ids lead back to the file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from bench.data.scripts import UNSPACED
from bench.data.text import is_blank
from bench.errors import DataError

SUFFIXES = (".md", ".markdown", ".mdx", ".txt", ".text", ".rst")
MAX_WORDS = 200
"""Number of words of a chunk: about 256 tokens, the limit of the default model."""
_ABOUT = ("readme", "license", "licence", "citation")
"""Names of files that say what a folder holds."""
_PLAIN_TEXT = (".txt", ".text", ".rst")
_LONGEST_WORD = 200
"""Characters that count as one word. What goes on without a space, such as encoded data, is cut too."""
_WORD = re.compile(rf"[{UNSPACED}]|[^\s{UNSPACED}]{{1,{_LONGEST_WORD}}}")
_BLOCK_CHARACTERS = 65_536
"""Number of characters that the splitter gets at once. Its time grows with the square of a paragraph's length."""
_HEADING = re.compile(r"^ {0,3}(#{1,6})\s(.*)$")
_FENCE = re.compile(r"^\s*(```+|~~~+)")
_UNDERLINE = re.compile(r"^([=\-~^\"'*+#`])\1{2,}\s*$")
_MARKUP = (
    (re.compile(r"<!--.*?-->", re.DOTALL), ""),
    (re.compile(r"!\[([^\]]*)\]\([^)]*\)"), r"\1"),
    (re.compile(r"\[([^\]]+)\]\([^)]*\)"), r"\1"),
)
"""Replacements that remove comments and leave the words of images and links."""


@dataclass(frozen=True)
class Chunk:
    """A piece of a file."""

    id: str
    """`path#heading`. The second and third piece of a long section end in `~2` and `~3`."""
    file: str
    section: str
    """`path#heading` without the number of the piece, or the path alone before the first heading."""
    title: str
    """The file's title and the headings above the text, joined by ` > `."""
    text: str
    headings: tuple[str, ...]


def read_folder(folder: Path, max_words: int = MAX_WORDS) -> list[Chunk]:
    """Return the chunks of every Markdown and text file below a folder, ordered by path. Hidden files are left out.

    A chunk is the text under one heading. A longer text is cut between paragraphs, a longer paragraph between
    sentences, and a longer sentence between words.

    Raises:
        DataError: no such file exists, a file is not UTF-8 (the message names the line), or all files are empty.
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


def holds_documents(folder: Path) -> bool:
    """Whether a folder holds documents that `read_folder` reads, apart from a file that only describes the folder."""
    return any(
        path.suffix.casefold() in SUFFIXES and path.stem.casefold() not in _ABOUT and path.is_file()
        for path in folder.rglob("*")
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


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
        titles = [title or relative.stem, *(heading for heading in headings if heading != title)]
        for part, piece in enumerate(_split(body, relative.suffix.casefold(), max_words), start=1):
            name = section if part == 1 else f"{section}~{part}"
            yield Chunk(name, file, section, " > ".join(titles), piece, tuple(headings))


def _sections(text: str, suffix: str) -> tuple[str, list[tuple[list[str], str]]]:
    """Return a text's title and its sections, each with its headings. A single top heading serves as the title."""
    title, text = _front_matter(text)
    marks = _headings(text.split("\n"), suffix)
    lines = text.split("\n")
    sections: list[tuple[list[str], str]] = []
    open_headings: list[tuple[int, str]] = []
    start = 0
    for line, length, level, heading in [*marks, (len(lines), 0, 0, "")]:
        body = "\n".join(lines[start:line]).strip()
        if not is_blank(body):
            sections.append(([name for _, name in open_headings], body))
        open_headings = [(other, name) for other, name in open_headings if other < level]
        open_headings.append((level, heading))
        start = line + length
    tops = [heading for _, _, level, heading in marks if level == min(mark[2] for mark in marks)]
    return title or (tops[0] if len(tops) == 1 else ""), sections


def _front_matter(text: str) -> tuple[str, str]:
    """Return the title in a text's YAML front matter, and the text without it."""
    match = re.match(r"---\r?\n(.*?)\r?\n(?:---|\.\.\.)\r?\n", text, re.DOTALL)
    if match is None:
        return "", text.replace("\r\n", "\n")
    title = re.search(r"^title:(.*)$", match[1], re.MULTILINE)
    return (re.sub(r"^['\"]|['\"]$", "", title[1].strip()) if title else ""), text[match.end() :].replace("\r\n", "\n")


def _headings(lines: list[str], suffix: str) -> list[tuple[int, int, int, str]]:
    """Return (line, number of lines, level, heading) of every heading outside code. Plain text has none."""
    headings: list[tuple[int, int, int, str]] = []
    levels: dict[str, int] = {}
    fence = ""
    if suffix in (".txt", ".text"):
        return headings
    for number, line in enumerate(lines):
        if match := _FENCE.match(line):
            fence = "" if fence and match[1].startswith(fence) else fence or match[1]
            continue
        if fence:
            continue
        if suffix != ".rst" and (match := _HEADING.match(line)):
            headings.append((number, 1, len(match[1]), _plain(match[2].strip().rstrip("#").rstrip())))
        elif number and (match := _UNDERLINE.match(line)) and _underlines(lines, number, suffix):
            level = levels.setdefault(match[1], len(levels) + 1) if suffix == ".rst" else 1 + (match[1] == "-")
            headings.append((number - 1, 2, level, _plain(lines[number - 1])))
    return headings


def _underlines(lines: list[str], number: int, suffix: str) -> bool:
    """Whether a line of one repeated sign underlines the line above, which must follow a blank line."""
    above = lines[number - 1].strip()
    alone = number < 2 or not lines[number - 2].strip() or bool(_UNDERLINE.match(lines[number - 2]))
    wide = len(lines[number].rstrip()) >= len(above) if suffix == ".rst" else lines[number][0] in "=-"
    return bool(above) and alone and wide and not _UNDERLINE.match(above) and not above.startswith(("-", "*", ">", "|"))


def _plain(text: str) -> str:
    for pattern, replacement in _MARKUP:
        text = pattern.sub(replacement, text)
    return re.sub(r"[`*_]{1,3}(\S.*?\S|\S)[`*_]{1,3}", r"\1", text).strip()


def _slug(heading: str) -> str:
    """Return the anchor that rendered Markdown gives a heading."""
    return re.sub(r"[\s]+", "-", re.sub(r"[^\w\s-]", "", heading.casefold()).strip())


def _split(body: str, suffix: str, max_words: int) -> list[str]:
    """Cut a text into pieces of at most `max_words` words, between the largest units that allow it."""
    from semantic_text_splitter import MarkdownSplitter, TextSplitter

    for pattern, replacement in _MARKUP:
        body = pattern.sub(replacement, body)
    splitter = (TextSplitter if suffix in _PLAIN_TEXT else MarkdownSplitter).from_callback(count_words, max_words)
    return [piece.strip("\n") for block in _blocks(body) for piece in splitter.chunks(block) if not is_blank(piece)]


def _blocks(body: str) -> Iterator[str]:
    """Yield a text in blocks, cut at a blank line, a line or a space where there is one."""
    begin = 0
    while len(body) - begin > _BLOCK_CHARACTERS:
        limit = begin + _BLOCK_CHARACTERS
        cuts = (body.rfind(mark, begin + 1, limit) for mark in ("\n\n", "\n", " "))
        end = next((cut for cut in cuts if cut > 0), limit)
        yield body[begin:end]
        begin = end
    yield body[begin:]


def count_words(text: str) -> int:
    """Return the number of words of a text. In scripts without spaces each character counts as one."""
    return sum(1 for _ in _WORD.finditer(text))
