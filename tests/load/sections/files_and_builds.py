"""How fast customers' builds are made, and files sent: each on a server of its own (see the modules that measure)."""

from __future__ import annotations

from typing import Any

from tests.load import builds, downloads
from tests.load.results import check
from tests.load.workbench import Workbench

_MIB = 1024 * 1024


def measure_builds(bench: Workbench) -> None:
    """The rate of unattended builds, and a compile stage beside a bare relink."""
    measured = builds.measure(builds=bench.arguments.builds)
    builds.print_report(measured)
    published = measured.states.get("published", 0)
    ratio = measured.compile_ratio.ratio
    bench.results.checks += [
        check(
            "builds: published, of those asked for",
            wanted=str(measured.builds),
            measured=f"{published} ({measured.per_minute:.0f} a minute)",
            holds=published == measured.builds,
        ),
        check(
            "builds: a compile stage, in bare relinks",
            wanted=f"< {builds.MOST_RATIO}",
            measured=f"{ratio:.2f}",
            holds=ratio < builds.MOST_RATIO,
        ),
    ]
    bench.results.figures["builds"] = measured.as_json()


def measure_downloads(bench: Workbench) -> None:
    """How fast files are sent, and what slow readers cost those who ask."""
    quick = {"size": 64 * _MIB, "seconds": bench.arguments.seconds} if bench.arguments.quick else {}
    measured = downloads.measure(**quick)
    downloads.print_report(measured)
    _add_misses(bench, "downloads", measured)
    bench.results.figures["downloads"] = measured.as_json()


def _add_misses(bench: Workbench, what: str, measured: Any) -> None:
    found = [check(f"{what}: {miss}", wanted="", measured="", holds=False) for miss in measured.misses]
    kept = check(f"{what}: every promise kept", wanted="", measured="", holds=True)
    bench.results.checks += found or [kept]
