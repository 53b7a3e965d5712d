"""What a clause of the contract found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One clause on one strategy."""

    clause: str
    ok: bool
    detail: str
    """What was measured; where the clause is broken, what the author probably got wrong."""

    def __str__(self) -> str:
        return f"{'ok  ' if self.ok else 'FAIL'} {self.clause:<7} {self.detail}"
