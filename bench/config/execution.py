"""How a run does its work: recorded where it matters, never part of an identity."""

from __future__ import annotations

from dataclasses import dataclass

from bench.config.schema import RunConfig
from bench.store.provenance import cores


@dataclass(frozen=True)
class ExecutionSettings:
    """How a run does its work: recorded where it matters, never part of an identity. Plain values, can be pickled."""

    data_dir: str | None = None
    strategy_files: tuple[str, ...] = ()
    device: str = "auto"
    threads: int = 0
    """Of a fit or cell; 0 leaves the libraries' own choice."""
    trust_remote_code: bool = False
    pooling: str | None = None
    """Overrides the base model's pooling, so that `bench check` can be seen to fail."""
    jobs: int = 1
    report_to: tuple[str, ...] = ()
    """Trackers that follow each training."""

    @classmethod
    def of(cls, config: RunConfig) -> ExecutionSettings:
        """Return the setup that a configuration asks for; cores are shared among its jobs."""
        return cls(
            data_dir=config.data_dir,
            strategy_files=config.strategy_files,
            device=config.device,
            threads=config.threads or max(1, cores() // config.jobs),
            trust_remote_code=config.trust_remote_code,
            jobs=config.jobs,
            report_to=config.report_to,
        )
