"""Strategy expressions: `lora`, `lora(r=16)`, `hybrid(lora, method=rrf)`, `distill(lora, teacher=hybrid(full))`.

    expression = name [ "(" argument { "," argument } ")" ]
    argument   = expression | key "=" expression
    name       = a strategy, a `module:Class`, a base model, a value; quoted if it holds , ( ) = or spaces

`run:FILE` is short for `run(file=FILE)`. What an argument means (a part, a base model, a plain value) depends on the
strategy at the head: `bench.planning.plan` decides it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from bench.errors import BenchError

_TOKEN = re.compile(r"""\s*(?:(?P<quoted>"[^"]*"|'[^']*')|(?P<sign>[(),=])|(?P<name>[^\s(),='"]+))""")
_PLAIN = re.compile(r"""[^\s(),='"]+\Z""")
_RUN = "run:"
_RUN_NAME = _RUN.removesuffix(":")


class ExpressionError(BenchError):
    """A strategy expression cannot be read; the text shows where."""


@dataclass(frozen=True)
class Expression:
    """A parsed strategy expression. `str()` gives its canonical form, by which two spellings are the same strategy."""

    name: str
    arguments: tuple[Expression, ...] = ()
    """Positional arguments, in order."""
    options: tuple[tuple[str, Expression], ...] = ()
    """Keyword arguments, ordered by key."""

    @property
    def is_name(self) -> bool:
        """Whether there is nothing but a name, so that it may as well be a plain value."""
        return not self.arguments and not self.options

    def __str__(self) -> str:
        if self.name == _RUN_NAME and [key for key, _ in self.options] == ["file"] and not self.arguments:
            file = str(self.options[0][1])
            if _PLAIN.match(file):
                return f"{_RUN}{file}"
        name = self.name if _PLAIN.match(self.name) else f'"{self.name}"'
        inside = [str(part) for part in self.arguments] + [f"{key}={value}" for key, value in self.options]
        return f"{name}({', '.join(inside)})" if inside else name


def parse(text: str) -> Expression:
    """Parse one expression.

    Raises:
        ExpressionError: it is not one; the text says what was expected and where.
    """
    found = parse_list(text)
    if len(found) != 1:
        raise ExpressionError(f"{text!r} is not one strategy but {len(found)}")
    return found[0]


def parse_list(text: str) -> list[Expression]:
    """Parse expressions separated by commas.

    Raises:
        ExpressionError: one of them cannot be read, or there is none.
    """
    reader = _Reader(text)
    found = [reader.expression()]
    while reader.take(","):
        found.append(reader.expression())
    if reader.position < len(reader.tokens):
        reader.fail("a comma or the end")
    return found


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens: list[tuple[str, str, int]] = []
        self.position = 0
        offset, end = 0, len(text.rstrip())
        while offset < end:
            match = _TOKEN.match(text, offset)
            if match is None:
                raise ExpressionError(f"strategy {text!r}: a quotation mark at character {offset + 1} is not closed")
            kind = match.lastgroup or ""
            value = match.group(kind)
            self.tokens.append((kind, value[1:-1] if kind == "quoted" else value, match.start(kind)))
            offset = match.end()

    def fail(self, wanted: str) -> None:
        if self.position < len(self.tokens):
            _, value, offset = self.tokens[self.position]
            found = f"{value!r} at character {offset + 1}"
        else:
            found = "the end"
        raise ExpressionError(f"strategy {self.text!r}: expected {wanted}, found {found}")

    def take(self, sign: str) -> bool:
        if self.position < len(self.tokens) and self.tokens[self.position][:2] == ("sign", sign):
            self.position += 1
            return True
        return False

    def name(self) -> tuple[str, bool]:
        if self.position >= len(self.tokens) or self.tokens[self.position][0] == "sign":
            self.fail("a name")
        kind, value, _ = self.tokens[self.position]
        self.position += 1
        return value, kind == "quoted"

    def expression(self) -> Expression:
        name, quoted = self.name()
        if not quoted and name.startswith(_RUN):
            file = name.removeprefix(_RUN) or self.name()[0]
            return Expression(_RUN_NAME, options=(("file", Expression(file)),))
        arguments: list[Expression] = []
        options: dict[str, Expression] = {}
        if self.take("("):
            while not self.take(")"):
                self.argument(arguments, options)
                if not self.take(","):
                    if not self.take(")"):
                        self.fail("a comma or a closing parenthesis")
                    break
        return Expression(name, tuple(arguments), tuple(sorted(options.items())))

    def argument(self, arguments: list[Expression], options: dict[str, Expression]) -> None:
        value = self.expression()
        if not self.take("="):
            arguments.append(value)
            return
        if not value.is_name:
            self.fail("an option's name before '='")
        if value.name in options:
            raise ExpressionError(f"strategy {self.text!r}: option {value.name!r} is given twice")
        options[value.name] = self.expression()
