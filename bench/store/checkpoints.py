"""The newest checkpoint of a fit that is not complete, in `checkpoints/<fit>/` of a run's folder.

    checkpoint.json     step, identity, and the SHA-256 of the file beside it
    state-<step>.pt     tensors and plain values; reading them runs no code

The state is written first, then `checkpoint.json`, which is replaced as a whole and names it. Older states are removed
afterwards. So a process that dies at any moment leaves the newest or the earlier checkpoint, and at most two states.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from pickle import PicklingError, UnpicklingError
from typing import Any

from bench.data.files import write_atomically
from bench.errors import StoreError
from bench.records import with_digest, without_digest
from bench.store.checkpoint_mark import CHECKPOINT_MARK, CHECKPOINTS
from bench.store.files import read_json, sha256
from bench.store.store import FIT_MARK, Store

_MARK_TYPES = {"step": int, "identity": dict, "file": str, "sha256": str}
"""What the file of that name holds where the attempt can be resumed."""
_DAMAGED = "its checkpoint is damaged"
_LOG = logging.getLogger("adaptbench")


@dataclass(frozen=True)
class Spent:
    """Time and memory that all attempts at a fit have taken until a checkpoint. The meter charges separately."""

    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_memory_bytes: int = 0


class CheckpointFolder:
    """The folder with the newest checkpoint of one fit.

    Args:
        folder: a folder for this fit alone.
        identity: name -> value of whatever must be equal for a checkpoint to be used, such as fit, code and machine.
        every: the longest time between two checkpoints, in seconds. The shortest is a tenth of it.
        check: is called before each write, and raises if this process may not write.
        note: tells the user whether the fit resumes or begins again.
    """

    def __init__(
        self,
        folder: Path,
        identity: Mapping[str, str],
        every: float,
        check: Callable[[], None] = lambda: None,
        note: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.folder, self.identity, self.every, self._check, self._note = folder, dict(identity), every, check, note
        self.notes: list[str] = []
        """Why an earlier attempt is not resumed, for the report of the fit."""
        self.resumed_after: int | None = None
        """The step after which this attempt continues; None where it begins at the first one."""
        self.earlier = Spent()
        """What the attempts before this one took."""
        self._began = time.perf_counter(), time.process_time()
        self._is_read = self._is_refused = False

    def spent(self, peak_memory_bytes: int) -> Spent:
        """Return the time and memory that all attempts have taken so far.

        Args:
            peak_memory_bytes: peak memory of this attempt.
        """
        wall, processor = self._began
        return Spent(
            self.earlier.wall_seconds + time.perf_counter() - wall,
            self.earlier.cpu_seconds + time.process_time() - processor,
            max(self.earlier.peak_memory_bytes, peak_memory_bytes),
        )

    def read(self, code: str) -> dict[str, Any] | None:
        """Return the content of the checkpoint; None if there is none. One that cannot be used is removed with a note.

        A fit that trains a second time refuses checkpoints, so its next attempt begins again.

        Args:
            code: digest of the strategy's own code, which is part of the identity.
        """
        import torch

        if self._is_read:
            self.refuse("it trains more than once")
            return None
        self._is_read, self.identity["code of the strategy"] = True, code
        try:
            mark = without_digest(read_json(self.folder / CHECKPOINT_MARK))
            if reason := mark.get("refused"):
                raise StoreError(reason)
            if not all(isinstance(mark.get(key), kind) for key, kind in _MARK_TYPES.items()):
                raise StoreError(_DAMAGED)
            identity = mark["identity"]
            names = sorted({*identity, *self.identity})
            if others := [name for name in names if identity.get(name) != self.identity.get(name)]:
                raise StoreError(f"{', '.join(others)} changed since its checkpoint")
            path = self.folder / mark["file"]
            if not path.is_file() or sha256(path) != mark["sha256"]:
                raise StoreError(_DAMAGED)
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except FileNotFoundError:
            return None
        except (StoreError, OSError, UnpicklingError) as error:
            why = "its checkpoint holds more than plain values" if isinstance(error, UnpicklingError) else error
            self.notes.append(f"an interrupted attempt could not be resumed, so the fit began again: {why}")
            self._note(self.notes[-1])
            self.remove()
            return None
        self.resumed_after = mark["step"]
        self._note(f"resumes after step {self.resumed_after}")
        return state

    def write(self, state: Mapping[str, Any], step: int) -> None:
        """Replace the checkpoint. If it cannot be written, a warning says so, and training continues.

        A state that cannot be written at all is refused: the next attempt begins again.

        Args:
            state: tensors, numbers, texts, and lists, tuples and dictionaries of them.
            step: number of optimiser steps taken so far.
        """
        import torch

        if self._is_refused:
            return
        path = self.folder / f"state-{step}.pt"
        self._check()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            torch.save(dict(state), path)
            with path.open("rb+") as stream:
                os.fsync(stream.fileno())
            self._mark({"step": step, "identity": self.identity, "file": path.name, "sha256": sha256(path)})
        except (OSError, RuntimeError) as error:  # torch has errors of its own for a full disk
            _LOG.warning("%s cannot be written, so an interrupted fit loses more: %s", path, error)
            self._drop(path)
            return
        except (PicklingError, AttributeError, TypeError) as error:  # of functions, locks, local classes
            self._drop(path)
            self.refuse(f"what it keeps between steps is no plain values: {error}")
            return
        self._remove_states(but=path.name)

    def refuse(self, reason: str) -> None:
        """Write the reason why the next attempt must begin again, in place of a checkpoint."""
        self._is_refused = True
        self._check()
        with suppress(OSError):
            self._mark({"refused": reason})
            self._remove_states()

    def remove(self) -> None:
        """Remove the checkpoint."""
        shutil.rmtree(self.folder, ignore_errors=True)
        with suppress(OSError):
            self.folder.parent.rmdir()  # where nothing is left in it

    def _drop(self, state: Path) -> None:
        with suppress(OSError):  # where the folder is none, or the file is being put at a URL (Windows)
            state.unlink(missing_ok=True)

    def _mark(self, values: Mapping[str, Any]) -> None:
        write_atomically(self.folder / CHECKPOINT_MARK, json.dumps(with_digest(values), indent=1).encode())

    def _remove_states(self, but: str = "") -> None:
        for state in self.folder.glob("state-*.pt"):
            if state.name != but:
                self._drop(state)


def clear_checkpoints(store: Store, pending: Collection[str], begin_again: bool = False) -> None:
    """Remove the checkpoints of fits that have a record and are not to run again, also at the URL of the run.

    Args:
        store: of the run.
        pending: names of the fits that are to run.
        begin_again: remove the checkpoints of these as well, and all that lie on this machine.

    Raises:
        StoreError: the URL cannot be read, or something could not be removed there.
    """
    folder, mirror = store.folder / CHECKPOINTS, store.mirror
    if begin_again:
        shutil.rmtree(folder, ignore_errors=True)
    here = {path.name for path in folder.glob("*")}
    there = set[str]() if mirror is None else mirror.checkpoints.fits()
    for fit in sorted(here | there):
        if begin_again if fit in pending else (store.fit_folder(fit) / FIT_MARK).is_file():
            shutil.rmtree(folder / fit, ignore_errors=True)
            if mirror is not None:
                mirror.checkpoints.remove(fit)
    with suppress(OSError):
        folder.rmdir()
