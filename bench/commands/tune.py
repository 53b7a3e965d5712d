"""Choose hyperparameters on development data; no test query is read.

It takes the settings of 'run', and makes the studies that 'run --tune-trials' with the same settings then uses.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.commands._options import command, json_flag
from bench.commands._settings import read_settings, run_options

if TYPE_CHECKING:
    from bench.store.studies import Study

TRIALS = 8
"""The number of trials where `--tune-trials` is not given."""
_OF_A_RUN = (
    "executor", "timeout", "checkpoint_every", "overwrite", "report_to", "min_gain", "equivalence_margin", "no_report",
    "processes_per_fit",
)  # fmt: skip
"""Settings of fits, cells and reports that a study does not use."""


@command(__doc__, params=run_options(without=_OF_A_RUN))
@json_flag("print the studies as JSON")
@click.pass_obj
def main(arguments: list[str], config_file: Path | None, as_json: bool, **given: Any) -> int:
    """Run the studies; returns 1 where one of them failed."""
    from bench.commands._console import console, emit_json, err_console
    from bench.errors import BenchError
    from bench.running.progress import display
    from bench.running.run import Run
    from bench.running.tuning.study import load_completed

    config = read_settings(config_file, given)
    if given["tune_trials"] is not None and not config.tune_trials:
        raise BenchError(f"--tune-trials must be at least 1 here, got 0 (the default is {TRIALS})")
    run = Run.prepare(config if config.tune_trials else config.replace(tune_trials=TRIALS), studies_only=True)
    config, jobs, screen = run.config, run.pending(), err_console()
    screen.print(f"{run.describe(jobs)}; {config.tune_trials} trials each", markup=False)
    if config.dry_run:
        if as_json:
            names = [spec.name for spec in run.plan.studies]
            emit_json({"out": config.out, "trials": config.tune_trials, "studies": names})
        return 0
    with display(screen, len(jobs)) as shown:
        result = run.execute(shown, command=["python", "-m", "bench", *arguments])
    if result.interrupted:
        screen.print(f"Interrupted. Completed trials are kept in {config.out}.", markup=False)
        screen.print(f"Run the same command again to resume: {shlex.join(['adaptbench', *arguments])}", markup=False)
        return result.exit_code
    failed = {name for name, (status, _) in result.ended.items() if status != "ok"}
    studies = [load_completed(spec, run.store) for spec in run.plan.studies if spec.name not in failed]
    completed = [study for study in studies if study is not None]
    for study in completed:
        screen.print(_summary_line(study), markup=False)
    if as_json:
        emit_json({"out": config.out, "studies": [_as_json(study) for study in completed]})
    else:
        for line in choices_as_options(completed):
            console().print(line, markup=False, highlight=False, soft_wrap=True)
    return 1 if failed else 0


def choices_as_options(studies: list[Study]) -> list[str]:
    """Return the choice of each study as options of `run`: `--set lora.lr=0.0003 --set lora.r=8`."""
    lines = []
    for study in studies:
        best = study.best
        owner = study.strategy.partition("(")[0]
        named = best.params.items() if best is not None else ()
        pairs = [(name if "." in name else f"{owner}.{name}", value) for name, value in named]
        settings = " ".join(f"--set {'.'.join(name.split('.')[-2:])}={value}" for name, value in pairs)
        lines.append(f"{study.strategy} on {study.dataset}: {settings or study.note or 'no trial has a score'}")
    return lines


def _summary_line(study: Study) -> str:
    best, gain = study.best, study.gain
    if best is None or best.value is None:
        return f"{study.strategy} on {study.dataset}: {study.note or 'no trial has a score'}"
    gained = f", {gain[0]:+.4f} over the default, standard error {gain[1]:.4f}" if gain else ""
    return (
        f"{study.strategy} on {study.dataset}: trial {best.number} of {len(study.trials)}, development nDCG@10 "
        f"{best.value:.4f} (n = {study.queries}){gained}; {study.seconds:.0f} s"
        + "".join(f"; {name} {best.params[name]} is the {edge} tried" for name, edge in study.edges.items())
    )


def _as_json(study: Study) -> dict[str, Any]:
    return {"strategy": study.strategy, "dataset": study.dataset, "model": study.model, **study.summary()}
