"""Every strategy that trains an encoder keeps the contract on every family, or refuses it with a reason."""

from collections.abc import Callable
from typing import Any

import pytest

from bench.contract import CLAUSES, check
from bench.contract.subprocess_reload import ReloadProcess
from bench.data.sample import sample_dataset
from bench.errors import NotApplicableError
from bench.models.base import BaseModel
from bench.models.locate import base_model

EVERYWHERE = (
    "full", "lora", "adapter", "adapter(placement=houlsby, reduction=4)", "prefix", "prompt", "ptuning", "ia3",
    "bitfit", "layernorm", "top-layers(layers=1)",
)  # fmt: skip
LIKE_ANOTHER = ("dora", "adalora", "vera", "query-lora", "full-merge", "prefix(reparametrise=true, hidden=8)")
"""They take hold of a model where one of `EVERYWHERE` does: the first four where `lora` does."""
UNLIKE = ("bert", "modernbert")
"""Two families that differ most: one product for each of query, key and value, with biases; one for all, without."""
OF_THE_ARCHITECTURE = ("trains", "frozen", "lent", "inputs", "batch", "reload", "detach", "budget", "inference")
"""The clauses that every family is checked by; the others need more fits, and do not depend on the architecture."""


def extent(family: str) -> dict[str, Any]:
    """Return how far a family is checked: BERT by every clause, the others by those that depend on the architecture."""
    if family == "bert":
        return {"names": tuple(CLAUSES)}
    return {"names": OF_THE_ARCHITECTURE, "steps": 2, "dataset": sample_dataset(subjects=3)}


REFUSED = {("bitfit", "modernbert"): "no biases"}


@pytest.mark.parametrize("strategy", EVERYWHERE)
def test_the_contract_holds(
    strategy: str, tiny_model: BaseModel, family_name: str, reload_process: ReloadProcess
) -> None:
    reason = REFUSED.get((strategy, family_name))
    if reason is not None:
        with pytest.raises(NotApplicableError, match=f"{reason}.*It works on bert"):
            check(strategy, tiny_model, reload_process=reload_process)
        return

    results = check(strategy, tiny_model, reload_process=reload_process, **extent(family_name))

    assert all(result.ok for result in results), "\n".join(map(str, results))


@pytest.mark.parametrize("family", UNLIKE)
@pytest.mark.parametrize("strategy", LIKE_ANOTHER)
def test_the_contract_holds_for_strategies_like_another(
    strategy: str, family: str, tiny_base: Callable[[str], BaseModel], reload_process: ReloadProcess
) -> None:
    results = check(strategy, tiny_base(family), reload_process=reload_process, **extent(family))

    assert all(result.ok for result in results), "\n".join(map(str, results))


@pytest.mark.parametrize("name", ["qwen3", "t5"])
@pytest.mark.parametrize("strategy", ["full", "lora", "ia3", "adapter", "layernorm", "top-layers(layers=1)"])
def test_decoders_and_t5_are_trained(
    strategy: str, name: str, tiny_base: Callable[[str], BaseModel], reload_process: ReloadProcess
) -> None:
    """Last-token pooling with left padding and an instruction; mean pooling with a `Dense` module behind it."""
    names = ("trains", "frozen", "inputs", "detach")

    results = check(
        strategy,
        tiny_base(name),
        names=names,
        steps=2,
        dataset=sample_dataset(subjects=3),
        reload_process=reload_process,
    )

    assert all(result.ok for result in results), "\n".join(map(str, results))


@pytest.mark.parametrize("strategy", ["full", "lora", "prefix", "adapter"])
def test_the_contract_holds_on_the_default_model(strategy: str, reload_process: ReloadProcess) -> None:
    names = ("trains", "frozen", "inputs", "batch", "detach", "budget")
    dataset = sample_dataset(subjects=2)

    results = check(strategy, base_model(), names=names, steps=2, dataset=dataset, reload_process=reload_process)

    assert all(result.ok for result in results), "\n".join(map(str, results))
