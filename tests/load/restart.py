"""A fleet that restarts at once: every machine authenticates anew, and obeys what it is told.

The promise (docs/performance.md): however many come at once, each is answered within `ANSWER_SECONDS`, with 200 or with
429 or 503 and a `Retry-After`; nobody's connection is refused; and who obeys is served within `SERVED_SECONDS`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.load.fleet_program import Fleet

ANSWER_SECONDS = 5.0
SERVED_SECONDS = 180.0


@dataclass(frozen=True, kw_only=True)
class Report:
    """What became of the machines. `statuses` and `errors` count attempts; times in seconds."""

    machines: int
    served: int
    statuses: dict[str, int]
    errors: dict[str, int]
    untold: int
    """Refusals without a `Retry-After`."""
    answered_median: float
    answered_p99: float
    answered_last: float
    """The longest that a machine waited for an answer, connecting included."""
    served_median: float
    served_last: float
    """From the first attempt to the 200, for the last machine."""

    def broken_promises(self) -> list[str]:
        """What was not as it should be, in words; empty when all was."""
        found = []
        if self.errors:
            found.append(f"connections failed: {self.errors}")
        if set(self.statuses) - {"200", "429", "503"}:
            found.append(f"answers that are neither yes nor come again: {self.statuses}")
        if self.untold:
            found.append(f"{self.untold} were not told when to come again")
        if self.answered_last > ANSWER_SECONDS:
            found.append(f"somebody waited {self.answered_last:.1f} s for an answer")
        if self.served < self.machines:
            found.append(f"{self.machines - self.served} machines were not served")
        elif self.served_last > SERVED_SECONDS:
            found.append(f"the last machine was served after {self.served_last:.0f} s")
        return found


def run(fleet: Fleet, requests: Path, *, machines: int = 20_000, seconds: float = 10.0) -> Report:
    """Have so many machines start within some seconds; `requests` holds an authenticate for each of them.

    Takes until the last machine was served, at most `SERVED_SECONDS` after its start. To be run against a server
    with the limits on that production has: each installation asks less often than it may.
    """
    result = fleet.restart(requests, clients=machines, seconds=seconds, patience_seconds=int(SERVED_SECONDS))
    every, served = result["all"], result["served_in"]
    return Report(
        machines=result["machines"],
        served=result["served"],
        statuses=every["statuses"],
        errors=every["errors"],
        untold=every["refused_without_retry_after"],
        answered_median=every["p50_ms"] / 1000,
        answered_p99=every["p99_ms"] / 1000,
        answered_last=every["max_ms"] / 1000,
        served_median=served["p50_ms"] / 1000,
        served_last=served["max_ms"] / 1000,
    )
