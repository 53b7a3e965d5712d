"""The command line: which commands there are. Each is a module in `bench/commands` that does the work.

A command's module has `SUMMARY` (one line), `add_arguments(parser)` and `run(args) -> exit code`, and imports what it
needs when it runs. The table is made without importing any of them: `--help` reads their summaries from the source.

Exit codes: 0 all is well, 1 some cells failed or a check did not pass, 2 a mistake of the user's, 130 interrupted.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import os
import pkgutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from bench import __version__
from bench.errors import BenchError, did_you_mean

USAGE = 2
INTERRUPTED = 130
_ORDER = (
    "run",
    "tune",
    "report",
    "compare",
    "recommend",
    "list",
    "import",
    "inspect",
    "clean",
    "check",
    "export",
    "similarity",
    "speed",
)
_EXAMPLES = """\
examples:
  adaptbench run                                     the embedded model, corpus and strategies; minutes, no network
  adaptbench run --datasets my-folder --strategies frozen,lora --budget-steps 150
  adaptbench report results/default                  tables and plots of what stands
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        return _dispatch(arguments)
    except BenchError as error:
        sys.stderr.write(f"adaptbench: {error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("adaptbench: interrupted\n")
        return INTERRUPTED
    except BrokenPipeError:
        # the reader of a pipe has had enough (`| head`): not an error, and nothing may be flushed at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # a file or folder that cannot be read or written, wherever it was met
        sys.stderr.write(f"adaptbench: {_reason(error)}\n")
        return USAGE


def _reason(error: OSError) -> str:
    """Return what could not be used and why, in one line."""
    reason = error.strerror or f"{type(error).__name__}: {error}".partition("\n")[0]
    return f"{error.filename}: {reason}" if error.filename is not None else reason


def command_modules() -> dict[str, str]:
    """Return command -> module name for every command there is, in the order in which help lists them."""
    from bench import commands

    stems = [module.name for module in pkgutil.iter_modules(commands.__path__) if not module.name.startswith("_")]
    names = {stem.rstrip("_").replace("_", "-"): stem for stem in stems}
    return dict(sorted(names.items(), key=lambda item: (_rank(item[0]), item[0])))


def _rank(name: str) -> int:
    return _ORDER.index(name) if name in _ORDER else len(_ORDER)


def _dispatch(arguments: list[str]) -> int:
    known = command_modules()
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        sys.stdout.write(_help(known))
        return 0
    if arguments[0] in ("-V", "--version"):
        sys.stdout.write(f"adaptbench {__version__}\n")
        return 0
    name = arguments[0]
    if name not in known:
        kind = "option" if name.startswith("-") else "command"
        raise BenchError(f"unknown {kind} {name!r}{did_you_mean(name, known) or '.'} Commands: {', '.join(known)}.")
    module: Any = importlib.import_module(f"bench.commands.{known[name]}")
    parser = Parser(prog=f"adaptbench {name}", description=module.SUMMARY)
    module.add_arguments(parser)
    args = parser.parse_args(arguments[1:])
    args.argv = arguments
    return int(module.run(args))


def _help(known: dict[str, str]) -> str:
    """Return the table of commands; the summaries are read, not imported, so that help is fast."""
    width = max(map(len, known)) + 2
    rows = "\n".join(f"  {name:<{width}}{_summary(module)}" for name, module in known.items())
    return (
        "usage: adaptbench COMMAND [options]      (or: python -m bench COMMAND [options])\n\n"
        "Compare ways of adapting a retrieval embedding model to a domain, under one budget.\n\n"
        f"commands:\n{rows}\n\n{_EXAMPLES}\n"
        "adaptbench COMMAND --help says what a command takes; adaptbench --version which version this is.\n"
    )


def _summary(stem: str) -> str:
    source = (Path(__file__).parent / "commands" / f"{stem}.py").read_text(encoding="utf-8")
    for node in ast.parse(source).body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if isinstance(target, ast.Name) and target.id == "SUMMARY":
            return str(ast.literal_eval(node.value))  # type: ignore[attr-defined]
    return ""


class Parser(argparse.ArgumentParser):
    """A parser that suggests the option that was meant, and fails as all mistakes of the user's do."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=_Formatter, **settings)

    def error(self, message: str) -> NoReturn:
        """Raise what `main` prints in one line."""
        raise BenchError(f"{message} ({self.prog} --help lists the options)")

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse, naming the nearest option where one is not known."""
        found, rest = self.parse_known_args(args, namespace)
        if rest:
            options = [option for action in self._actions for option in action.option_strings]
            hint = did_you_mean(rest[0].partition("=")[0], options) if rest[0].startswith("-") else ""
            self.error(f"unknown {'option' if rest[0].startswith('-') else 'argument'} {rest[0]!r}{hint}")
        return found


class _Formatter(argparse.HelpFormatter):
    def __init__(self, prog: str, **settings: Any) -> None:
        super().__init__(prog, max_help_position=30, **settings)
