"""Settings that must stand before any test module imports a library that reads them."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
if "PYTEST_XDIST_WORKER" in os.environ:
    # One worker a core: two threads in each would only fight.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

pytest_plugins = ("tests.toy_runs", "tests.toy_studies")
