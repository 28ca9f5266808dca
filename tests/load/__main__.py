"""`make bench`: what this server can do on this machine, beside a bare Django view in the same run.

Loads customers, mints tokens with the server's own code, and measures with everything on one machine: web processes,
PostgreSQL, Valkey and the load. Prints a table, holds it against the budget, and writes JSON. Traffic goes to loopback
alone. docs/performance.md says how to read it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.load.results import MISS, Results, describe_machine, print_checks, print_head, tell
from tests.load.sections import files_and_builds, hot_path, memory, obedience, restart
from tests.load.workbench import Workbench

Section = Callable[[Workbench], None]
SECTIONS: dict[str, Section] = {
    "mix": hot_path.measure_mix,
    "revocation": obedience.measure,
    "memory": memory.measure,
    "restart": restart.measure,
    "builds": files_and_builds.measure_builds,
    "downloads": files_and_builds.measure_downloads,
}
QUICK = {"customers": 2000, "tokens": 1500, "seconds": 3.0, "runs": 1, "changes": 3, "builds": 5}


def main() -> int:
    """Measure as the arguments say; 0 unless a section failed, or with `--strict` a line of the budget was missed."""
    arguments = _arguments()
    results, machine = Results(), describe_machine()
    with Workbench.new_server() as server:
        _measure(Workbench(server, arguments, results), results)
    print_checks(results.checks)
    results.write(arguments.out, machine)
    tell(f"\nwritten to {arguments.out}")
    for section, failure in results.failures.items():
        tell(f"{section} could not be measured: {failure}")
    is_missed = any(each.verdict == MISS for each in results.checks)
    return 1 if results.failures or (arguments.strict and is_missed) else 0


def _measure(bench: Workbench, results: Results) -> None:
    print_head()
    wanted = bench.arguments.only
    kinds = [kind for kind in hot_path.KINDS if kind in wanted]
    if kinds:
        _attempt(", ".join(kinds), lambda bench: hot_path.measure(bench, kinds), bench, results)
    for name, section in SECTIONS.items():
        if name in wanted:
            _attempt(name, section, bench, results)


def _attempt(name: str, section: Section, bench: Workbench, results: Results) -> None:
    """Measure one section; one that fails takes no other with it."""
    try:
        section(bench)
    except Exception as exc:  # noqa: BLE001  told at the end, with exit code 1
        results.failures[name] = f"{type(exc).__name__}: {exc}"
        tell(f"{name} failed: {results.failures[name]}")


def _arguments() -> argparse.Namespace:
    names = [*hot_path.KINDS, *SECTIONS]
    parser = argparse.ArgumentParser(prog="make bench ARGS='...'", description=__doc__)
    parser.add_argument("--only", type=lambda text: _names(text, names), default=names, metavar="A,B",
                        help=f"some of: {', '.join(names)}")  # fmt: skip
    parser.add_argument("--customers", type=int, default=100_000)
    parser.add_argument("--tokens", type=int, default=20_000, help="installations, each with a token of its own")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long a paced run lasts")
    parser.add_argument("--runs", type=int, default=5, help="how often each pace is run; the median p99 counts")
    parser.add_argument("--changes", type=int, default=100, help="how many changes of each kind")
    parser.add_argument("--builds", type=int, default=200, help="how many customers' builds")
    parser.add_argument("--quick", action="store_true", help="little of everything, in two minutes")
    parser.add_argument("--strict", action="store_true", help="exit with 1 where the budget is missed")
    parser.add_argument("--out", type=Path, default=Path("bench-results/bench.json"))
    arguments = parser.parse_args()
    if arguments.quick:
        vars(arguments).update(QUICK)
    return arguments


def _names(text: str, known: Sequence[str]) -> list[str]:
    names = [name for name in text.split(",") if name]
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise argparse.ArgumentTypeError(f"no section is called {', '.join(unknown)}")
    return names


if __name__ == "__main__":
    sys.exit(main())
