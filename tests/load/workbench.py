"""The place where sections measure: a server with its customers, the fleet, and how both are started and watched."""

from __future__ import annotations

import argparse
import os
import resource
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import psycopg

from licensing.embedded.port import HOST
from tests.load.disk import DiskWatch
from tests.load.fleet_program import Fleet, build
from tests.load.population import Specification
from tests.load.results import Figures, Results, print_row, tell
from tests.load.revocation import OF_A_PLUGIN, members_needed
from tests.load.server import LoadServer, cpu_seconds, free_port, resident_bytes

# A plugin token of this server lives for an hour; requests that hold older ones are written anew.
_TOKEN_SECONDS = 3600
_FRESH_SECONDS = 1500.0
# How often each token is asked about, for each process, before anything is measured; and for how long at most.
_VISITS, _WARM_SECONDS = 3, 120.0
BARE, BARE_PROCESS = "a bare Django view", "bare"
_MINTING = ("KEK_TOKENS", "KEK_AUTH", "KEK_BUILDS", "API_KEY_PEPPERS")


class Workbench:
    """One server for a whole run. Nothing is started or loaded before a section needs it."""

    def __init__(self, server: LoadServer, arguments: argparse.Namespace, results: Results) -> None:
        self.server = server
        self.arguments = arguments
        self.results = results
        self._written: dict[str, float] = {}

    @staticmethod
    def new_server() -> LoadServer:
        """A server whose tokens outlive several measurements."""
        return LoadServer(settings={"TOKEN_TTL_SECONDS": str(_TOKEN_SECONDS)})

    @cached_property
    def program(self) -> Path:
        """The compiled fleet."""
        return build(self.server.root)

    @property
    def fleet(self) -> Fleet:
        """The fleet, asking the web processes."""
        return Fleet(self.program, self.server.address)

    @property
    def changed(self) -> int:
        """How many installations the changes use up: the first ones, which nothing else is measured with."""
        return members_needed(self.arguments.changes)

    @cached_property
    def specification(self) -> Specification:
        """Customers, keys, overrides and installations, written to the database when this is first asked for."""
        arguments = self.arguments
        installations = arguments.tokens + self.changed
        specification = Specification(
            customers=max(arguments.customers, installations),
            installations=installations,
            own_plugins=len(OF_A_PLUGIN) * arguments.changes,
            built=self.changed,
            members_file=str(self.server.root / "members.json"),
            requests_file=str(self.server.root / "requests"),
            host=self.server.address,
            begin=self.changed,
        )
        tell(f"loading {specification.customers} customers and {installations} installations")
        self._written["requests"] = self._populate(specification)
        with psycopg.connect(self.server.owner_url, autocommit=True) as connection:
            # What the server itself would do a minute later, in the middle of a measurement.
            connection.execute("VACUUM ANALYZE")
        return specification

    def requests(self) -> Path:
        """Requests of every installation that no change concerns, with tokens that are far from their end."""
        return self._fresh(self.specification, "requests")

    def requests_of(self, name: str, *, begin: int, end: int, kinds: tuple[str, ...]) -> Path:
        """Requests of some installations and some kinds, in a file of their own."""
        path = self.server.root / f"requests-{name}"
        wanted = replace(self.specification, requests_file=str(path), begin=begin, end=end, kinds=kinds)
        return self._fresh(wanted, name)

    @contextmanager
    def web(self, *, workers: int | None = None, extra: Mapping[str, str] | None = None) -> Iterator[None]:
        """Web processes as the quickstart runs them, but for what is given here, for as long as the block lasts."""
        self.server.start_web(workers=workers, extra=extra)
        try:
            yield
        finally:
            self.server.stop_web()

    def warm(self) -> None:
        """Ask until every web process has most likely seen every token: a cold one is the first minutes' business."""
        requests, deadline = self.requests(), time.monotonic() + _WARM_SECONDS
        wanted = _VISITS * len(self.server.web_pids()) * self.arguments.tokens
        while wanted > 0 and time.monotonic() < deadline:
            seconds = min(10.0, self.arguments.seconds)
            wanted -= self.fleet.closed(requests, seconds=seconds, mix="validate=1")["all"]["count"]

    @contextmanager
    def bare(self) -> Iterator[tuple[Fleet, Path]]:
        """The bare view on a port of its own, and the one request that it is asked."""
        port = free_port()
        requests = self.server.root / "bare-requests"
        head = f"GET / HTTP/1.1\r\nHost: {HOST}:{port}\r\n\r\n".encode()
        requests.write_bytes(bytes([4]) + b"bare" + len(head).to_bytes(4, "big") + head)
        self.server.start_web(name=BARE_PROCESS, application="tests.load.bare:application", port=port)
        try:
            yield Fleet(self.program, f"{HOST}:{port}"), requests
        finally:
            self.server.stop_web(BARE_PROCESS)

    def bare_rate(self) -> float:
        """What the bare view reached in this run."""
        bare = self.results.row(BARE)
        if bare is None:
            raise LookupError("the bare view was not measured")
        rate: float = bare["rate"]
        return rate

    def measured(self, what: str, run: Callable[[], Any], *, web: str = "web", commits: bool = False) -> Figures:
        """Run a measurement and tell what it cost: CPU of web and stores for each request, memory, what else ran.

        `commits`: its answers wait for the disk, so tell how long a bare write waits for it meanwhile.
        """
        before, began = self._cpu(web), time.monotonic()
        result, disk = self._beside_the_disk(run) if commits else (run()["all"], {})
        elapsed = time.monotonic() - began
        used = {name: after - before[name] for name, after in self._cpu(web).items()}
        others = used["machine"] - used["web"] - used["stores"] - used["fleet"]
        count = max(1, result["count"])
        not_200 = {status: seen for status, seen in result["statuses"].items() if status != "200"}
        return {
            "what": what,
            **{name: result[name] for name in ("count", "rate", "p50_ms", "p90_ms", "p99_ms", "p999_ms", "max_ms")},
            "not_200": {**not_200, **result["errors"]},
            # The warm-up is served too and not counted, so these are a little high.
            "web_cpu_ms": round(1000 * used["web"] / count, 3),
            "store_cpu_ms": round(1000 * used["stores"] / count, 3),
            "resident_mib": round(self.resident_mib(web), 1),
            "others_cpus": round(max(0.0, others) / elapsed, 2),
            **disk,
        }

    def _beside_the_disk(self, run: Callable[[], Any]) -> tuple[Any, Figures]:
        with DiskWatch(self.server.root / "disk-watch") as watch:
            return run()["all"], watch.figures()

    def add_row(self, row: Figures) -> Figures:
        """Keep a row, and show it."""
        self.results.rows.append(row)
        print_row(row)
        return row

    def resident_mib(self, web: str = "web") -> float:
        """Resident memory of the processes that serve requests, together."""
        return sum(resident_bytes(pid) for pid in self.server.web_pids(web)) / 2**20

    def _fresh(self, specification: Specification, name: str) -> Path:
        if time.monotonic() - self._written.get(name, float("-inf")) > _FRESH_SECONDS:
            self._written[name] = self._populate(specification)
        return Path(specification.requests_file)

    def _populate(self, specification: Specification) -> float:
        began = time.monotonic()
        path = self.server.root / "specification.json"
        specification.write(path)
        self.server.run("owner", ["-m", "tests.load.population", str(path)], extra=self._minting())
        return began

    def _minting(self) -> dict[str, str]:
        """What only a web process has, and minting needs."""
        web = self.server.environment("web")
        names = [each for name in _MINTING for each in (name, f"{name}_FILE")]
        return {name: web[name] for name in names if name in web}

    def _cpu(self, web: str) -> dict[str, float]:
        stores = sum(cpu_seconds(self.server.program_pid(name)) for name in ("postgres", "valkey"))
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        return {
            "web": cpu_seconds(self.server.program_pid(web)),
            "stores": stores,
            "fleet": ended.ru_utime + ended.ru_stime,
            "machine": _machine_seconds(),
        }


def _machine_seconds() -> float:
    """User, nice, system and interrupt time of all CPUs."""
    fields = [int(word) for word in Path("/proc/stat").read_text(encoding="ascii").partition("\n")[0].split()[1:]]
    busy = sum(fields[place] for place in (0, 1, 2, 5, 6))
    return busy / os.sysconf("SC_CLK_TCK")
