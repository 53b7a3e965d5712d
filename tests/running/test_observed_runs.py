"""A real run watches, too: what trains beyond its counted steps, or in use, fails with the reason."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.config.schema import RunConfig
from bench.running.run import RunResult

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
    outcome = run_inline(toy_config(strategies="broken", baseline="broken", strategy_files=[str(file)], model=model))
    (fit,) = outcome.store.fits()
    cell = outcome.store.results()[0]
    assert fit.status == ("failed" if kind == "fit" else "ok"), fit.reason
    assert cell.status == "failed" and not cell.metrics
    assert reason in cell.reason
