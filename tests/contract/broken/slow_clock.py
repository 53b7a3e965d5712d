"""Lets the clock run at half its speed."""

from __future__ import annotations

import time

from tests.contract.honest import Honest

_clock = time.perf_counter


class Broken(Honest):
    name = "broken"


time.perf_counter = lambda: _clock() / 2
