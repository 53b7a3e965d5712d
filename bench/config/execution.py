"""The settings of how jobs do their work. They are recorded where they matter, and no part of an identity."""

from __future__ import annotations

import os
from dataclasses import dataclass

from bench.config.schema import RunConfig
from bench.models.quantisation import BaseWeights
from bench.store.provenance import cores


@dataclass(frozen=True)
class ExecutionSettings:
    """How jobs do their work. Plain values, can be pickled."""

    data_dir: str | None = None
    strategy_files: tuple[str, ...] = ()
    device: str = "auto"
    threads: int = 0
    """CPU threads of a job; 0 leaves the choice to the libraries."""
    trust_remote_code: bool = False
    base_weights: BaseWeights = "fp32"
    """How the weights of base models are kept. Their fingerprints depend on it."""
    from_record: bool = False
    """Whether names of strategies and models come from records, which anyone may have written."""
    pooling: str | None = None
    """Overrides the base model's pooling, so that people can see `bench check` fail."""
    jobs: int = 1
    processes: int = 1
    """Processes of each fit that takes training steps; `FitSpec.processes` is the number for one fit."""
    checkpoint_every: float = 600.0
    """The longest time between two checkpoints of a fit, in seconds; 0 makes none."""
    report_to: tuple[str, ...] = ()
    """Trackers that each training reports to."""

    @classmethod
    def of(cls, config: RunConfig) -> ExecutionSettings:
        """Return the execution settings of a configuration. Its jobs share the cores."""
        return cls(
            data_dir=config.data_dir,
            strategy_files=config.strategy_files,
            device=config.device,
            threads=config.threads or _own_threads(config.jobs),
            trust_remote_code=config.trust_remote_code,
            base_weights=config.base_weights,
            jobs=config.jobs,
            processes=config.processes_per_fit,
            checkpoint_every=config.checkpoint_every,
            report_to=config.report_to,
        )


def _own_threads(jobs: int) -> int:
    """Return the threads of a job where nobody set `--threads`: `OMP_NUM_THREADS`, or the job's share of the cores."""
    requested = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(requested) if requested.isdecimal() and int(requested) else max(1, cores() // jobs)
