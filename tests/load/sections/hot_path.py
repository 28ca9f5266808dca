"""Validate, authenticate and refresh: what they do at most, beside a bare view, and how long they take at a pace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.load.fleet_program import Fleet
from tests.load.results import Figures, check, median_of
from tests.load.workbench import BARE, BARE_PROCESS, Workbench

KINDS = ("validate", "authenticate", "refresh")
MIX = "a fleet's mix"
FLEET_MIX = "validate=6,refresh=3,authenticate=1"
MIX_RATE = 1500.0
# Where a view that does nothing is slower than this, paces in absolute numbers say nothing about the server.
CEILING_RATE = 10_000.0
_CONNECTIONS, _ROUNDS = 16, 3


@dataclass(frozen=True)
class Budget:
    """What a kind of request has to keep up with."""

    rate: float
    p99_ms: float
    of_bare: float


# What commits before it answers.
COMMITTING = ("authenticate",)
BUDGET = {"validate": Budget(3400.0, 25.0, 0.30), "authenticate": Budget(1000.0, 50.0, 0.08)}


def measure(bench: Workbench, kinds: Sequence[str]) -> None:
    """Measure these kinds, and the bare view in the same rounds."""
    with bench.bare() as (bare, bare_requests), bench.web():
        bench.warm()
        _closed(bench, kinds, bare=bare, bare_requests=bare_requests)
        for kind in kinds:
            if kind in BUDGET:
                _paced(bench, kind)


def measure_mix(bench: Workbench) -> None:
    """A fleet as it is on an ordinary day: most validate, some refresh, few authenticate."""
    with bench.web():
        bench.warm()
        what = f"{MIX}, paced {MIX_RATE:,.0f}/s"
        bench.add_row(_at_a_pace(bench, what, rate=MIX_RATE, mix=FLEET_MIX, commits=True))


def closed_name(kind: str) -> str:
    """What the row of a closed loop is called."""
    return f"{kind}, {_CONNECTIONS} connections"


def _closed(bench: Workbench, kinds: Sequence[str], *, bare: Fleet, bare_requests: Path) -> None:
    """Everything in turn, several times, so that a machine that changes its mind does so for all of them."""
    seconds = max(1.0, bench.arguments.seconds / 6)
    rounds: dict[str, list[Figures]] = {what: [] for what in (BARE, *kinds)}
    for _ in range(_ROUNDS):
        rounds[BARE].append(bench.measured(BARE, lambda: bare.closed(bare_requests, seconds=seconds), web=BARE_PROCESS))
        for kind in kinds:
            requests = bench.requests()
            rounds[kind].append(
                bench.measured(
                    closed_name(kind),
                    lambda kind=kind, requests=requests: bench.fleet.closed(  # type: ignore[misc]
                        requests, seconds=seconds, connections=_CONNECTIONS, mix=f"{kind}=1"
                    ),
                )
            )
    ceiling = median_of(rounds[BARE], "rate")
    for runs in rounds.values():
        row = _median_row(runs)
        bench.add_row({**row, "of_bare": round(row["rate"] / ceiling, 4)})
    for kind in kinds:
        if kind in BUDGET:
            share = _median_row(rounds[kind])["rate"] / ceiling
            wanted = BUDGET[kind].of_bare
            bench.results.checks.append(
                check(
                    f"{closed_name(kind)}: share of the bare view",
                    wanted=f">= {wanted:.2f}",
                    measured=f"{share:.3f}",
                    holds=share >= wanted,
                )
            )


def _paced(bench: Workbench, kind: str) -> None:
    budget = BUDGET[kind]
    runs = []
    for number in range(1, bench.arguments.runs + 1):
        what = f"{kind}, paced {budget.rate:,.0f}/s, run {number}"
        row = _at_a_pace(bench, what, rate=budget.rate, mix=f"{kind}=1", commits=kind in COMMITTING)
        runs.append(bench.add_row(row))
    p99, failed = median_of(runs, "p99_ms"), sum(sum(run["not_200"].values()) for run in runs)
    is_fast_enough = bench.bare_rate() >= CEILING_RATE
    notes = [] if is_fast_enough else [f"the bare view is below {CEILING_RATE:,.0f}/s"]
    if kind in COMMITTING:
        notes.append(f"a bare write to the same disk: {median_of(runs, 'disk_p99_ms'):.1f} ms")
    bench.results.checks.append(
        check(
            f"{kind}, paced {budget.rate:,.0f}/s: median p99 of {len(runs)} runs",
            wanted=f"<= {budget.p99_ms:.0f} ms",
            measured=f"{p99:.1f} ms" + (f", {failed} not 200" if failed else ""),
            holds=p99 <= budget.p99_ms and failed == 0,
            counts=is_fast_enough,
            note="; ".join(notes),
        )
    )


def _at_a_pace(bench: Workbench, what: str, *, rate: float, mix: str, commits: bool = False) -> Figures:
    requests, seconds = bench.requests(), bench.arguments.seconds
    row = bench.measured(
        what, lambda: bench.fleet.paced(requests, rate=rate, seconds=seconds, mix=mix), commits=commits
    )
    # What was reached: a server that cannot keep up answers the last request as late as it was slow.
    row["rate"] = round(row["count"] / (seconds + row["max_ms"] / 1000), 1)
    return row


def _median_row(runs: list[Figures]) -> Figures:
    """Several runs of the same as one row: the medians of what was measured, the sums of what was counted."""
    row: Figures = {"what": runs[0]["what"], "runs": len(runs)}
    for name, value in runs[0].items():
        if isinstance(value, int | float):
            row[name] = round(median_of(runs, name), 4)
    row["count"] = sum(run["count"] for run in runs)
    row["not_200"] = _sums([run["not_200"] for run in runs])
    return row


def _sums(counts: list[dict[str, int]]) -> dict[str, int]:
    names = sorted({name for each in counts for name in each})
    return {name: sum(each.get(name, 0) for each in counts) for name in names}
