"""The progress of a run on the console: a live display on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

from rich.markup import escape

from bench.planning.jobs import Job
from bench.records import USABLE
from bench.running.listener import Listener

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from bench.store.live import LiveJob

_LINE_SECONDS = 30.0
_WIDE = 110
"""On a narrower terminal, the bars are shorter and the elapsed time is left out."""
_MARKS = {"ok": "[green]done[/]", "over_budget": "[yellow]over budget[/]", "not_applicable": "[dim]not applicable[/]"}


class Display(Listener, Protocol):
    """A listener that shows the run for the length of a `with` block."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *error: Any) -> None: ...


def display(console: Console, jobs: int, quiet: bool = False) -> Display:
    """Return a live display where the console is a terminal, else plain lines; only failures where `quiet`."""
    if quiet:
        return Quiet(console, jobs)
    return Live(console, jobs) if console.is_terminal else Lines(console, jobs)


def duration(seconds: float) -> str:
    """Return a duration for people: `4.2 s`, `3 min 20 s`, `2 h 05 min`."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


class Lines:
    """Prints a line when a job starts and when it ends, and every half minute of training and encoding between.

    A line names its job unless it follows a line of the same job.
    """

    def __init__(self, console: Console, jobs: int) -> None:
        self.console, self.jobs, self.done = console, jobs, 0
        self._begun, self._latest = 0, ""
        self._began = time.monotonic()
        self._printed: dict[str, float] = {}
        self._dev: dict[str, float] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def started(self, job: Job) -> None:
        """Print which job begins."""
        self._begun += 1
        self._printed[job.name], self._latest = time.monotonic(), job.name
        self.console.print(f"\\[{self._begun}/{self.jobs}] {escape(job.title)}")

    def event(self, job: Job, name: str, values: dict[str, Any]) -> None:
        """Print the progress of a job, at most twice a minute, and every note."""
        if name == "dev" and values.get("dev") is not None:
            self._dev[job.name] = values["dev"]
        now = time.monotonic()
        shown = name in ("step", "encode") or (name == "stage" and job.kind == "study")
        if name == "note" or (shown and now - self._printed.get(job.name, 0.0) >= _LINE_SECONDS):
            self._printed[job.name] = now
            self._print(job, escape(event_text(name, values, self._dev.get(job.name))))

    def ended(self, job: Job, status: str, reason: str, seconds: float) -> None:
        """Print how the job ended, and how long the remaining jobs may take."""
        self.done += 1
        self._print(job, f"{ending_text(job, status, reason, seconds, title=False)}{self._left()}")

    def _print(self, job: Job, text: str) -> None:
        title = "" if job.name == self._latest else f"{escape(job.title)}: "
        self._latest = job.name
        self.console.print(f"      {title}{text}")

    def _left(self) -> str:
        remaining = self.jobs - self.done
        elapsed = time.monotonic() - self._began
        return f", about {duration(elapsed / self.done * remaining)} left" if remaining > 0 and self.done else ""


class Quiet(Lines):
    """Prints only failures."""

    def started(self, job: Job) -> None:
        """Print nothing."""

    def event(self, job: Job, name: str, values: dict[str, Any]) -> None:
        """Print nothing."""

    def ended(self, job: Job, status: str, reason: str, seconds: float) -> None:
        """Print the job if it failed."""
        self.done += 1
        if status not in USABLE:
            self.console.print(ending_text(job, status, reason, seconds))


class Live:
    """Shows a bar for the run and one for each running job: stage, step, loss, development score, time left."""

    def __init__(self, console: Console, jobs: int) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.table import Column

        self.console = console
        narrow = console.width < _WIDE
        # Texts wrap between words. By default rich would cut them, and two seeds of a strategy would look the same.
        self.progress: Progress = Progress(
            TextColumn("{task.description}", table_column=Column(overflow="fold")),
            BarColumn(bar_width=8 if narrow else 24),
            TextColumn("{task.fields[note]}", table_column=Column(overflow="fold")),
            *(() if narrow else (TimeElapsedColumn(),)),
            TimeRemainingColumn(compact=True),
            console=console,
            transient=True,
        )
        self._all: TaskID = self.progress.add_task("[bold]run[/]", total=jobs, note=f"0/{jobs}")
        self._tasks: dict[str, TaskID] = {}
        self._dev: dict[str, float] = {}
        self._jobs, self._done = jobs, 0

    def __enter__(self) -> Self:
        self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress.stop()

    def started(self, job: Job) -> None:
        """Show a bar for the job."""
        self._tasks[job.name] = self.progress.add_task(escape(job.title), total=None, note="starting")

    def event(self, job: Job, name: str, values: dict[str, Any]) -> None:
        """Move the bar of the job."""
        task = self._tasks.get(job.name)
        if task is None:
            return
        if name == "dev" and values.get("dev") is not None:
            self._dev[job.name] = values["dev"]
            return
        if name == "note":
            self.progress.console.print(f"{escape(job.title)}: {escape(event_text(name, values, None))}")
            return
        note = event_text(name, values, self._dev.get(job.name))
        if name in ("step", "encode"):
            self.progress.update(
                task, total=values.get("total"), completed=values.get("step", values.get("done")), note=note
            )
        elif note:
            self.progress.reset(task, total=None, note=note, start=True)

    def ended(self, job: Job, status: str, reason: str, seconds: float) -> None:
        """Replace the bar of the job by a line."""
        self._done += 1
        self.progress.remove_task(self._tasks.pop(job.name))
        self.progress.update(self._all, completed=self._done, note=f"{self._done}/{self._jobs}")
        self.progress.console.print(ending_text(job, status, reason, seconds))


def event_text(name: str, values: dict[str, Any], dev: float | None) -> str:
    """Return an event in a few words: `step 40/60, loss 0.412, dev 0.583`."""
    if name == "step":
        loss, total = values.get("loss"), values.get("total")
        parts = [f"step {values.get('step')}" + (f"/{total}" if total else "")]
        parts += [f"loss {loss:.3f}"] if loss is not None else []
        parts += [f"dev {dev:.3f}"] if dev is not None else []
        return ", ".join(parts)
    if name == "encode":
        return f"encoding {values.get('done', 0):,}/{values.get('total', 0):,} texts"
    return str(values.get("name") or values.get("text") or "")


def stage_text(job: LiveJob) -> str:
    """Return what a running job does: `step 40/60`, `encoding 320/5,183 texts`, `index`."""
    if job.done is None:
        return job.stage
    values = {"step": job.done, "done": job.done, "total": job.total or 0}
    return event_text("encode" if job.stage == "encoding" else "step", values, None)


def running_text(job: LiveJob) -> str:
    """Return a running job in a line: title, stage, loss, development score, place."""
    if not job.host:
        return f"{job.title}: not heard of yet"
    parts = [stage_text(job)] if job.stage else []
    parts += [f"loss {job.loss[-1][1]:.3f}"] if job.loss else []
    parts += [f"dev {job.dev[-1][1]:.3f}"] if job.dev else []
    parts.append(f"process {job.pid} on {job.host} since {job.started}")
    return f"{job.title}: {', '.join(parts)}"


def ending_text(job: Job, status: str, reason: str, seconds: float, title: bool = True) -> str:
    """Return the line for a job that has ended, as rich markup."""
    mark = _MARKS.get(status, f"[red]{status.replace('_', ' ')}[/]")
    prefix = f"{escape(job.title)}: " if title else ""
    suffix = f": {escape(reason)}" if reason else ""
    return f"{prefix}{mark} in {duration(seconds)}{suffix}"
