"""Words with a little markup, written once and shown as Markdown, HTML or plain text.

Sentences are ordinary strings. `code` and `strong` wrap a part of them in private-use characters, which survive
escaping; everything else is data and is escaped by the renderer. So a strategy named `<script>` or `a|b` is harmless
wherever it stands, and no sentence has to remember to escape.
"""

from __future__ import annotations

import html
import re

_CODE, _CODE_END, _STRONG, _STRONG_END = "\ue000", "\ue001", "\ue002", "\ue003"
_MARKS = re.compile("[\ue000-\ue003]")
_CODED = re.compile(f"{_CODE}(.*?){_CODE_END}", re.DOTALL)
_MARKDOWN_SPECIAL = re.compile(r"[\\`*_\[\]|~$]|<(?=[A-Za-z/!?])")
_MARKDOWN_START = re.compile(r"^(\s*)([#>]|[+\-](?=\s)|\d+(?=[.)]\s))")
"""What would begin a heading, a quotation or a list."""


def clean(text: object) -> str:
    """Return `text` on one line, without control characters and without the marks of this module."""
    one_line = re.sub(r"\s+", " ", str(text)).strip()
    return "".join(char for char in _MARKS.sub("", one_line) if char.isprintable())


def code(name: object) -> str:
    """Mark a name (strategy, dataset, command) as code."""
    return f"{_CODE}{clean(name)}{_CODE_END}"


def strong(text: str) -> str:
    """Mark words as important; they may hold `code`."""
    return f"{_STRONG}{text}{_STRONG_END}"


def to_plain(text: str) -> str:
    """Return the words without markup."""
    return _MARKS.sub("", text)


def to_html(text: str) -> str:
    """Return the words as an HTML fragment; everything but our own marks is escaped."""
    escaped = html.escape(text, quote=True)
    for mark, tag in ((_CODE, "<code>"), (_CODE_END, "</code>"), (_STRONG, "<strong>"), (_STRONG_END, "</strong>")):
        escaped = escaped.replace(mark, tag)
    return escaped


def to_markdown(text: str) -> str:
    """Return the words as Markdown that holds inside a line or a table cell; all but our own marks is escaped."""
    pieces, position = [], 0
    for match in _CODED.finditer(text):
        pieces += [_escape_markdown(text[position : match.start()]), _code_span(match.group(1))]
        position = match.end()
    pieces.append(_escape_markdown(text[position:]))
    return "".join(pieces).replace(_STRONG, "**").replace(_STRONG_END, "**")


def to_markdown_line(text: str) -> str:
    """Return the words as Markdown that may begin a line: nothing in them begins a heading, a quotation or a list."""
    return _MARKDOWN_START.sub(_escape_start, to_markdown(text))


def _escape_markdown(text: str) -> str:
    return _MARKDOWN_SPECIAL.sub(lambda match: f"\\{match.group()}", text).replace("&", "&amp;")


def _escape_start(match: re.Match[str]) -> str:
    space, mark = match.groups()
    return f"{space}{mark}\\" if mark.isdigit() else f"{space}\\{mark}"


def _code_span(name: str) -> str:
    """A code span that holds in a table; not every reader lets a bar be escaped there, so such names stay plain."""
    if "|" in name or "\\" in name:
        return _escape_markdown(name)
    fence = "`" * (max((len(run) for run in re.findall("`+", name)), default=0) + 1)
    pad = " " if name.startswith("`") or name.endswith("`") else ""
    return f"{fence}{pad}{name}{pad}{fence}" if name else ""
