"""The mark of a checkpoint within a fit: `checkpoints/<fit>/checkpoint.json` of a run's folder, and of its URL."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Self

from bench.errors import StoreError
from bench.records import DIGEST, without_digest

CHECKPOINTS = "checkpoints"
"""Folder of a run."""
CHECKPOINT_MARK = "checkpoint.json"
"""The file that commits a checkpoint."""
_STATE = re.compile(r"state-\d+\.pt")


@dataclass(frozen=True)
class CheckpointMark:
    """What a mark says, for whoever copies the checkpoint."""

    digest: str
    """Of the mark."""
    step: int
    """0 where the mark says that the next attempt must begin again."""
    state: str
    """The name of the file with the state; empty where there is none."""
    machine: str = ""
    """The class of the machine that wrote it; empty where the mark names none."""

    @classmethod
    def of(cls, content: bytes) -> Self | None:
        """Return what a mark of this content says; None where it is damaged."""
        try:
            values = json.loads(content)
            known = without_digest(values)
        except (ValueError, AttributeError, RecursionError, StoreError):
            return None
        if known.get("refused"):
            return cls(values[DIGEST], 0, "")
        step, state = known.get("step"), known.get("file")
        if not isinstance(step, int) or not isinstance(state, str) or not _STATE.fullmatch(state):
            return None
        identity = known.get("identity")
        machine = identity.get("machine", "") if isinstance(identity, dict) else ""
        return cls(values[DIGEST], step, state, str(machine))
