"""Write `requirements.lock`: the packages that this project needs, directly or not, at the versions installed here.

To change a version, install it into `.venv`, run the tests, then `make lock`. The lock holds only what `pyproject.toml`
requires and the requirements of those packages. Other packages in the same environment stay out.
"""

from __future__ import annotations

import importlib.metadata
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
LOCKED_EXTRAS = ("tune", "onnx", "slurm", "ray", "s3", "track", "answers", "endpoint", "dev")
"""The extras that `make setup` installs: all of them."""


def declared(extras: Iterable[str] = LOCKED_EXTRAS) -> list[Requirement]:
    """Return the requirements that `pyproject.toml` names, including those of the given extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [*project["dependencies"]]
    for extra in extras:
        lines += project["optional-dependencies"][extra]
    return [Requirement(line) for line in lines]


def closure(requirements: Iterable[Requirement]) -> dict[str, str]:
    """Return name -> version of everything that the requirements need, as installed in this environment.

    Raises:
        importlib.metadata.PackageNotFoundError: a required package is not installed.
    """
    versions: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    waiting = [(requirement.name, extra) for requirement in requirements for extra in ("", *requirement.extras)]
    while waiting:
        name, extra = waiting.pop()
        key = canonicalize_name(name)
        if (key, extra) in seen:
            continue
        seen.add((key, extra))
        distribution = importlib.metadata.distribution(name)
        # The lock leaves out the label of a build (torch's "+cpu"), so that it also serves machines with other builds.
        versions[key] = Version(distribution.version).public
        waiting += [
            (requirement.name, extra_of_it)
            for requirement in _requirements(distribution.requires or [], extra)
            for extra_of_it in ("", *requirement.extras)
        ]
    return versions


def _requirements(lines: Iterable[str], extra: str) -> Iterator[Requirement]:
    for line in lines:
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
            yield requirement


def main() -> int:
    """Write the lock beside `pyproject.toml` and print how many packages it holds."""
    versions = closure(declared())
    lines = [f"{name}=={version}\n" for name, version in sorted(versions.items())]
    (ROOT / "requirements.lock").write_text("".join(lines), encoding="utf-8")
    sys.stdout.write(f"requirements.lock: {len(lines)} packages\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
