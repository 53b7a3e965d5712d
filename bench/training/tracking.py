"""Trackers that the trainer can report to: TensorBoard, MLflow and others. Never part of a fit's identity."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import BenchError

TRACKERS: dict[str, tuple[str, ...]] = {
    "tensorboard": ("tensorboard", "tensorboardX"),
    "clearml": ("clearml",),
    "comet_ml": ("comet_ml",),
    "dvclive": ("dvclive",),
    "mlflow": ("mlflow",),
    "swanlab": ("swanlab",),
    "trackio": ("trackio",),
    "wandb": ("wandb",),
}
"""Trackers by the trainer's name, and the packages of which one is needed."""
_ENDS = {"wandb": "finish", "swanlab": "finish", "comet_ml": "end"}
"""Trackers that the trainer leaves open, and their function that writes what is left. They would call it when Python
exits, which the process of a job does without asking them."""
_POINTS = 200
"""Losses a training reports at most."""
_TENSORBOARD_FOLDER = "TENSORBOARD_LOGGING_DIR"


@dataclass(frozen=True)
class Tracking:
    """The trackers of one training."""

    to: tuple[str, ...]
    folder: Path
    """Of those trackers that write files here: TensorBoard."""
    name: str
    """What the training is called there: the fit's name."""

    def arguments(self, steps: int) -> dict[str, Any]:
        """Return the trainer's arguments for a training of so many steps."""
        every = max(1, steps // _POINTS)
        return {
            "report_to": list(self.to),
            "run_name": self.name,
            "logging_strategy": "steps",
            "logging_steps": every,
        }

    @contextmanager
    def folders(self) -> Iterator[None]:
        """Set the folder for trackers that read it from the environment, for the length of a block."""
        before = os.environ.get(_TENSORBOARD_FOLDER)
        os.environ[_TENSORBOARD_FOLDER] = str(self.folder)
        try:
            yield
        finally:
            os.environ.pop(_TENSORBOARD_FOLDER)
            if before is not None:
                os.environ[_TENSORBOARD_FOLDER] = before

    def finish(self) -> None:
        """Let trackers write what they hold back, after a training that has come to its end."""
        for name in self.to:
            if name in _ENDS and name in sys.modules:
                getattr(sys.modules[name], _ENDS[name])()


UNTRACKED: dict[str, Any] = {"report_to": "none", "logging_strategy": "no"}
"""What the trainer is told where nobody follows."""


def require_trackers(names: Sequence[str]) -> None:
    """Refuse trackers whose packages are not installed. The names are keys of `TRACKERS`.

    Raises:
        BenchError: a tracker's package is not installed.
    """
    for name in names:
        if not any(importlib.util.find_spec(package) for package in TRACKERS[name]):
            extra = "pip install 'adaptbench[track]'" if name == "tensorboard" else f"pip install {TRACKERS[name][0]}"
            raise BenchError(f"--report-to {name}: its package is not installed ({extra})")
