"""`make bench`: what the hot path can do on this machine, beside a bare Django view in the same run.

Loads customers, mints tokens with the server's own code, and measures with everything on one machine: web processes,
PostgreSQL, Valkey and the load. Prints a table and writes JSON. Traffic goes to loopback alone.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from licensing.embedded.port import HOST
from tests.load.fleet_program import Fleet, build
from tests.load.population import Specification
from tests.load.server import LoadServer, cpu_seconds, free_port, resident_bytes

KINDS = ("validate", "authenticate", "refresh")
FLEET_MIX = "validate=6,refresh=3,authenticate=1"
PACES = {"validate": 3400.0, "authenticate": 1000.0}

Row = dict[str, Any]


def main() -> int:
    """Measure as the arguments say."""
    parser = argparse.ArgumentParser(prog="make bench ARGS='...'", description=__doc__)
    parser.add_argument("--customers", type=int, default=100_000)
    parser.add_argument("--tokens", type=int, default=20_000, help="installations, each with a token of its own")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long each measurement lasts")
    parser.add_argument("--quick", action="store_true", help="2,000 customers, 3 seconds each")
    parser.add_argument("--out", type=Path, default=Path("bench-results/bench.json"))
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.customers, arguments.tokens, arguments.seconds = 2000, 2000, 3.0
    with LoadServer(settings={"TOKEN_TTL_SECONDS": "3600"}) as server:
        rows = measure(server, arguments)
    print_table(rows)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    sys.stdout.write(f"written to {arguments.out}\n")
    return 0


def measure(server: LoadServer, arguments: argparse.Namespace) -> list[Row]:
    """Every measurement, one after the other, in one run."""
    specification = Specification(
        customers=arguments.customers,
        installations=arguments.tokens,
        requests_file=str(server.root / "requests"),
        members_file=str(server.root / "members.json"),
        host=server.address,
    )
    path = server.root / "specification.json"
    specification.write(path)
    sys.stdout.write(f"loading {arguments.customers} customers and {arguments.tokens} tokens\n")
    server.run("owner", ["-m", "tests.load.population", str(path)], extra=_minting(server))
    program, requests = build(server.root), Path(specification.requests_file)
    rows = [_bare(server, program, arguments.seconds)]
    server.start_web()
    fleet = Fleet(program, server.address)
    _measured(server, "warm-up", lambda: fleet.closed(requests, seconds=arguments.seconds, mix="validate=1"))
    for kind in KINDS:
        rows.append(
            _measured(
                server,
                f"{kind}, 16 connections",
                lambda kind=kind: fleet.closed(requests, seconds=arguments.seconds, mix=f"{kind}=1"),  # type: ignore[misc]
            )
        )
    for kind, rate in PACES.items():
        rows.append(
            _measured(
                server,
                f"{kind}, paced {rate:.0f}/s",
                lambda kind=kind, rate=rate: fleet.paced(  # type: ignore[misc]
                    requests, rate=rate, seconds=arguments.seconds, mix=f"{kind}=1"
                ),
            )
        )
    rows.append(
        _measured(
            server,
            "a fleet's mix, paced 1500/s",
            lambda: fleet.paced(requests, rate=1500, seconds=arguments.seconds, mix=FLEET_MIX),
        )
    )
    ceiling = rows[0]["rate"]
    for row in rows:
        row["of_bare"] = round(row["rate"] / ceiling, 3)
    return rows


def print_table(rows: list[Row]) -> None:
    """For people."""
    sys.stdout.write(
        f"{'what':32} {'req/s':>8} {'of bare':>8} {'p50 ms':>8} {'p99 ms':>8} {'CPU ms':>7} {'MiB':>6}  not 200\n"
    )
    for row in rows:
        sys.stdout.write(
            f"{row['what']:32} {row['rate']:8.0f} {row['of_bare']:8.2f} {row['p50_ms']:8.2f} {row['p99_ms']:8.2f}"
            f" {row['cpu_ms_each']:7.3f} {row['resident_mib']:6.0f}  {row['not_200']}\n"
        )


def _minting(server: LoadServer) -> dict[str, str]:
    """What only a web process has, and minting needs."""
    wanted = ("KEK_TOKENS_FILE", "KEK_TOKENS", "KEK_AUTH_FILE", "KEK_AUTH", "API_KEY_PEPPERS_FILE", "API_KEY_PEPPERS")
    web = server.environment("web")
    return {name: web[name] for name in wanted if name in web}


def _bare(server: LoadServer, program: Path, seconds: float) -> Row:
    port = free_port()
    requests = server.root / "bare-requests"
    head = f"GET / HTTP/1.1\r\nHost: {HOST}:{port}\r\n\r\n".encode()
    requests.write_bytes(bytes([4]) + b"bare" + len(head).to_bytes(4, "big") + head)
    server.start_web(name="bare", application="tests.load.bare:application", port=port)
    try:
        fleet = Fleet(program, f"{HOST}:{port}")
        return _measured(server, "a bare Django view", lambda: fleet.closed(requests, seconds=seconds), name="bare")
    finally:
        server.stop_web("bare")


def _measured(server: LoadServer, what: str, run: Callable[[], Any], *, name: str = "web") -> Row:
    before = cpu_seconds(server.program_pid(name))
    result = run()["all"]
    cpu = cpu_seconds(server.program_pid(name)) - before
    resident = sum(resident_bytes(pid) for pid in server.web_pids(name)) / 2**20
    others = {status: count for status, count in result["statuses"].items() if status != "200"}
    return {
        "what": what,
        **{member: result[member] for member in ("count", "rate", "p50_ms", "p90_ms", "p99_ms", "max_ms")},
        "not_200": {**others, **result["errors"]},
        # The warm-up is served too and not counted, so this is a little high.
        "cpu_ms_each": round(1000 * cpu / max(1, result["count"]), 3),
        "resident_mib": round(resident, 1),
    }


if __name__ == "__main__":
    sys.exit(main())
