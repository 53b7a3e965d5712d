"""A job's process ends with its parent, and everything that the job started ends with the job.

The process leads a group (and a session) of its own. Processes that it starts belong to the group unless they leave it;
those that left are found as its descendants as long as their ancestors live. The kernel's `PR_SET_PDEATHSIG` is not
used: it would end the process before this one could end its own children.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from multiprocessing.connection import wait
from typing import Any

import psutil

from bench.scratch import is_running

_POLL_SECONDS = 0.01
_SIGKILL = getattr(signal, "SIGKILL", signal.SIGTERM)

Identity = tuple[int, float]
"""The id of a process and the time when it was created: an id alone may be given again."""


def lead_group() -> None:
    """Make this process the leader of a new group, where the system has groups."""
    if hasattr(os, "setsid"):
        with suppress(OSError):  # it leads one already
            os.setsid()


def end_with_parent() -> None:
    """End this process and its descendants when its parent ends, or the server that forked it.

    A job whose parent was killed must not keep writing.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    ends: list[Any] = [parent.sentinel]
    if sys.platform == "linux":
        with suppress(OSError):
            ends.append(os.pidfd_open(os.getppid()))

    def watch() -> None:
        wait(ends)
        end(os.getpid(), descendants(os.getpid()))
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="parent-watch").start()


def descendants(pid: int) -> list[Identity]:
    """Return the processes that a process and its descendants have started and that still run."""
    try:
        return [(child.pid, child.create_time()) for child in psutil.Process(pid).children(recursive=True)]
    except psutil.Error:
        return []


def end(pid: int, others: Iterable[Identity] = ()) -> None:
    """Kill the group that a process leads or led, and other processes that it started."""
    for other, created in others:
        with suppress(psutil.Error):
            process = psutil.Process(other)
            if process.create_time() == created:
                process.kill()
    if leads_group(pid):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, _SIGKILL)


def leads_group(pid: int) -> bool:
    """Whether the group of a process has members. It outlives its leader."""
    if not hasattr(os, "killpg"):
        return False
    try:
        os.killpg(pid, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def wait_until_gone(pid: int, seconds: float) -> bool:
    """Return whether a process, which need not be a child of this one, has ended within some seconds."""
    deadline = time.monotonic() + seconds
    while is_running(pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def wait_until_empty(pid: int, seconds: float) -> bool:
    """Return whether the group of a process has no members any more within some seconds."""
    deadline = time.monotonic() + seconds
    while leads_group(pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True
