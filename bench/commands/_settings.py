"""The options that set up a run: one for each field of `RunConfig`, made from the field itself."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import click
from pydantic.fields import FieldInfo

from bench.budget import STOPS
from bench.commands._options import DATASETS, FILE, STRATEGIES, STRATEGY, Names, Option
from bench.config.schema import BUDGET, SHAPING, STOPPING, RunConfig, from_mapping, load, merged
from bench.config.values import Limits
from bench.models.device import DEVICES
from bench.training.tracking import TRACKERS

_COMPLETED = {
    "strategies": STRATEGIES,
    "baseline": STRATEGY,
    "datasets": DATASETS,
    "probes": DATASETS,
    "device": Names(lambda: DEVICES),
    "report_to": Names(lambda: TRACKERS),
}
"""Fields whose values a shell completes, besides files and folders and what is one of a few words."""
_ONE_EACH = ("set", "strategy_files")
"""Lists that are given by repeating the option alone: their values may hold commas."""


def run_options(without: Collection[str] = ()) -> list[click.Parameter]:
    """Return the options of a command that sets up a run.

    Args:
        without: fields that the command does not use.
    """
    options = [
        Option(
            ["--config", "config_file"],
            type=FILE,
            section="What is compared",
            help="a YAML file with these settings, or the run.json of an earlier run",
        )
    ]
    for name, field in RunConfig.model_fields.items():
        if name == "budget":
            options += [_limit(limit, hint) for limit, hint in get_type_hints(Limits, include_extras=True).items()]
        elif name not in without:
            options.append(_setting(name, field))
    return list(options)


def read_settings(file: Path | None, given: Mapping[str, Any]) -> RunConfig:
    """Return the configuration that a file and the options of the command line give together.

    Args:
        file: what `--config` names.
        given: the options by the name of their field; None, or nothing in a list, where an option was not given.

    Raises:
        BenchError: the configuration cannot be used.
    """
    values = {
        name: ",".join(value) if isinstance(value, tuple) and name not in _ONE_EACH else value
        for name, value in given.items()
        if value is not None and value != ()
    }
    return from_mapping(merged(load(file) if file else {}, values))


def _setting(name: str, field: FieldInfo) -> Option:
    extra: Any = field.json_schema_extra
    flag = "--" + {"strategy_files": "strategy-file"}.get(name, name.replace("_", "-"))
    default = ", ".join(map(str, field.default)) if isinstance(field.default, tuple) else str(field.default or "")
    text = f"{field.description}  [default: {default}]" if default else field.description
    if field.annotation is bool:
        return Option([flag, name], is_flag=True, default=None, section=extra["section"], help=text)
    kind: click.ParamType | None = _COMPLETED.get(name)
    if extra["metavar"] in ("DIR", "FILE"):
        kind = click.Path()
    elif get_origin(field.annotation) is Literal:
        kind = Names(lambda: get_args(field.annotation))
    return Option(
        [flag, name],
        multiple=get_origin(field.annotation) in (tuple, dict),
        metavar=extra["metavar"] or "A,B,...",
        type=kind,
        section=extra["section"],
        help=text,
    )


def _limit(limit: str, hint: Any) -> Option:
    """Return the option of one limit of a budget, whose type is annotated with its description."""
    text = next(each.description for each in hint.__metadata__ if isinstance(each, FieldInfo) and each.description)
    defaults: Mapping[str, Any] = BUDGET
    if limit in defaults:
        text += f"  [default if no limit is set: {defaults[limit][0]}]"
    return Option(
        [f"--budget-{limit.replace('_', '-')}", f"budget_{limit}"],
        multiple=True, metavar="N,...", section=STOPPING if limit in STOPS else SHAPING, help=text,
    )  # fmt: skip
