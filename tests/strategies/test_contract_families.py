"""Every strategy that trains an encoder keeps the contract on every family, or refuses it with a reason."""

import pytest

from bench.contract import check
from bench.contract.subprocess_reload import ReloadProcess
from bench.data.sample import sample_dataset
from bench.errors import NotApplicableError
from bench.models.base import BaseModel
from bench.models.locate import base_model

STRATEGIES = (
    "full", "lora", "adapter", "adapter(placement=houlsby, reduction=4)", "prefix",
    "prefix(reparametrise=true, hidden=8)", "prompt", "ptuning", "ia3", "bitfit", "layernorm", "dora", "adalora",
    "vera", "top-layers(layers=1)", "full-merge",
)  # fmt: skip
REFUSED = {("bitfit", "modernbert"): "no biases"}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_contract_holds(
    strategy: str, tiny_model: BaseModel, family_name: str, reload_process: ReloadProcess
) -> None:
    reason = REFUSED.get((strategy, family_name))
    if reason is not None:
        with pytest.raises(NotApplicableError, match=f"{reason}.*It works on bert"):
            check(strategy, tiny_model, reload_process=reload_process)
        return

    findings = check(strategy, tiny_model, reload_process=reload_process)

    assert all(finding.ok for finding in findings), "\n".join(map(str, findings))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_contract_holds_on_the_default_model(strategy: str, reload_process: ReloadProcess) -> None:
    names = ("trains", "frozen", "batch", "detach", "budget")
    dataset = sample_dataset(subjects=4)

    findings = check(strategy, base_model(), names=names, steps=2, dataset=dataset, reload_process=reload_process)

    assert all(finding.ok for finding in findings), "\n".join(map(str, findings))
