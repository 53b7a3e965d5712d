"""Refuses a run whose datasets or models have the names of others in its folder: tables would show both as one."""

from __future__ import annotations

from collections.abc import Iterator

from bench.errors import BenchError
from bench.planning.plan import Plan
from bench.store.store import Store

Named = tuple[str, str, str]
"""`dataset` or `model`, a name, and the fingerprint of the content."""


def require_same_content(plan: Plan, store: Store) -> None:
    """Refuse a plan that gives a name to other content than the records of the folder do.

    Raises:
        BenchError: a dataset or model of the plan has the name of another one. The message says which.
    """
    recorded = set(_recorded(store))
    for kind, name, fingerprint in _planned(plan):
        others = {other for known, same, other in recorded if (known, same) == (kind, name)}
        if others and fingerprint not in others:
            raise BenchError(
                f"{store.folder} holds results of another {kind} named {name!r}: its content differs, or an older "
                f"version of AdaptBench read it. Tables would show both as one. Take another --out or rename it"
            )


def _recorded(store: Store) -> Iterator[Named]:
    for fit in store.fits():
        yield from _named(fit.dataset, fit.model, fit.fingerprints)
    for cell in store.cells():
        yield from _named(cell.dataset, cell.model, cell.fingerprints)


def _planned(plan: Plan) -> Iterator[Named]:
    for fit in plan.fits:
        yield from _named(fit.dataset_name, fit.model_name, fit.fingerprints or {})
    for cell in plan.cells:
        yield from _named(cell.dataset_name, "", {"dataset": cell.fingerprint})


def _named(dataset: str, model: str, fingerprints: dict[str, str]) -> Iterator[Named]:
    for kind, name in (("dataset", dataset), ("model", model)):
        if name and fingerprints.get(kind):
            yield kind, name, fingerprints[kind]
