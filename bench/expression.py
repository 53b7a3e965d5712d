"""Strategy expressions: `lora`, `lora(r=16)`, `hybrid(lora, method=rrf)`, `distill(lora, teacher=hybrid(full))`.

    expression = name [ "(" [ argument { "," argument } [ "," ] ] ")" ]
    argument   = expression | key "=" expression
    name       = a strategy, an objective, a `module:Class`, a base model, a dataset, a number, ...

Arguments and options nest, and there may be any number of them: `full(objective=listwise(teacher=rerank(frozen)))`.
A name that holds spaces or one of `( ) , = ' " { }` is quoted; a quotation mark inside is written twice. `run:FILE` is
short for `run(file=FILE)`. Braces stand for one expression for each of their items: `lora(r={4,8})` is
`lora(r=4), lora(r=8)`. What an argument means depends on the strategy in front of it: see `bench.planning`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import NoReturn

from bench.errors import BenchError

_QUOTED = r"""(?P<quoted>"(?:[^"]|"")*+"|'(?:[^']|'')*+')"""
_TOKEN = re.compile(rf"""\s*(?:{_QUOTED}|(?P<sign>[(),={{}}])|(?P<name>[^\s(),={{}}'"]+))""")
_PLAIN = re.compile(r"""[^\s(),={}'"]+\Z""")
_SWEEP_SIGN = re.compile(rf"{_QUOTED}|(?P<sign>[(){{}},])")
_RUN = "run"
_RUN_PREFIX = f"{_RUN}:"
_DEPTH = 50
"""Levels of parentheses that an expression may have."""
_MOST = 1000
"""Expressions that braces may stand for."""


class ExpressionError(BenchError):
    """A strategy expression cannot be read. The message says what was expected, and where."""


@dataclass(frozen=True)
class Expression:
    """A parsed expression. `str()` is the same for spellings that differ in spaces, quotes and order."""

    name: str
    arguments: tuple[Expression, ...] = ()
    """Positional arguments, in order."""
    options: tuple[tuple[str, Expression], ...] = ()
    """Keyword arguments, ordered by key."""

    @property
    def is_name(self) -> bool:
        """Whether the expression is only a name, which may also be a plain value."""
        return not self.arguments and not self.options

    def names(self) -> Iterator[str]:
        """Yield its own name, then those in its arguments and options, values of options included."""
        yield self.name
        for inner in (*self.arguments, *(value for _, value in self.options)):
            yield from inner.names()

    def __str__(self) -> str:
        if self.name == _RUN and not self.arguments and [key for key, _ in self.options] == ["file"]:
            file = str(self.options[0][1])
            if _PLAIN.match(file):
                return f"{_RUN_PREFIX}{file}"
        inside = [str(argument) for argument in self.arguments]
        inside += [f"{_quoted(key)}={value}" for key, value in self.options]
        return f"{_quoted(self.name)}({', '.join(inside)})" if inside else _quoted(self.name)


def _quoted(name: str) -> str:
    """Return a name as it is written in an expression, in quotation marks where it needs them."""
    if _PLAIN.match(name) and not name.startswith(_RUN_PREFIX):
        return name
    doubled = name.replace('"', '""')
    return f'"{doubled}"'


def parse(text: str, title: str = "strategy") -> Expression:
    """Return the expression that a text holds.

    Args:
        text: the expression.
        title: what messages call it.

    Raises:
        ExpressionError: the text is not one expression; the message says what was expected, and where.
    """
    expressions = parse_list(text, title)
    if len(expressions) != 1:
        raise ExpressionError(f"{text!r} is not one {title} but {len(expressions)}")
    return expressions[0]


def parse_list(text: str, title: str = "strategy") -> list[Expression]:
    """Return the expressions that a text holds, separated by commas. Braces stand for several.

    Args:
        text: the expressions.
        title: what messages call one of them.

    Raises:
        ExpressionError: one of them cannot be read, there is none, or braces stand for too many.
    """
    expressions: list[Expression] = []
    for plain in _without_braces(text, title):
        expressions += _plain_list(plain, title)
        if len(expressions) > _MOST:
            raise ExpressionError(f"{title} {text[:40]!r}...: the braces stand for more than {_MOST:,} expressions")
    return expressions


