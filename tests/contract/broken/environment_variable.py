"""Sets a variable that decides how the libraries of the process work."""

from __future__ import annotations

import os

from tests.contract.honest import Honest


class Broken(Honest):
    name = "broken"


os.environ["MKL_CBWR"] = "COMPATIBLE"
