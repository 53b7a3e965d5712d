"""`completion SHELL`: a script by which a shell completes commands, options and names."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.errors import unknown

SUMMARY = "print a script that completes commands, options and names in bash, zsh or fish"
PROGRAM = "adaptbench"
_FILES = ("DIR", "FILE")
_FIXED = {
    "executor": ("local",),
    "precision": ("auto", "bf16", "fp32"),
    "overwrite": ("never", "failed", "always"),
    "device": ("auto", "cpu", "cuda", "mps"),
}
_EPILOG = """\
to use it now:     eval "$(adaptbench completion bash)"
in every session:  adaptbench completion bash >> ~/.bashrc
                   adaptbench completion zsh >> ~/.zshrc
                   adaptbench completion fish > ~/.config/fish/completions/adaptbench.fish
Names of strategies and datasets are those of today: make it again after adding some.
"""


@dataclass(frozen=True)
class Option:
    """One option of a command, as a shell needs to know it."""

    flags: tuple[str, ...]
    help: str
    takes_value: bool
    values: tuple[str, ...] = ()
    """What it may be given; empty where that is a file or anything."""


@dataclass(frozen=True)
class Command:
    """One command and what may follow it."""

    name: str
    summary: str
    options: tuple[Option, ...]
    words: tuple[str, ...] = ()
    """What its first argument may be, where that is no option and no file."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("shell", metavar="SHELL", choices=tuple(SCRIPTS), help="bash, zsh or fish")
    parser.epilog = _EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter


def run(args: argparse.Namespace) -> int:
    """Print the script."""
    sys.stdout.write(script(args.shell, list(commands())))
    return 0


def script(shell: str, known: Sequence[Command]) -> str:
    """Return the script of a shell.

    Raises:
        BenchError: there is none for it.
    """
    if shell not in SCRIPTS:
        raise unknown("shell", shell, SCRIPTS)
    return SCRIPTS[shell](known)


def commands() -> Iterator[Command]:
    """Yield every command with its options, read off its parser."""
    import importlib

    from bench.cli import Parser, command_modules

    names = _names()
    for name, stem in command_modules().items():
        module = importlib.import_module(f"bench.commands.{stem}")
        parser = Parser(prog=f"{PROGRAM} {name}")
        module.add_arguments(parser)
        options: list[Option] = []
        words: tuple[str, ...] = ()
        for action in parser._actions:
            if action.option_strings:
                options.append(_option(action, names))
            elif name == "list":
                words = words or ("strategies", "datasets", "models")
            elif action.choices:
                words = words or tuple(map(str, action.choices))
        yield Command(name, module.SUMMARY, tuple(options), words)


def _names() -> dict[str, tuple[str, ...]]:
    from bench.data.catalogue import catalogue
    from bench.planning.registry import Registry

    strategies, datasets = tuple(Registry().names()), tuple(catalogue())
    return {
        **dict.fromkeys(("strategies", "strategy", "baseline"), strategies),
        **dict.fromkeys(("datasets", "dataset", "probes"), datasets),
        **_FIXED,
    }


def _option(action: argparse.Action, names: dict[str, tuple[str, ...]]) -> Option:
    is_file = isinstance(action.metavar, str) and action.metavar in _FILES
    values = tuple(map(str, action.choices)) if action.choices else () if is_file else names.get(action.dest, ())
    return Option(tuple(action.option_strings), (action.help or "").replace("%%", "%"), action.nargs != 0, values)


# --- scripts --------------------------------------------------------------------------------------------------------


def _bash(known: Sequence[Command]) -> str:
    """Lists are completed after their last comma; where nothing is known of a value, files are offered."""
    every = " ".join([*(command.name for command in known), "--help", "--version"])
    cases = []
    for command in known:
        flags = " ".join(flag for option in command.options for flag in option.flags)
        values = "".join(
            f"      {'|'.join(option.flags)}) _{PROGRAM}_values {shlex.quote(' '.join(option.values))}; return ;;\n"
            for option in command.options
            if option.takes_value and option.values
        )
        others = "|".join(flag for o in command.options if o.takes_value and not o.values for flag in o.flags)
        others = f"      {others}) return ;;\n" if others else ""
        first = shlex.quote(" ".join(command.words))
        words = f'    [[ $COMP_CWORD -eq 2 ]] && COMPREPLY=($(compgen -W {first} -- "$cur"))\n' if command.words else ""
        cases.append(
            f'  {command.name})\n    case "$prev" in\n{values}{others}    esac\n'
            f'    if [[ "$cur" == -* ]]; then COMPREPLY=($(compgen -W {shlex.quote(flags)} -- "$cur")); return; fi\n'
            f"{words}    ;;\n"
        )
    return (
        f"_{PROGRAM}_values() {{\n"
        '  local head=""\n'
        '  [[ "$cur" == *,* ]] && head="${cur%,*},"\n'
        '  COMPREPLY=($(compgen -P "$head" -W "$1" -- "${cur##*,}"))\n'
        "}\n\n"
        f"_{PROGRAM}() {{\n"
        '  local cur="${COMP_WORDS[COMP_CWORD]}" prev="${COMP_WORDS[COMP_CWORD-1]}"\n'
        "  COMPREPLY=()\n"
        f'  if [[ $COMP_CWORD -eq 1 ]]; then COMPREPLY=($(compgen -W {shlex.quote(every)} -- "$cur")); return; fi\n'
        f'  case "${{COMP_WORDS[1]}}" in\n{"".join(cases)}  esac\n}}\n\n'
        f"complete -o default -F _{PROGRAM} {PROGRAM}\n"
    )


def _zsh(known: Sequence[Command]) -> str:
    """The same script: zsh runs bash's completions."""
    return (
        f"autoload -U +X compinit bashcompinit\n(( $+functions[compdef] )) || compinit\nbashcompinit\n\n{_bash(known)}"
    )


def _fish(known: Sequence[Command]) -> str:
    lines = [f"complete -c {PROGRAM} -e", f"complete -c {PROGRAM} -n __fish_use_subcommand -f"]
    for command in known:
        lines.append(
            f"complete -c {PROGRAM} -n __fish_use_subcommand -f -a {command.name} -d {_fish_quoted(command.summary)}"
        )
        where = f"-n '__fish_seen_subcommand_from {command.name}'"
        if command.words:
            lines.append(f"complete -c {PROGRAM} {where} -f -a {_fish_quoted(' '.join(command.words))}")
        for option in command.options:
            flags = " ".join(f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}" for flag in option.flags)
            value = "" if not option.takes_value else f"-x -a {_fish_quoted(' '.join(option.values))} "
            if option.takes_value and not option.values:
                value = "-r "
            lines.append(f"complete -c {PROGRAM} {where} {flags} {value}-d {_fish_quoted(option.help)}")
    return "\n".join(lines) + "\n"


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


SCRIPTS = {"bash": _bash, "zsh": _zsh, "fish": _fish}
"""Shell -> what makes its script."""
