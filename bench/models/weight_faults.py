"""Weights of a base model that its files lack or hold in a form that loading would misread.

transformers gives random values to weights that it does not find, and ignores weights that it does not know. It only
logs a table of both. Here a model with such weights is refused.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.models.weight_files import header

_LIBRARY = "transformers"
_LOGGER = "transformers.modeling_utils"
_TITLE = "LOAD REPORT"
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_NEVER_READ = ("pooler.", "lm_head.", "cls.", "classifier.")
"""Weights of a transformer from which no vector of a token is made."""
_ADAPTERS = (".lora_", ".adapter_", "base_layer.")
_POINTER = b"version https://git-lfs"
_INTEGERS = ("I8", "U8", "F8_E4M3", "F8_E5M2", "F4", "I4", "U4")
"""Formats whose numbers are weights only together with scales."""


@dataclass
class LoadReport:
    """What transformers says about the weights of a model that it has loaded."""

    missing: list[str] = field(default_factory=list)
    """Names of weights that the files lack. They are random."""
    mismatched: list[str] = field(default_factory=list)
    """Names of weights whose shape in the files is not that of the model."""
    unexpected: list[str] = field(default_factory=list)
    """Names of weights in the files that the model does not have. They are ignored."""

    @property
    def problem(self) -> str:
        """What makes vectors of the model meaningless, or an empty text."""
        missing = [name for name in self.missing if not name.startswith(_NEVER_READ)]
        adapters = [name for name in self.unexpected if any(part in name for part in _ADAPTERS)]
        if self.mismatched:
            return f"its files hold weights of other shapes than its configuration says ({_some(self.mismatched)})"
        if adapters:
            return f"its files hold weights of an adapter ({_some(adapters)}), which would be ignored: merge it first"
        if missing:
            other = f"; they hold {_some(self.unexpected)} instead" if self.unexpected else ""
            return f"its files lack weights ({_some(missing)}), which would be random{other}"
        return ""


class _Collector(logging.Filter):
    """Takes the load reports out of a log."""

    def __init__(self, report: LoadReport) -> None:
        super().__init__()
        self.report = report

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record is logged: a load report is not."""
        text = _COLOUR.sub("", record.getMessage())
        if _TITLE not in text:
            return True
        for line in text.splitlines():
            name, _, status = (part.strip() for part in line.partition("|"))
            if status.startswith("MISSING"):
                self.report.missing.append(name)
            elif status.startswith("MISMATCH"):
                self.report.mismatched.append(name)
            elif status.startswith("UNEXPECTED"):
                self.report.unexpected.append(name)
        return False


@contextmanager
def collected(report: LoadReport) -> Iterator[None]:
    """Collect in a report what transformers says about a model that it loads in the block, instead of logging it."""
    logger, collector = logging.getLogger(_LOGGER), _Collector(report)
    library = logging.getLogger(_LIBRARY)  # transformers says more where the level of `logger` itself is set
    level = library.level
    logger.addFilter(collector)
    if not logger.isEnabledFor(logging.WARNING):
        library.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.removeFilter(collector)
        library.setLevel(level)


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{names[0]}{more}"


def weights_problem(folder: Path) -> str:
    """Return what is wrong with the weight files of a folder, from their headers; an empty text if nothing is."""
    for index in sorted(folder.rglob("*.safetensors.index.json")):
        shards = set(json.loads(index.read_text(encoding="utf-8")).get("weight_map", {}).values())
        if lacking := sorted(shard for shard in shards if not (index.parent / str(shard)).is_file()):
            return f"{index.parent / str(lacking[0])} is missing, which {index.name} names"
    for path in sorted(folder.rglob("*.safetensors")):
        with path.open("rb") as stream:
            if stream.read(len(_POINTER)) == _POINTER:
                return f"{path} is a pointer of Git LFS, not the weights: git lfs pull fetches them"
        formats = {tensor.get("dtype") for tensor in header(path).values() if "dtype" in tensor}
        if packed := sorted(formats.intersection(_INTEGERS)):
            return f"{path} holds quantised weights ({packed[0]}), which would be read without their scales"
    return ""
