"""Reads a file of settings (YAML or JSON) with the line on which each key stands."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError

if TYPE_CHECKING:
    import yaml


def read_yaml(path: Path) -> tuple[Any, dict[str, int]]:
    """Return the content of a file, and key -> line for the keys at its top level.

    Raises:
        BenchError: the file does not exist, is not UTF-8 or not YAML, or sets a key twice; with the line.
    """
    import yaml

    try:
        content = path.read_bytes()
    except OSError as error:
        raise BenchError(f"{path}: {error.strerror}") from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise BenchError(f"{path}:{line}: not UTF-8 ({error.reason}); save the file as UTF-8") from error
    try:
        settings, root = yaml.safe_load(text) or {}, yaml.compose(text)
    except (yaml.YAMLError, ValueError) as error:  # a date that does not exist is a ValueError
        mark = getattr(error, "problem_mark", None)
        place = f":{mark.line + 1}" if mark else ""
        reason = str(getattr(error, "problem", None) or error).partition("\n")[0]
        raise BenchError(f"{path}{place}: not YAML: {reason}") from error
    for key, first, again in _repeated(root):
        raise BenchError(f"{path}:{again}: {key!r} is set twice, first in line {first}: remove one")
    return settings, _lines(root)


def _lines(node: yaml.Node | None) -> dict[str, int]:
    import yaml

    return {str(key.value): _line(key) for key, _ in node.value} if isinstance(node, yaml.MappingNode) else {}


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _repeated(node: yaml.Node | None) -> Iterator[tuple[str, int, int]]:
    """Yield each key that its mapping sets twice, with both lines: YAML would silently take the last."""
    import yaml

    if isinstance(node, yaml.SequenceNode):
        for each in node.value:
            yield from _repeated(each)
    if isinstance(node, yaml.MappingNode):
        lines: dict[str, int] = {}
        for key, value in node.value:
            if str(key.value) in lines:
                yield str(key.value), lines[str(key.value)], _line(key)
            lines[str(key.value)] = _line(key)
            yield from _repeated(value)
