"""Trains a reader in a process of its own, for a fit that is training something else at the same time.

TRL and accelerate set random numbers and the state of their process. A retriever in training must not notice.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.errors import ModelError
from bench.readers.adaptation import SftOptions
from bench.readers.lessons import Lesson
from bench.readers.local import LocalReader
from bench.readers.tuning import Tuned, tune
from bench.scratch import scratch_folder

_REQUEST, _ANSWER = "request.json", "tuned.json"


def tune_apart(reader: LocalReader, options: SftOptions, lessons: Sequence[Lesson], folder: Path) -> Tuned:
    """Return what `tune` does in another process: the trained model lies in `folder`, which is made.

    Raises:
        ModelError: the training failed. The message has the last line of what the process said.
    """
    with scratch_folder() as scratch:
        request = {
            "reader": [str(reader.folder.resolve()), reader.name, reader.device, reader.precision],
            "options": asdict(options),
            "lessons": [[each.messages, each.answer] for each in lessons],
            "folder": str(folder.resolve()),
        }
        (scratch / _REQUEST).write_text(json.dumps(request), encoding="utf-8")
        command = [sys.executable, "-m", __name__, str(scratch)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            said = (done.stderr.strip() or "it said nothing").splitlines()[-1]
            raise ModelError(f"{reader.name}: its training ended with {done.returncode}: {said}")
        values: dict[str, Any] = json.loads((scratch / _ANSWER).read_text(encoding="utf-8"))
    return Tuned(**values | {"dev": {int(step): value for step, value in values["dev"].items()}})


def main(scratch: Path) -> None:
    """Train what the request in a folder asks for, and write what was done beside it."""
    request = json.loads((scratch / _REQUEST).read_text(encoding="utf-8"))
    folder, name, device, precision = request["reader"]
    lessons = [Lesson(tuple((role, text) for role, text in chat), answer) for chat, answer in request["lessons"]]
    reader = LocalReader(Path(folder), name, device, precision)
    tuned = tune(reader, SftOptions(**request["options"]), lessons, (), Path(request["folder"]))
    (scratch / _ANSWER).write_text(json.dumps(asdict(tuned)), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
