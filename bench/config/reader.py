"""Reads a file of settings (YAML or JSON) with the line on which each key stands."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError

if TYPE_CHECKING:
    import yaml


_MOST_REPEATED = 10_000
"""Values that the uses of anchors may add to a file of settings."""


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
        root = yaml.compose(text, yaml.SafeLoader)
        _require_small(path, root)
        _require_values(path, root)
        settings = yaml.safe_load(text) or {}
    except RecursionError as error:
        raise BenchError(f"{path}: the YAML is nested too deeply") from error
    except BenchError:
        raise
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f":{mark.line + 1}" if mark else ""
        reason = str(getattr(error, "problem", None) or error).partition("\n")[0]
        raise BenchError(f"{path}{place}: not YAML: {reason}") from error
    for key, first, again in _repeated(root):
        raise BenchError(f"{path}:{again}: {key!r} is set twice, first in line {first}: remove one")
    return settings, _lines(root)


def _require_small(path: Path, root: yaml.Node | None) -> None:
    """Refuse anchors whose uses unfold to more than settings need, or that hold themselves.

    Raises:
        BenchError: they do. The message names the line.
    """
    own = sum(1 for _ in _nodes(root, set()))
    sizes: dict[int, int] = {}
    open_nodes: set[int] = set()

    def size(node: yaml.Node) -> int:
        if id(node) in open_nodes:
            raise BenchError(f"{path}:{_line(node)}: not YAML settings: an anchor holds itself")
        if id(node) not in sizes:
            open_nodes.add(id(node))
            sizes[id(node)] = 1 + sum(map(size, _children(node)))
            open_nodes.discard(id(node))
            if sizes[id(node)] > own + _MOST_REPEATED:
                raise BenchError(
                    f"{path}:{_line(node)}: not YAML settings: anchors unfold to more than {_MOST_REPEATED} values"
                )
        return sizes[id(node)]

    if root is not None:
        size(root)


def _require_values(path: Path, root: yaml.Node | None) -> None:
    """Refuse values that their tags do not fit, and integers that Python does not write.

    Raises:
        BenchError: there is such a value. The message names the line.
    """
    import yaml

    for node in _nodes(root, set()):
        if isinstance(node.value, list):
            continue
        try:
            value = yaml.SafeLoader("").construct_object(node)
            str(value)
        except yaml.YAMLError:  # which names the place itself when the file is loaded
            continue
        except Exception as error:  # a date that does not exist, `!!bool maybe`, an integer of 4,301 digits, ...
            reason = str(error).partition(";")[0]
            kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
            raise BenchError(f"{path}:{_line(node)}: not YAML: {kind}{reason}") from error


def _nodes(node: yaml.Node | None, seen: set[int]) -> Iterator[yaml.Node]:
    """Yield a node and all nodes below it, each once."""
    if node is not None and id(node) not in seen:
        seen.add(id(node))
        yield node
        for child in _children(node):
            yield from _nodes(child, seen)


def _children(node: yaml.Node) -> list[yaml.Node]:
    """Return the items of a list, or the keys and values of a mapping; nothing for a single value."""
    items = node.value if isinstance(node.value, list) else []
    return [part for item in items for part in (item if isinstance(item, tuple) else (item,))]


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
