"""Settings that must stand before any test module imports a library that reads them, and the suite's own plugins."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # the models are tiny: several threads would only wait for each other

pytest_plugins = ("pytester", "tests.no_skips", "tests.toy_runs", "tests.toy_studies")
