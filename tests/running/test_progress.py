"""What is shown while a run works, with and without a terminal."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from bench.config.schema import RunConfig
from bench.planning.jobs import Job, jobs_of
from bench.planning.plan import plan
from bench.running import progress
from bench.running.progress import Lines, Live, Quiet, display, duration

Configure = Callable[..., RunConfig]


@pytest.fixture
def job(toy_config: Configure) -> Job:
    found = plan(toy_config())
    return jobs_of(found, [found.fits[0].name])[0]


def screen(terminal: bool) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=120, highlight=False)


def text_of(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_lines_show_the_start_and_the_end_of_a_job(job: Job) -> None:
    console = screen(terminal=False)
    with Lines(console, 2) as shown:
        shown.started(job)
        shown.event(job, "step", {"step": 1, "total": 5, "loss": 0.5})
        shown.ended(job, "failed", "why [it] failed", 61.0)
    assert "[1/2] fit toy on tiny, 5 steps, seed 0" in text_of(console)
    assert "failed in 1 min 01 s: why [it] failed, about" in text_of(console)
    assert "loss" not in text_of(console), "steps are shown twice a minute at most"


def test_lines_show_the_progress_of_a_long_training(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_LINE_SECONDS", 0.0)
    console = screen(terminal=False)
    shown = Lines(console, 1)
    shown.started(job)
    shown.event(job, "dev", {"step": 2, "dev": 0.625})
    shown.event(job, "step", {"step": 3, "total": 5, "loss": 0.51234})
    assert "step 3/5, loss 0.512, dev 0.625" in text_of(console)


def test_lines_name_their_job_unless_they_follow_one_of_it(job: Job) -> None:
    other = replace(job, spec=replace(job.spec, name="other", seed=1))
    console = screen(terminal=False)
    shown = Lines(console, 3)
    shown.started(job)
    shown.event(job, "note", {"text": "resumes after step 2"})
    shown.started(other)
    shown.ended(job, "ok", "", 1.0)
    shown.ended(other, "ok", "", 1.0)
    lines = text_of(console).splitlines()
    assert lines[:3] == [f"[1/3] {job.title}", "      resumes after step 2", f"[2/3] {other.title}"]
    assert lines[3].startswith(f"      {job.title}: done") and lines[4].startswith(f"      {other.title}: done")


def test_a_terminal_keeps_a_note_above_the_bars(job: Job) -> None:
    console = screen(terminal=True)
    with Live(console, 1) as shown:
        shown.started(job)
        shown.event(job, "note", {"text": "submitted again: its node is gone"})
        shown.ended(job, "ok", "", 1.0)
    assert f"{job.title}: submitted again: its node is gone" in text_of(console)


def test_a_terminal_shows_step_loss_score_and_time_left(job: Job) -> None:
    console = screen(terminal=True)
    with Live(console, 2) as shown:
        shown.started(job)
        events: list[tuple[str, dict[str, Any]]] = [
            ("stage", {"name": "fit"}),
            ("encode", {"done": 0, "total": 100}),
            ("dev", {"step": 2, "dev": 0.625}),
            ("step", {"step": 3, "total": 5, "loss": 0.51234}),
        ]
        for name, values in events:
            shown.event(job, name, values)
        shown.progress.refresh()
        shown.ended(job, "ok", "", 2.0)
        shown.event(job, "step", {"step": 4, "total": 5, "loss": 0.4})
    text = text_of(console)
    assert "step 3/5, loss 0.512, dev 0.625" in text and "fit toy on tiny" in text and "done" in text


def test_the_bars_of_two_seeds_differ_on_a_narrow_terminal(job: Job) -> None:
    other = replace(job, spec=replace(job.spec, seed=1))
    shown = Live(Console(file=io.StringIO(), force_terminal=True, width=60), 2)
    for each in (job, other):
        shown.started(each)
        shown.event(each, "step", {"step": 40, "total": 60, "loss": 0.412})
    paper = Console(file=io.StringIO(), width=60, color_system=None)
    paper.print(shown.progress.get_renderable())
    words = " ".join(text_of(paper).split())
    assert "seed 0" in words and "seed 1" in words and "0.412" in words and "…" not in words


def test_quiet_shows_only_failures(job: Job) -> None:
    console = screen(terminal=False)
    with Quiet(console, 2) as shown:
        shown.started(job)
        shown.ended(job, "ok", "", 1.0)
        shown.ended(job, "oom", "no memory", 1.0)
    assert text_of(console).splitlines() == ["fit toy on tiny, 5 steps, seed 0: oom in 1.0 s: no memory"]


def test_the_display_suits_the_console() -> None:
    assert isinstance(display(screen(terminal=True), 1), Live)
    assert type(display(screen(terminal=False), 1)) is Lines
    assert type(display(screen(terminal=True), 1, quiet=True)) is Quiet


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (59.9, "59.9 s"), (59.96, "1 min 00 s"), (3599.6, "1 h 00 min"), (7500, "2 h 05 min")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
