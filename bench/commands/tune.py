"""Choose hyperparameters on development data; no test query is read.

It takes the settings of 'run', and makes the studies that 'run --tune-trials' with the same settings then uses.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.commands._options import command, json_flag
from bench.commands._settings import read_settings, run_options

if TYPE_CHECKING:
    from bench.planning.study_spec import StudySpec
    from bench.store.studies import Study

TRIALS = 8
"""The number of trials where `--tune-trials` is not given."""
_OF_A_RUN = ("executor", "timeout", "overwrite", "report_to", "min_gain", "equivalence_margin", "no_report")
"""Settings of fits, cells and reports that a study does not use."""


@command(__doc__, params=run_options(without=_OF_A_RUN))
@json_flag("print the studies as JSON")
@click.pass_obj
def main(arguments: list[str], config_file: Path | None, as_json: bool, **given: Any) -> int:
    """Run the studies; returns 1 where one of them failed."""
    from bench.commands._console import console, emit_json, err_console
    from bench.config.execution import ExecutionSettings
    from bench.data.files import require_writable
    from bench.errors import BenchError
    from bench.models.device import require
    from bench.planning.plan import plan
    from bench.running.tuning.many import at_a_time, run_studies, studies_of
    from bench.store.provenance import provenance
    from bench.store.store import Store

    config = read_settings(config_file, given)
    if given["tune_trials"] is not None and not config.tune_trials:
        raise BenchError(f"--tune-trials must be at least 1 here, got 0 (the default is {TRIALS})")
    config = config if config.tune_trials else config.replace(tune_trials=TRIALS)
    require(config.device)
    require_writable(Path(config.out))
    planned = plan(config)
    wanted = studies_of(planned)
    store, screen = Store(Path(config.out)), err_console()
    width = at_a_time(wanted, config.jobs)
    screen.print(f"{len(wanted)} studies of {config.tune_trials} trials, {width} at a time, into {config.out}")
    if config.dry_run:
        if as_json:
            emit_json({"out": config.out, "trials": config.tune_trials, "studies": [spec.name for spec in wanted]})
        return 0
    invocation: dict[str, Any] = {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": ["python", "-m", "bench", *arguments],
        "config": config.to_dict(),
        "datasets": {facts.name: {"fingerprint": facts.fingerprint} for facts in planned.datasets.values()},
        **provenance(),
    }
    store.put_invocation(invocation)
    failed: list[StudySpec] = []

    def ended(spec: StudySpec, found: Study | Exception) -> None:
        if isinstance(found, Exception):
            failed.append(spec)
            screen.print(f"{spec.name}: failed: {type(found).__name__}: {found}", style="red", markup=False)
        else:
            screen.print(_in_a_line(found), markup=False)

    made = run_studies(wanted, config.tune_trials, store, ExecutionSettings.of(config), config.jobs, ended)
    store.put_invocation(invocation | {"ended": datetime.now(UTC).isoformat(timespec="seconds")}, replace_last=True)
    if as_json:
        emit_json({"out": config.out, "studies": [_as_json(study) for study in made]})
    else:
        for line in settings_of(made):
            console().print(line, markup=False, highlight=False, soft_wrap=True)
    return 1 if failed else 0


def settings_of(studies: list[Study]) -> list[str]:
    """Return the choice of each study as options of `run`: `--set lora.lr=0.0003 --set lora.r=8`."""
    lines = []
    for study in studies:
        best = study.best
        owner = study.strategy.partition("(")[0]
        named = best.params.items() if best is not None else ()
        pairs = [(name if "." in name else f"{owner}.{name}", value) for name, value in named]
        settings = " ".join(f"--set {'.'.join(name.split('.')[-2:])}={value}" for name, value in pairs)
        lines.append(f"{study.strategy} on {study.dataset}: {settings or study.note or 'no trial came to anything'}")
    return lines


def _in_a_line(study: Study) -> str:
    best, gain = study.best, study.gain
    if best is None or best.value is None:
        return f"{study.strategy} on {study.dataset}: {study.note or 'no trial came to anything'}"
    told = f", {gain[0]:+.4f} over the default, standard error {gain[1]:.4f}" if gain else ""
    return (
        f"{study.strategy} on {study.dataset}: trial {best.number} of {len(study.trials)}, development nDCG@10 "
        f"{best.value:.4f} (n = {study.queries}){told}; {study.seconds:.0f} s"
    )


def _as_json(study: Study) -> dict[str, Any]:
    return {"strategy": study.strategy, "dataset": study.dataset, "model": study.model, **study.summary()}
