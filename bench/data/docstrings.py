"""Reads the docstrings of installed packages from their sources with `ast`, without importing or running them."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.data.text import sentences, words
from bench.errors import DataError

MODULES = {"scikit-learn": "sklearn"}
"""Distribution -> name of its module, where the names differ."""
_SKIPPED = {"tests", "test", "testing", "conftest", "setup", "externals", "_vendor", "_examples", "benchmarks"}
_QUERY_WORDS = range(4, 41)
_DOCUMENT_WORDS = 20
"""Words that a summary must have to serve as a query, and words that a document must have at least."""
_SIGNATURE_LIKE = re.compile(r"^[\w.,\s]*=?\s*[\w.]+\(.*\)$|^\.\. |^>>> |%\(\w+\)s")

_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True, order=True)
class Docstring:
    """A documented object. Its summary sentence is the query, and the rest of its docstring is the document."""

    name: str
    """The full name at its definition: `scipy.stats._stats_py.ttest_ind`."""
    module: str
    query: str
    document: str


def source_folder(distribution: str) -> Path:
    """Return the folder of a package's sources, without importing the package.

    Raises:
        DataError: the package is not installed as a folder of Python files.
    """
    module = MODULES.get(distribution, distribution.replace("-", "_"))
    spec = importlib.util.find_spec(module)
    locations = list(spec.submodule_search_locations or ()) if spec else []
    if not locations or not Path(locations[0]).is_dir():
        raise DataError(f"pydocs reads {distribution}, which is not installed (pip install {distribution})")
    return Path(locations[0])


def source_files(folder: Path) -> list[Path]:
    """Return the Python files of a package in a fixed order, without tests and vendored code."""
    files = []
    for path in sorted(folder.rglob("*.py"), key=lambda path: path.relative_to(folder).parts):
        parts = (*path.relative_to(folder).parts[:-1], path.stem)
        if not any(part in _SKIPPED or part.startswith("test_") for part in parts):
            files.append(path)
    return files


def read_package(folder: Path) -> Iterator[Docstring]:
    """Yield the documented public functions, classes and methods of a package, each at its definition.

    Private names and re-exports are skipped. A name that is defined twice (behind a condition, or with a setter)
    counts at its first docstring.

    Raises:
        DataError: a file cannot be parsed. The message names the line.
    """
    for path in source_files(folder):
        relative = path.relative_to(folder.parent).with_suffix("")
        module = ".".join(relative.parts).removesuffix(".__init__")
        try:
            tree = ast.parse(path.read_bytes())
        except SyntaxError as error:
            raise DataError(f"{path}:{error.lineno}: cannot be parsed: {error.msg}") from error
        seen: set[str] = set()
        for name, node in _public(tree.body, module):
            if name not in seen and (entry := _entry(name, module, node)):
                seen.add(name)
                yield entry


def _public(body: Iterable[ast.stmt], prefix: str) -> Iterator[tuple[str, _Definition]]:
    for node in body:
        if isinstance(node, ast.If | ast.Try):
            yield from _public([*node.body, *node.orelse], prefix)
        elif isinstance(node, _Definition) and not node.name.startswith("_"):
            name = f"{prefix}.{node.name}"
            yield name, node
            if isinstance(node, ast.ClassDef):
                yield from _public(node.body, name)


def _entry(name: str, module: str, node: _Definition) -> Docstring | None:
    """Return the query and document of a definition, or None if its docstring is too short."""
    docstring = ast.get_docstring(node, clean=False)
    if not docstring:
        return None
    paragraph, _, rest = inspect.cleandoc(docstring).partition("\n\n")
    first, *others = sentences(" ".join(paragraph.split())) if paragraph.strip() else [""]
    if len(words(first)) not in _QUERY_WORDS or _SIGNATURE_LIKE.search(first):
        return None
    remainder = "\n\n".join(part for part in (" ".join(others), rest.strip()) if part)
    if len(words(remainder)) < _DOCUMENT_WORDS:
        return None
    return Docstring(name, module, first, f"{_signature(node)}\n{remainder}")


def _signature(node: _Definition) -> str:
    """Return the arguments in parentheses, without the object's name, `self` or `cls`."""
    if isinstance(node, ast.ClassDef):
        initialisers = [n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"]
        if not initialisers:
            return "()"
        node = initialisers[0]
    arguments = ast.unparse(node.args)
    return f"({re.sub(r'^(self|cls)(, (/, )?|$)', '', arguments)})"
