"""Every objective trains under the contract, on two families and with methods of both kinds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bench.contract import CLAUSES, check
from bench.contract.subprocess_reload import ReloadProcess
from bench.data.sample import sample_dataset
from bench.models.base import BaseModel

EXPRESSIONS = (
    "full(objective=contrastive(symmetric=true, hardness=5))", "full(objective=cosine)",
    "lora(objective=mined(triplet, source=model, count=1))",
    "lora(objective=gist)", "full(objective=gpl(teacher=bitfit))",
    "lora(objective=matryoshka(contrastive, smallest=8))", "contriever", "lora(objective=simcse)", "tsdae",
)  # fmt: skip
OF_THE_ARCHITECTURE = ("trains", "frozen", "inputs", "batch", "reload", "budget", "inference")


@pytest.mark.parametrize("family", ["bert", "mpnet"])
@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_the_contract_holds(
    expression: str, family: str, tiny_base: Callable[[str], BaseModel], reload_process: ReloadProcess
) -> None:
    extent: dict[str, Any] = {"names": CLAUSES}
    if family != "bert":
        extent = {"names": OF_THE_ARCHITECTURE, "steps": 2, "dataset": sample_dataset(subjects=3)}
    findings = check(expression, tiny_base(family), reload_process=reload_process, **extent)

    assert all(finding.ok for finding in findings), "\n".join(map(str, findings))
