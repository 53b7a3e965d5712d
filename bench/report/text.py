"""Text with a little markup, which renders as Markdown, HTML or plain text.

A sentence is an ordinary string. `code` and `strong` wrap a part of it in private-use characters, which survive
escaping. The renderers escape everything else. A strategy named `<script>` or `a|b` is therefore harmless in any
sentence, and no sentence has to escape it.
"""

from __future__ import annotations

import html
import re

_CODE, _CODE_END, _STRONG, _STRONG_END = "\ue000", "\ue001", "\ue002", "\ue003"
_MARKS = re.compile("[\ue000-\ue003]")
_CODED = re.compile(f"{_CODE}(.*?){_CODE_END}", re.DOTALL)
_MARKDOWN_SPECIAL = re.compile(r"[\\`*_\[\]|~$]|<(?=[A-Za-z/!?])")
_MARKDOWN_START = re.compile(r"^(\s*)([#>]|[+\-](?=\s)|\d+(?=[.)]\s))")
"""Characters that begin a heading, a quotation or a list at the start of a line."""


def clean(text: object) -> str:
    """Return `text` on one line, without control characters and without the marks of this module."""
    one_line = re.sub(r"\s+", " ", str(text)).strip()
    return "".join(char for char in _MARKS.sub("", one_line) if char.isprintable())


def code(name: object) -> str:
    """Mark a name (strategy, dataset, command) as code."""
    return f"{_CODE}{clean(name)}{_CODE_END}"


def strong(text: str) -> str:
    """Mark words as important; they may contain `code`."""
    return f"{_STRONG}{text}{_STRONG_END}"


def to_plain(text: str) -> str:
    """Return the text without markup."""
    return _MARKS.sub("", text)


def to_html(text: str) -> str:
    """Return the text as an HTML fragment; everything except our marks is escaped."""
    escaped = html.escape(text, quote=True)
    for mark, tag in ((_CODE, "<code>"), (_CODE_END, "</code>"), (_STRONG, "<strong>"), (_STRONG_END, "</strong>")):
        escaped = escaped.replace(mark, tag)
    return escaped


def to_markdown(text: str) -> str:
    """Return the text as Markdown for use inside a line or table cell; everything except our marks is escaped."""
    pieces, position = [], 0
    for match in _CODED.finditer(text):
        pieces += [_escape_markdown(text[position : match.start()]), _code_span(match.group(1))]
        position = match.end()
    pieces.append(_escape_markdown(text[position:]))
    return "".join(pieces).replace(_STRONG, "**").replace(_STRONG_END, "**")


def to_markdown_line(text: str) -> str:
    """Return the text as Markdown for the start of a line, where it begins no heading, quotation or list."""
    return _MARKDOWN_START.sub(_escape_start, to_markdown(text))


def _escape_markdown(text: str) -> str:
    return _MARKDOWN_SPECIAL.sub(lambda match: f"\\{match.group()}", text).replace("&", "&amp;")


def _escape_start(match: re.Match[str]) -> str:
    space, mark = match.groups()
    return f"{space}{mark}\\" if mark.isdigit() else f"{space}\\{mark}"


def _code_span(name: str) -> str:
    """Return a code span for use in a table. Names with a bar stay plain, because some readers split them there."""
    if "|" in name or "\\" in name:
        return _escape_markdown(name)
    fence = "`" * (max((len(run) for run in re.findall("`+", name)), default=0) + 1)
    pad = " " if name.startswith("`") or name.endswith("`") else ""
    return f"{fence}{pad}{name}{pad}{fence}" if name else ""
