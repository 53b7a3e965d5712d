"""Strategies with one fault each. The clause that watches over it finds it, and says what was measured."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from bench.contract import check
from bench.contract.subprocess_reload import ReloadProcess
from bench.data.sample import sample_dataset
from bench.models.base import BaseModel

FOLDER = Path(__file__).parent / "broken"
CAUGHT = {
    "batch_mean": ("batch", "with other batch mates"),
    "batch_mean_of_queries": ("batch", "a query has another embedding"),
    "batch_order": ("batch", "in another order"),
    "search_mean": ("batch", "among other queries"),
    "other_length": ("inputs", "reads 32 tokens of a text, the base model 64"),
    "left_truncation": ("inputs", "its tokenizer has changed"),
    "own_prompt": ("inputs", "has the prompts"),
    "no_special_tokens": ("inputs", "its tokenizer has changed"),
    "long_encoding": ("inputs", "tokens of a query"),
    "second_optimiser": ("budget", "optimiser steps with a budget of 2"),
    "second_update_by_hand": ("updates", "without a step of the optimiser"),
    "last_update_by_hand": ("updates", "without a step of the optimiser"),
    "update_in_loss": ("updates", "without a step of the optimiser"),
    "trains_in_finish": ("updates", "backward passes ran outside of the training steps"),
    "moves_in_finish": ("updates", "no mixture of the start and the best checkpoint"),
    "trains_after_fit": ("updates", "without a step of the optimiser"),
    "trains_in_attach": ("updates", "backward passes ran outside of the training steps"),
    "reads_in_attach": ("budget", "`attach` lets the model read"),
    "trains_in_index": ("inference", "its tensors changed"),
    "trains_in_search": ("inference", "backward passes ran while it indexed and searched"),
    "changes_in_search": ("inference", "a second search"),
    "trains_in_load": ("inference", "while it was loaded"),
    "trains_on_development": ("development", "trains on development pairs"),
    "excluded_examples": ("budget", "excludes time from the charge"),
    "negative_charge": ("budget", "the meter charged"),
    "stopped_meter": ("budget", "the meter charged"),
    "ignored_seed": ("repeat", "the seed is ignored"),
    "start_by_process": ("repeat", "in another process differs"),
    "start_by_hash": ("repeat", "in another process differs"),
    "artefact_in_temporary_folder": ("reload", "raised"),
    "artefact_in_home": ("reload", "raised"),
    "artefact_beside_code": ("reload", "lies outside of the folder"),
    "artefact_in_module": ("reload", "answers differ"),
    "hooks_lent_model": ("lent", "other modules, hooks or settings"),
    "poisoned_cache": ("lent", "under the base model's name"),
    "steps_twice": ("process", "AdamW.step was added"),
    "steps_twice_inside": ("updates", "hold more than one update"),
    "own_optimiser": ("updates", "is none of torch's optimisers"),
    "optimiser_hook": ("updates", "hold more than one update"),
    "gradient_hook": ("updates", "without a step of the optimiser"),
    "no_hooks": ("updates", "took away the hooks"),
    "trains_in_init": ("updates", "while it is built"),
    "trains_at_import": ("updates", "while its file is imported"),
    "larger_batch": ("budget", "batch_size 16 for 8"),
    "other_settings": ("budget", "temperature 0.02 for 0.05"),
    "slow_clock": ("process", "time.perf_counter was replaced"),
    "rewound_clock": ("process", "time.perf_counter was replaced"),
    "meters_code": ("process", "bench.budget.Meter.stop was replaced"),
    "constant_of_harness": ("process", "bench.budget.OVERRUN was replaced"),
    "thread_after_fit": ("process", "a thread still runs after `fit`"),
    "patched_normalize": ("process", "torch.nn.functional.normalize was replaced"),
    "function_mode": ("process", "torch's function modes is 1, was 0"),
    "more_threads": ("process", "torch's number of threads"),
    "lower_precision": ("process", "torch's precision of matrix products"),
    "environment_variable": ("process", "$MKL_CBWR is set"),
    "tokenizer_rule": ("inputs", "its tokenizer has other rules"),
    "starts_program": ("process", "starts other programs"),
    "forks": ("process", "starts other programs"),
    "remembers_earlier_fits": ("process", "remembers_earlier_fits.pt"),
    "reads_judgements": ("process", "test.tsv"),
    "native_artefact": ("reload", "native_artefact.safetensors"),
    "remembers_queries": ("inference", "answers from somewhere else"),
    "remembers_development": ("inference", "answers from somewhere else"),
    "trains_on_development_when_selecting": ("development", "development queries with gradients"),
    "patched_seed": ("process", "torch.manual_seed was replaced"),
    "patched_json": ("process", "json.dumps was replaced"),
    "trains_in_save": ("reload", "answers differ"),
    "shares_parameters_between_fits": ("repeat", "a second fit with the same seed"),
    "dead_tensor": ("trains", "no gradient reaches 0.model.encoder.layer.1.output.dense.bias"),
}
"""File -> the clause that must catch it, and words of what it says."""


def test_every_broken_strategy_is_in_the_table() -> None:
    assert sorted(CAUGHT) == sorted(path.stem for path in FOLDER.glob("*.py"))


@pytest.mark.parametrize("name", CAUGHT)
def test_a_broken_strategy_is_caught(
    name: str, tiny_bert: BaseModel, reload_process: ReloadProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / f"{name}.py"
    shutil.copy(FOLDER / file.name, file)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MKL_CBWR", "")
    monkeypatch.delenv("MKL_CBWR")
    clause, message = CAUGHT[name]

    (result,) = check(
        "broken",
        tiny_bert,
        files=[file],
        names=[clause],
        steps=2,
        dataset=sample_dataset(subjects=4),
        reload_process=reload_process,
    )

    assert not result.ok, result.detail
    assert message in result.detail