def _without_braces(text: str, title: str) -> Iterator[str]:
    """Yield the text once for each item of its first braces, and so on for the braces that are left."""
    begin, ends, depth = -1, [], 0
    for match in _SWEEP_SIGN.finditer(text):
        sign = match.group("sign")
        if begin < 0:
            if sign == "{":
                begin, ends = match.start(), [match.start()]
        elif sign in ("(", "{"):
            depth += 1
            if depth > _DEPTH:
                raise ExpressionError(f"{title} {text[:40]!r}...: more than {_DEPTH} levels of brackets")
        elif sign == "," and depth == 0:
            ends.append(match.start())
        elif sign == "}" and depth == 0:
            ends.append(match.start())
            for first, last in pairwise(ends):
                yield from _without_braces(text[:begin] + text[first + 1 : last] + text[match.end() :], title)
            return
        elif sign in (")", "}"):
            depth -= 1
    yield text


def _plain_list(text: str, title: str) -> list[Expression]:
    """Return the expressions of a text without braces."""
    reader = _Reader(text, title)
    expressions = [reader.expression()]
    while reader.take(","):
        expressions.append(reader.expression())
    if reader.position < len(reader.tokens):
        reader.fail("a comma or the end")
    return expressions


class _Reader:
    """Reads the tokens of a text from left to right."""

    def __init__(self, text: str, title: str) -> None:
        self.text, self.title = text, title
        self.tokens: list[tuple[str, str, int]] = []
        """Kind (`quoted`, `sign` or `name`), value and offset of each token."""
        self.position = 0
        self.depth = 0
        offset, end = 0, len(text.rstrip())
        while offset < end:
            match = _TOKEN.match(text, offset)
            if match is None:
                raise ExpressionError(f"{title} {text!r}: a quotation mark at character {offset + 1} is not closed")
            kind = match.lastgroup or ""
            value = match.group(kind)
            if kind == "quoted":
                mark = value[0]
                value = value[1:-1].replace(mark + mark, mark)
            self.tokens.append((kind, value, match.start(kind)))
            offset = match.end()

    def fail(self, expected: str) -> NoReturn:
        if self.position < len(self.tokens):
            _, value, offset = self.tokens[self.position]
            found = f"{value!r} at character {offset + 1}"
        else:
            found = "the end"
        raise ExpressionError(f"{self.title} {self.text!r}: expected {expected}, found {found}")

    def take(self, sign: str) -> bool:
        """Whether the next token is this sign; if so, go past it."""
        if self.position < len(self.tokens) and self.tokens[self.position][:2] == ("sign", sign):
            self.position += 1
            return True
        return False

    def name(self) -> tuple[str, bool]:
        """Return the next token, which must be a name, and whether it was quoted."""
        if self.position >= len(self.tokens) or self.tokens[self.position][0] == "sign":
            self.fail("a name")
        kind, value, _ = self.tokens[self.position]
        self.position += 1
        return value, kind == "quoted"

    def expression(self) -> Expression:
        name, quoted = self.name()
        if not quoted and name.startswith(_RUN_PREFIX):
            file = name.removeprefix(_RUN_PREFIX) or self.name()[0]
            return Expression(_RUN, options=(("file", Expression(file)),))
        arguments: list[Expression] = []
        options: dict[str, Expression] = {}
        if self.take("("):
            self.depth += 1
            if self.depth > _DEPTH:
                raise ExpressionError(f"{self.title} {self.text[:40]!r}...: more than {_DEPTH} levels of parentheses")
            while not self.take(")"):
                self.argument(arguments, options)
                if not self.take(","):
                    if not self.take(")"):
                        self.fail("a comma or a closing parenthesis")
                    break
            self.depth -= 1
        return Expression(name, tuple(arguments), tuple(sorted(options.items())))

    def argument(self, arguments: list[Expression], options: dict[str, Expression]) -> None:
        """Read one argument into the arguments, or into the options if a key stands in front of it."""
        value = self.expression()
        if not self.take("="):
            arguments.append(value)
            return
        if not value.is_name:
            self.fail("an option's name before '='")
        if value.name in options:
            raise ExpressionError(f"{self.title} {self.text!r}: option {value.name!r} is set twice")
        options[value.name] = self.expression()
