"""The newest checkpoint of each fit, copied between the URL of a run and its working copy.

At the URL, `checkpoints/<fit>/checkpoint.json` is the mark, put last, and `checkpoints/<fit>/<digest>/` holds the state
that the mark with this digest names. Of two machines that put one, the last mark decides, and its state is whole. A run
fetches the checkpoints of its pending fits. No other command needs any.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection
from pathlib import Path

from bench.data.files import write_atomically
from bench.errors import StoreError
from bench.store.checkpoint_mark import CHECKPOINT_MARK, CHECKPOINTS, CheckpointMark
from bench.store.object_store import ObjectStore


class MirroredCheckpoints:
    """The checkpoints of a run at a URL.

    Args:
        objects: what lies at the URL.
        folder: the working copy.
    """

    def __init__(self, objects: ObjectStore, folder: Path) -> None:
        self._objects, self._folder = objects, folder
        self._known: dict[str, str] = {}
        """Fit -> digest of the mark of its checkpoint at the URL; empty where this process does not know it."""

    def fits(self) -> set[str]:
        """Return the names of the fits that have a checkpoint at the URL, or a part of one.

        Raises:
            StoreError: the URL cannot be read.
        """
        with self._objects.turn:
            names = [name.split("/") for name in self._objects.listed(f"{CHECKPOINTS}/")]
            fits = {parts[1] for parts in names if len(parts) > 2}
            self._known = {fit: self._known.get(fit, "") for fit in fits}
        return fits

    def fetch(self, fits: Collection[str]) -> None:
        """Fetch the checkpoints of fits, unless the working copy holds one of as many steps.

        It also keeps one of another machine class, because the fits of this class refuse the one at the URL. The fit
        checks what it reads, so a state that is missing or damaged is fetched as it is.

        Args:
            fits: names of fits. Those that the method `fits` has not returned have nothing to fetch.

        Raises:
            StoreError: the URL cannot be read.
        """
        with self._objects.turn:
            if known := sorted(self._known.keys() & fits):
                there = self._objects.listed(f"{CHECKPOINTS}/")
                for fit in known:
                    self._fetch(fit, there)

    def push(self, fit: str) -> None:
        """Put the checkpoint of a fit that the working copy holds: its state, then its mark.

        One that is there already, or that the fit replaces meanwhile, is left alone.

        Raises:
            StoreError: something could not be put, or not whole. No reader sees what was put.
        """
        folder, place, objects = self._folder / CHECKPOINTS / fit, f"{CHECKPOINTS}/{fit}", self._objects
        with objects.turn:
            content = _content(folder / CHECKPOINT_MARK)
            mark, replaced = CheckpointMark.of(content), self._known.get(fit, "")
            if mark is None or mark.digest == replaced:
                return
            if mark.state:
                state, prefix = folder / mark.state, f"{place}/{mark.digest}/"
                try:
                    size = state.stat().st_size
                    objects.put([(state, f"{prefix}{mark.state}")])
                except (OSError, StoreError):
                    if _content(folder / CHECKPOINT_MARK) != content or not state.is_file():
                        return  # the fit has replaced it: the next one is put
                    raise
                objects.require_whole(prefix, {mark.state: size})
            objects.write(f"{place}/{CHECKPOINT_MARK}", content)
            self._known[fit] = mark.digest
            if replaced:
                objects.remove(f"{place}/{replaced}")

    def remove(self, fit: str) -> None:
        """Remove the checkpoint of a fit from the URL, if this process knows of one there.

        Raises:
            StoreError: it could not be removed.
        """
        with self._objects.turn:
            if fit in self._known:
                self._objects.remove(f"{CHECKPOINTS}/{fit}")
                del self._known[fit]

    def _fetch(self, fit: str, there: Collection[str]) -> None:
        """Fetch the checkpoint of a fit, if its mark is among the objects at the URL."""
        place, folder = f"{CHECKPOINTS}/{fit}", self._folder / CHECKPOINTS / fit
        if f"{place}/{CHECKPOINT_MARK}" not in there:
            return
        (content,) = self._objects.read([f"{place}/{CHECKPOINT_MARK}"])
        mark, own = CheckpointMark.of(content), CheckpointMark.of(_content(folder / CHECKPOINT_MARK))
        self._known[fit] = mark.digest if mark is not None else ""
        if own is not None and (mark is None or mark.step <= own.step or mark.machine != own.machine):
            return
        shutil.rmtree(folder, ignore_errors=True)
        if mark is not None and f"{place}/{mark.digest}/{mark.state}" in there:
            self._objects.get([(f"{place}/{mark.digest}/{mark.state}", folder / mark.state)])
        write_atomically(folder / CHECKPOINT_MARK, content)


def _content(path: Path) -> bytes:
    """Return the content of a file; nothing where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError:
        return b""
