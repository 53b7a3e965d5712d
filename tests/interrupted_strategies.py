"""Strategy files whose fits are interrupted at a step."""

from __future__ import annotations

import textwrap

_FILE = '''
import os
import signal
import time

from bench.encoders.strategy import EncoderStrategy


class Interrupted(EncoderStrategy):
    """Trains everything, and does something before its steps."""

    name = "{name}"

    def attach(self, tower):
        return tower.requires_grad_(True)

    def on_step(self, tower, step, total):
{on_step}

    def training_state(self):
        return {{"objective": self.objective.training_state()}}
'''


def interrupted_strategy(name: str, on_step: str) -> str:
    """Return the text of a file with one strategy.

    Args:
        name: of the strategy.
        on_step: the lines of its `on_step(self, tower, step, total)`, which may use `os`, `signal` and `time`.
    """
    return _FILE.format(name=name, on_step=textwrap.indent(textwrap.dedent(on_step).strip(), " " * 8))
