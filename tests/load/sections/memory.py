"""How much a web process grows by the snapshots of many ordinary customers, measured in a process of its own."""

from __future__ import annotations

import json

from tests.load.results import check, print_figures
from tests.load.workbench import Workbench

MOST_MIB, MOST_KIB_EACH = 300.0, 1.5


def measure(bench: Workbench) -> None:
    """Fill a cache with every customer, and hold its growth against the budget."""
    customers = bench.specification.customers
    output = bench.server.run("web", ["-m", "tests.load.snapshot_memory", str(customers)])
    figures = json.loads(output.splitlines()[-1])
    grown_mib = (figures["after_kib"] - figures["before_kib"]) / 1024
    each_kib = (figures["after_kib"] - figures["before_kib"]) / figures["entries"]
    figures |= {"grown_mib": round(grown_mib, 1), "kib_each": round(each_kib, 3)}
    bench.results.figures["memory"] = figures
    print_figures(
        [
            (f"a web process without and with {figures['entries']} snapshots (MiB)",
             f"{figures['before_kib'] / 1024:.0f}  {figures['after_kib'] / 1024:.0f}"),
            ("each (KiB): by resident memory, by its own account",
             f"{each_kib:.2f}  {figures['told_bytes'] / figures['entries'] / 1024:.2f}"),
        ]
    )  # fmt: skip
    bench.results.checks += [
        check(
            f"memory: growth by {figures['entries']} snapshots",
            wanted=f"<= {MOST_MIB:.0f} MiB",
            measured=f"{grown_mib:.0f} MiB",
            holds=grown_mib <= MOST_MIB,
        ),
        check(
            "memory: mean of a snapshot",
            wanted=f"<= {MOST_KIB_EACH} KiB",
            measured=f"{each_kib:.2f} KiB",
            holds=each_kib <= MOST_KIB_EACH,
        ),
    ]
