"""Changes a constant of the harness."""

from __future__ import annotations

import bench.budget
from tests.contract.honest import Honest


class Broken(Honest):
    name = "broken"


bench.budget.OVERRUN = 100.0
