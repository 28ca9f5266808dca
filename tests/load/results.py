"""What a run of the benchmark found: rows of figures, checks against the budget, and how both are told."""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

PASS, MISS, NOT_COUNTED = "PASS", "MISS", "not counted"

Figures = dict[str, Any]


@dataclass(frozen=True)
class Check:
    """One line of the budget: what was wanted, what was measured, and whether that is enough."""

    what: str
    wanted: str
    measured: str
    verdict: str
    note: str = ""


def check(what: str, *, wanted: str, measured: str, holds: bool, counts: bool = True, note: str = "") -> Check:
    """Hold a figure against its line of the budget; one that does not count on this machine is told all the same."""
    verdict = PASS if holds else MISS if counts else NOT_COUNTED
    return Check(what, wanted, measured, verdict, note)


@dataclass
class Results:
    """Everything found so far. `figures` are a section's own, beside its rows."""

    rows: list[Figures] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def row(self, what: str) -> Figures | None:
        """The row of that name, if it was measured."""
        return next((row for row in self.rows if row["what"] == what), None)

    def write(self, path: Path, machine: Figures) -> None:
        """Write all of it as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        document = {"machine": machine, **asdict(self)}
        path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def describe_machine() -> Figures:
    """Where and when this was measured, and how busy the machine was before."""
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpus": len(os.sched_getaffinity(0)),
        "model": model,
        "python": platform.python_version(),
        "load_average": [round(each, 2) for each in os.getloadavg()],
    }


def median_of(runs: Sequence[Figures], member: str) -> float:
    """The median of one figure over several runs of the same."""
    return statistics.median(float(run[member]) for run in runs)


_HEAD = (
    f"{'what':36} {'req/s':>7} {'of bare':>7} {'p50 ms':>8} {'p99 ms':>8} {'max ms':>8}"
    f" {'web CPU ms':>10} {'store CPU ms':>12} {'MiB':>5} {'others':>6} {'disk p99':>8}  not 200\n"
)


def print_head() -> None:
    """The head of the table of rows."""
    _tell(_HEAD)


def print_row(row: Figures) -> None:
    """One row, as soon as it is known."""
    of_bare = f"{row['of_bare']:7.3f}" if row.get("of_bare") else " " * 7
    disk = f"{row['disk_p99_ms']:8.1f}" if "disk_p99_ms" in row else " " * 8
    _tell(
        f"{row['what']:36} {row['rate']:7.0f} {of_bare} {row['p50_ms']:8.2f} {row['p99_ms']:8.2f} {row['max_ms']:8.1f}"
        f" {row['web_cpu_ms']:10.3f} {row['store_cpu_ms']:12.3f} {row['resident_mib']:5.0f} {row['others_cpus']:6.2f}"
        f" {disk}  {row['not_200'] or ''}\n"
    )


def print_histogram(title: str, buckets: Iterable[tuple[str, int]]) -> None:
    """Bars of counts, the longest forty characters wide."""
    counted = list(buckets)
    most = max((count for _, count in counted), default=0)
    _tell(f"\n{title}\n")
    for name, count in counted:
        bar = "#" * max(1 if count else 0, round(40 * count / most)) if most else ""
        _tell(f"{name:>16} {count:7}  {bar}\n")


def print_figures(lines: Iterable[tuple[str, str]]) -> None:
    """Named figures, one a line."""
    for name, value in lines:
        _tell(f"{name:44} {value}\n")


def print_checks(checks: Iterable[Check]) -> None:
    """The budget, line by line."""
    _tell(f"\n{'budget':58} {'wanted':>22} {'measured':>22}  verdict\n")
    for each in checks:
        note = f"  ({each.note})" if each.note else ""
        _tell(f"{each.what:58} {each.wanted:>22} {each.measured:>22}  {each.verdict}{note}\n")


def tell(text: str) -> None:
    """One line of progress."""
    _tell(f"{text}\n")


def _tell(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
