"""Leases: the right of one attempt at a job to write its record. Whoever has lost it writes nothing any more.

The scheduler grants a lease when it submits a job, and revokes it when the job has ended or counts as lost. A process
that continues nevertheless finds this out before it writes, because another attempt may have replaced it.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from pathlib import Path

from bench.data.files import named_in_errors
from bench.errors import StoreError

LEASES = ".leases"
"""Folder of a run."""


class LeaseError(StoreError):
    """This process may no longer write the record of its job."""


@dataclass(frozen=True)
class Lease:
    """The right to write the record of a job. Plain values, can be pickled."""

    path: Path
    token: str

    @classmethod
    def grant(cls, run: Path, job: str) -> Lease:
        """Return the lease of a new attempt at a job. An earlier attempt loses its own."""
        lease = cls(run / LEASES / job, uuid.uuid4().hex)
        lease.path.parent.mkdir(parents=True, exist_ok=True)
        with named_in_errors(lease.path):
            lease.path.write_text(lease.token, encoding="utf-8")
        return lease

    def revoke(self) -> None:
        """End the lease."""
        self.path.unlink(missing_ok=True)

    def require(self) -> None:
        """Refuse to go on without the lease.

        Raises:
            LeaseError: the lease was revoked or granted again.
        """
        try:
            held = self.path.read_text(encoding="utf-8") == self.token
        except (FileNotFoundError, UnicodeDecodeError):
            held = False
        if not held:
            raise LeaseError(f"{self.path.name}: this process was given up, so it writes nothing")
