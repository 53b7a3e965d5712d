"""The command line: each command is a module of `bench/commands`, found by its name.

A command's module holds its click command as `main`, and imports what it needs when the command runs. The first line of
its docstring is its summary, which the list of commands reads without importing the module: so help stays fast.

Exit codes: 0 success, 1 some cells failed or a check did not pass, 2 a mistake of the user, 130 interrupted.
"""

from __future__ import annotations

import importlib
import io
import os
import pkgutil
import sys
from collections.abc import Sequence
from pathlib import Path

import click
from click.shell_completion import shell_complete

from bench import __version__, commands
from bench.commands._options import Command
from bench.errors import BenchError

PROGRAM = "adaptbench"
COMPLETION = "_ADAPTBENCH_COMPLETE"
"""The variable by which click's completion scripts call the program."""
USAGE = 2
INTERRUPTED = 130
_ORDER = (
    "run", "tune", "status", "serve", "report", "compare", "recommend", "answer", "judge", "list", "import", "inspect",
    "clean", "check", "export",
)  # fmt: skip
"""The commands that the help lists first."""
_EPILOG = f"""\b
Examples:
  {PROGRAM} run      the default comparison: minutes, no network
  {PROGRAM} run --datasets my-folder --strategies frozen,lora --budget-steps 150
  {PROGRAM} report results/default      its tables and plots

\b
Completion (for zsh and fish, write zsh_source and fish_source):
  eval "$({COMPLETION}=bash_source {PROGRAM})"
"""


class Commands(click.Group, Command):
    """The commands of `bench/commands`; each module is imported when its command is needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, in the order of the help."""
        return list(command_modules())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, or None where there is none of this name."""
        stem = command_modules().get(cmd_name)
        return importlib.import_module(f"{commands.__name__}.{stem}").main if stem else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands with their summaries."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, _summary(stem)) for name, stem in command_modules().items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command of these arguments; the error for an unknown one names the nearest."""
        try:
            return super().resolve_command(ctx, args)
        except click.exceptions.NoSuchCommand as error:
            raise click.exceptions.NoSuchCommand(error.command_name, None, command_modules(), ctx) from None


@click.command(
    PROGRAM, cls=Commands, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]},
    help="Compare ways of adapting a retrieval embedding model to a domain, under one budget.",
)  # fmt: skip
@click.version_option(
    __version__, "-V", "--version", prog_name=PROGRAM, message="%(prog)s %(version)s", help="show the version"
)
def program() -> None:
    """Hold the commands: the group itself does nothing."""


def command_modules() -> dict[str, str]:
    """Return command -> module name for every command, in the order of the help."""
    stems = [module.name for module in pkgutil.iter_modules(commands.__path__) if not module.name.startswith("_")]
    names = {stem.rstrip("_").replace("_", "-"): stem for stem in stems}
    rank = {name: position for position, name in enumerate(_ORDER)}
    return dict(sorted(names.items(), key=lambda item: (rank.get(item[0], len(rank)), item[0])))


def _summary(stem: str) -> str:
    """Return the first line of the docstring of a command's module."""
    with (Path(commands.__path__[0]) / f"{stem}.py").open(encoding="utf-8") as source:
        return source.readline().strip().strip('"')


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    _print_everything()
    try:
        return _dispatch(arguments)
    except click.UsageError as error:
        message = error.format_message()
        end = "" if message.endswith((".", "?", ")")) else "."
        return _fail(f"{message}{end} See {error.ctx.command_path if error.ctx else PROGRAM} --help.", USAGE)
    except BenchError as error:
        return _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        return _fail("interrupted", INTERRUPTED)
    except BrokenPipeError:
        # The reader of a pipe has had enough (`| head`). That is no error, and nothing may be flushed at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # a file or folder that cannot be read or written, wherever it was met
        from bench.data.files import full_disk_hint

        reason = (error.strerror or f"{type(error).__name__}: {error}".partition("\n")[0]) + full_disk_hint(error)
        return _fail(f"{error.filename}: {reason}" if error.filename is not None else reason, USAGE)


def _print_everything() -> None:
    """Let a terminal that lacks a character print a replacement for it, and not end the command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _dispatch(arguments: list[str]) -> int:
    if instruction := os.environ.get(COMPLETION):
        return shell_complete(program, {}, PROGRAM, COMPLETION, instruction)
    if arguments in ([], ["help"]):
        arguments = ["--help"]
    try:
        with program.make_context(PROGRAM, list(arguments), obj=arguments) as context:
            return int(program.invoke(context) or 0)
    except click.exceptions.Exit as stop:  # help and version end a command this way
        return stop.exit_code


def _fail(message: str, exit_code: int) -> int:
    """Print why a command ended, in one line, and return its exit code."""
    sys.stderr.write(f"{PROGRAM}: {message}\n")
    return exit_code
