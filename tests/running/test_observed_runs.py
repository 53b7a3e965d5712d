"""A real run watches, too: what trains beyond its counted steps, or in use, fails with the reason."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.config.schema import RunConfig
from bench.running.run import RunResult
from bench.training.process_state import unspoiled

BROKEN = Path(__file__).resolve().parents[1] / "contract" / "broken"

Configure = Callable[..., RunConfig]
Run = Callable[[RunConfig], RunResult]


@pytest.mark.parametrize(
    ("name", "kind", "reason"),
    [
        ("second_optimiser", "fit", "optimisers took 10 steps, 5 are accounted for"),
        ("second_update_by_hand", "fit", "without an optimiser step of the harness"),
        ("trains_in_finish", "fit", "backward passes ran outside of the training steps"),
        ("trains_in_attach", "fit", "backward passes ran outside of the training steps"),
        ("hooks_lent_model", "fit", "changed the base model that was lent"),
        ("larger_batch", "fit", "other settings than the run's: batch_size 64 for 32"),
        ("own_optimiser", "fit", "none of torch's optimisers"),
        ("no_hooks", "fit", "took away the hooks"),
        ("function_mode", "fit", "torch's function modes is 1, was 0"),
        ("thread_after_fit", "fit", "a thread still runs after its fit"),
        ("trains_in_index", "cell", "trains while it indexes or searches"),
    ],
)
def test_a_run_names_what_trains_uncounted(
    name: str,
    kind: str,
    reason: str,
    toy_config: Configure,
    run_inline: Run,
    tiny_folder: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    file = tmp_path / f"{name}.py"
    shutil.copy(BROKEN / file.name, file)
    model = str(tiny_folder("bert"))
    config = toy_config(strategies="broken", baseline="broken", strategy_files=[str(file)], model=model)
    with unspoiled():
        outcome = run_inline(config)
    (fit,) = outcome.store.fits()
    cell = outcome.store.results()[0]
    assert fit.status == ("failed" if kind == "fit" else "ok"), fit.reason
    assert cell.status == "failed" and not cell.metrics
    assert reason in cell.reason


def test_a_fit_that_opens_judgements_fails(
    toy_config: Configure, run_inline: Run, toy_file: Path, beir_folder: Path
) -> None:
    reading = f"open({str(beir_folder / 'qrels' / 'test.tsv')!r}).close()"
    code = toy_file.read_text(encoding="utf-8")
    toy_file.write_text(code.replace("self.seen = frozenset(data", f"{reading}; self.seen = frozenset(data"))
    (fit,) = run_inline(toy_config()).store.fits()

    assert fit.status == "failed"
    assert "test.tsv, which holds judgements" in fit.reason
