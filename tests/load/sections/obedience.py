"""How long after its COMMIT a change is obeyed, by four web processes under load: the histogram, and the promise."""

from __future__ import annotations

import json
import statistics
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.load.fleet_program import Fleet
from tests.load.population import Member
from tests.load.results import Figures, check, print_figures, print_histogram
from tests.load.revocation import LOCKDOWN, PROMISE_SECONDS, Report, Watch, run
from tests.load.sections.hot_path import BUDGET
from tests.load.server import GENEROUS_LIMITS
from tests.load.workbench import Workbench

PROCESSES = 4
SHARE_OF_PACE = 0.7
MOST_UNAVAILABLE = 0.001
_WATCH_RATE, _WAVE, _PIECE_SECONDS = 600.0, 20, 15.0
_EDGES_MS = (1, 5, 10, 25, 50, 100, 250, 500, 1000)


@dataclass
class Load:
    """Validates at an even pace for as long as the block lasts, one run of the fleet after the other."""

    fleet: Fleet
    requests: Path
    rate: float
    answers: int = 0
    statuses: dict[str, int] = field(default_factory=dict)
    errors: dict[str, int] = field(default_factory=dict)
    worst_p99_ms: float = 0.0

    def __enter__(self) -> Load:
        self._ending = threading.Event()
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            while not self._ending.is_set():
                ran = self.fleet.paced(
                    self.requests, rate=self.rate, seconds=_PIECE_SECONDS, connections=32, mix="validate=1", warmup=0
                )
                self._add(ran["all"])
        except Exception as exc:  # noqa: BLE001  raised again where the block ends
            self._failure = exc

    def _add(self, ran: dict[str, Any]) -> None:
        self.answers += ran["count"]
        for status, count in ran["statuses"].items():
            self.statuses[status] = self.statuses.get(status, 0) + count
        for error, count in ran["errors"].items():
            self.errors[error] = self.errors.get(error, 0) + count
        self.worst_p99_ms = max(self.worst_p99_ms, ran["p99_ms"])


def measure(bench: Workbench) -> None:
    """Make the changes under load, and tell what was seen."""
    changes, changed = bench.arguments.changes, bench.changed
    requests = bench.requests()
    watched = bench.requests_of("watched", begin=0, end=changed, kinds=("validate",))
    members = [Member(**each) for each in json.loads(Path(bench.specification.members_file).read_text())][:changed]
    with bench.web(workers=PROCESSES, extra=GENEROUS_LIMITS):
        bench.warm()
        most = bench.fleet.closed(requests, seconds=min(10.0, bench.arguments.seconds), mix="validate=1")["all"]["rate"]
        total = SHARE_OF_PACE * min(BUDGET["validate"].rate, most)
        rate = max(50.0, total - _WATCH_RATE)
        with Load(bench.fleet, requests, rate) as load, Watch(bench.fleet, watched, rate=_WATCH_RATE) as watch:
            report = run(watch, members, url=bench.server.owner_url, changes=changes, lockdowns=changes, wave=_WAVE)
    _tell(bench, report, load, rate=rate, most=most)


def _tell(bench: Workbench, report: Report, load: Load, *, rate: float, most: float) -> None:
    delays = sorted(1000 * each for kind in report.obeyed_after.values() for each in kind)
    unavailable = report.unavailable + load.statuses.get("503", 0)
    answers = report.answers + load.answers
    by_kind = {kind: len(each) for kind, each in report.obeyed_after.items()}
    figures: Figures = {
        "processes": PROCESSES,
        "closed_loop_rate": round(most, 1),
        "load_rate": round(rate, 1),
        "watch_rate": _WATCH_RATE,
        "load_worst_p99_ms": load.worst_p99_ms,
        "changes": len(delays),
        "changes_by_kind": by_kind,
        "p50_ms": _quantile(delays, 0.5),
        "p99_ms": _quantile(delays, 0.99),
        "max_ms": delays[-1],
        "late": [(kind, round(1000 * each, 1)) for kind, each in report.late],
        "answers": answers,
        "unavailable": unavailable,
        "limited": report.limited,
        "load_statuses": load.statuses,
        "load_errors": load.errors,
        "histogram": dict(_buckets(delays)),
        "by_kind_ms": {kind: _spread([1000 * each for each in found]) for kind, found in report.obeyed_after.items()},
    }
    bench.results.figures["revocation"] = figures
    print_histogram(
        f"commit to obeyed, {len(delays)} changes, {PROCESSES} processes, {rate + _WATCH_RATE:,.0f} validates/s",
        _buckets(delays),
    )
    print_figures(
        [
            ("p50, p99, max (ms)", f"{figures['p50_ms']:.1f}  {figures['p99_ms']:.1f}  {figures['max_ms']:.1f}"),
            ("of each kind at least", str(min(by_kind.values()))),
            ("503s", f"{unavailable} of {answers} ({unavailable / max(1, answers):.4%})"),
            ("worst p99 of the load meanwhile (ms)", f"{load.worst_p99_ms:.1f}"),
        ]
    )
    _check(bench, report, p50_ms=figures["p50_ms"], share=unavailable / max(1, answers), errors=load.errors)


def _check(bench: Workbench, report: Report, *, p50_ms: float, share: float, errors: dict[str, int]) -> None:
    worst = max(each for found in report.obeyed_after.values() for each in found)
    bench.results.checks += [
        check(
            "revocation: the old yes after its COMMIT, at most",
            wanted=f"<= {PROMISE_SECONDS:.0f} s",
            measured=f"{worst * 1000:.0f} ms",
            holds=not report.late and LOCKDOWN in report.obeyed_after,
        ),
        check("revocation: p50 of commit to obeyed", wanted="< 100 ms", measured=f"{p50_ms:.1f} ms",
              holds=p50_ms < 100),
        check("revocation: share of 503s", wanted=f"< {MOST_UNAVAILABLE:.1%}", measured=f"{share:.4%}",
              holds=share < MOST_UNAVAILABLE),
        check("revocation: connection errors", wanted="none", measured=str(sum(errors.values())), holds=not errors),
    ]  # fmt: skip


def _buckets(delays_ms: Iterable[float]) -> list[tuple[str, int]]:
    """How many changes were obeyed within each span; the last has no end."""
    counts = [0] * (len(_EDGES_MS) + 1)
    for delay in delays_ms:
        counts[next((place for place, edge in enumerate(_EDGES_MS) if delay <= edge), len(_EDGES_MS))] += 1
    names = [f"<= {edge} ms" for edge in _EDGES_MS] + [f"> {_EDGES_MS[-1]} ms"]
    return list(zip(names, counts, strict=True))


def _quantile(ordered: list[float], part: float) -> float:
    return round(ordered[min(int(part * len(ordered)), len(ordered) - 1)], 2)


def _spread(delays_ms: list[float]) -> dict[str, float]:
    return {"p50": round(statistics.median(delays_ms), 2), "max": round(max(delays_ms), 2)}
