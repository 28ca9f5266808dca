"""A fleet that restarts at once: is every machine answered, soon enough, and served in the end."""

from __future__ import annotations

from dataclasses import asdict

from tests.load import restart
from tests.load.restart import ANSWER_SECONDS, SERVED_SECONDS, Report
from tests.load.results import check, print_figures
from tests.load.workbench import Workbench

MACHINES, WITHIN_SECONDS = 20_000, 10.0
_ANSWERS = {"200", "429", "503"}


def measure(bench: Workbench) -> None:
    """Start the machines and let them ask until they are served."""
    machines = min(MACHINES, bench.arguments.tokens)
    seconds = WITHIN_SECONDS * machines / MACHINES
    first = bench.changed
    requests = bench.requests_of("restart", begin=first, end=first + machines, kinds=("authenticate",))
    with bench.web():
        report = restart.run(bench.fleet, requests, machines=machines, seconds=seconds)
    bench.results.figures["restart"] = asdict(report)
    print_figures(
        [
            (f"{machines} machines restart in {seconds:.0f} s: served", f"{report.served}"),
            ("served in, median and last (s)", f"{report.served_median:.1f}  {report.served_last:.1f}"),
            (
                "an answer in, median, p99, last (s)",
                f"{report.answered_median:.2f}  {report.answered_p99:.2f}  {report.answered_last:.2f}",
            ),
            ("answers", f"{report.statuses} {report.errors or ''}"),
        ]
    )
    _check(bench, report)


def _check(bench: Workbench, report: Report) -> None:
    others = sorted(set(report.statuses) - _ANSWERS)
    bench.results.checks += [
        check(
            "restart: slowest answer",
            wanted=f"<= {ANSWER_SECONDS:.0f} s",
            measured=f"{report.answered_last:.1f} s",
            holds=report.answered_last <= ANSWER_SECONDS,
        ),
        check(
            "restart: answers but 200, 429, 503, or not told when",
            wanted="none",
            measured=f"{', '.join(others) or 'none'}; {report.untold}",
            holds=not others and report.untold == 0,
        ),
        check(
            "restart: connection errors",
            wanted="none",
            measured=str(sum(report.errors.values())),
            holds=not report.errors,
        ),
        check(
            "restart: all served within",
            wanted=f"<= {SERVED_SECONDS:.0f} s",
            measured=f"{report.served} in {report.served_last:.0f} s",
            holds=report.served == report.machines and report.served_last <= SERVED_SECONDS,
        ),
    ]
