"""What happens to a server under load when something it stands on stops, dies, or goes silent (DESIGN §7).

KEYWRIGHT_FAULT_SECONDS sets how long PostgreSQL stands still (8 unless told).
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests.licensing.snapshots.relay import Relay
from tests.load import restart
from tests.load.fleet_program import Fleet, build
from tests.load.population import Member, Specification
from tests.load.revocation import PROMISE_SECONDS
from tests.load.server import GENEROUS_LIMITS, LoadServer, tree

STOPPED_SECONDS = float(os.environ.get("KEYWRIGHT_FAULT_SECONDS", "8"))  # longer than anybody waits for a statement
LIVEZ_SECONDS = 4.0  # less than that, or a web process without a free thread would not be noticed
RECOVERY_SECONDS = 60.0

MEMBERS = 80  # used up one by one, several for each fault
FLEET = 240  # machines that start at once

Request = tuple[str, str, dict[str, str], bytes]


@dataclass
class Said:
    """One answer; times in Unix seconds. `status` 0: the connection broke. Header names in lower case."""

    kind: str
    sent: float
    answered: float
    status: int
    is_yes: bool = False
    headers: dict[str, str] = field(default_factory=dict)


class Machine(threading.Thread):
    """One plugin that asks all the time, over a connection it keeps."""

    def __init__(self, port: int, request: Request) -> None:
        super().__init__()
        self._port = port
        self._request = request
        self._stop_asking = threading.Event()
        self.kind = request[0]
        self.said: list[Said] = []

    def run(self) -> None:
        connection: http.client.HTTPConnection | None = None
        while not self._stop_asking.wait(0.02):
            connection = connection or http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
            sent = time.time()
            try:
                self.said.append(self._ask(connection, sent))
            except (OSError, http.client.HTTPException, ValueError):
                connection.close()
                connection = None
                self.said.append(Said(self.kind, sent, time.time(), 0))
        if connection is not None:
            connection.close()

    def _ask(self, connection: http.client.HTTPConnection, sent: float) -> Said:
        kind, path, headers, body = self._request
        connection.request("POST" if body or kind != "livez" else "GET", path, body or None, headers)
        response = connection.getresponse()
        answer: dict[str, Any] = json.loads(response.read())
        told = {name.lower(): value for name, value in response.headers.items()}
        is_yes = answer.get("valid") is True or answer.get("success") is True
        return Said(kind, sent, time.time(), response.status, is_yes, told)

    def end(self) -> None:
        self._stop_asking.set()


class Scene:
    """A server, the machines that ask it, and what they were told."""

    def __init__(self, server: LoadServer, members: Iterator[tuple[Member, dict[str, bytes]]]) -> None:
        self.server = server
        self._members = members
        self._machines: list[Machine] = []

    def ask(self, *kinds: str, machines: int = 1) -> tuple[Member, list[Machine]]:
        """Have machines of one more member ask for these kinds of answer, all the time."""
        member, bodies = next(self._members)
        started = [Machine(self.server.port, _request(kind, bodies)) for kind in kinds for _ in range(machines)]
        for machine in started:
            machine.start()
        self._machines += started
        return member, started

    def said(self, kind: str, *, since: float = 0, until: float = float("inf")) -> list[Said]:
        """Everything that was said to requests sent in this time."""
        every = [said for machine in self._machines for said in list(machine.said)]
        return [said for said in every if said.kind == kind and since <= said.sent < until]

    def wait_for(self, what: Callable[[], bool], *, seconds: float = RECOVERY_SECONDS) -> None:
        deadline = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < deadline, [
                (machine.kind, said.status, said.is_yes) for machine in self._machines for said in machine.said[-2:]
            ]
            time.sleep(0.02)

    def wait_for_yes(self, kind: str, since: float) -> None:
        """Wait until this is answered with yes again."""
        self.wait_for(lambda: sum(said.is_yes for said in self.said(kind, since=since)) >= 5)

    def end(self) -> None:
        for machine in self._machines:
            machine.end()
        for machine in self._machines:
            machine.join()

    def assert_lived(self) -> None:
        """`/livez` was always answered, and soon; whatever else was asked was never answered by an error of ours."""
        alive = self.said("livez")
        assert {said.status for said in alive} == {200}
        assert max(said.answered - said.sent for said in alive) < LIVEZ_SECONDS
        assert 500 not in {said.status for machine in self._machines for said in machine.said}

    def assert_remembers_what_it_acknowledged(self) -> None:
        """Every authenticate that was answered with yes has its audit row."""
        acknowledged = {said.headers["x-request-id"] for said in self.said("authenticate") if said.is_yes}
        assert acknowledged
        with psycopg.connect(self.server.owner_url) as connection:
            rows = connection.execute(
                "SELECT request_id FROM audit_event WHERE action = 'plugin.authenticated' AND request_id = ANY(%s)",
                [list(acknowledged)],
            ).fetchall()
        assert {row[0] for row in rows} == acknowledged

    def assert_obeys_a_revocation(self) -> None:
        """From a COMMIT on, nobody is told the old yes later than a second after."""
        # So many that both web processes are asked.
        member, asking = self.ask("validate", machines=6)
        self.wait_for(lambda: all(any(said.is_yes for said in list(machine.said)) for machine in asking))
        with psycopg.connect(self.server.owner_url, autocommit=True) as connection:
            connection.execute("UPDATE api_key SET revoked_at = now() WHERE id = %s", [member.key_id])
        committed = time.time()
        enough = committed + PROMISE_SECONDS + 0.3
        self.wait_for(lambda: all(machine.said[-1].sent > enough for machine in asking))
        for machine in asking:
            machine.end()
        assert 429 not in {said.status for machine in asking for said in machine.said}
        old_yes = [said.sent - committed for machine in asking for said in machine.said if said.is_yes]
        assert max(old_yes) <= PROMISE_SECONDS


def _request(kind: str, bodies: dict[str, bytes]) -> Request:
    if kind == "livez":
        return kind, "/livez", {}, b""
    head, _, body = bodies[kind].partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    return kind, first.split(" ")[1], dict(line.split(": ", 1) for line in lines), body


@pytest.fixture(scope="module")
def server() -> Iterator[LoadServer]:
    with LoadServer(settings=GENEROUS_LIMITS) as server:
        yield server


@pytest.fixture(scope="module")
def members(server: LoadServer) -> Iterator[tuple[Member, dict[str, bytes]]]:
    """A population, and the requests of each member, to be used up one by one."""
    specification = Specification(
        customers=MEMBERS + FLEET,
        installations=MEMBERS + FLEET,
        end=MEMBERS,
        requests_file=str(server.root / "requests"),
        members_file=str(server.root / "members.json"),
        host=server.address,
    )
    specification.write(server.root / "specification.json")
    server.run("web", ["-m", "tests.load.population", str(server.root / "specification.json")])
    known = [Member(**each) for each in json.loads(Path(specification.members_file).read_text())[:MEMBERS]]
    return zip(known, _requests_by_member(Path(specification.requests_file)), strict=True)


def _requests_by_member(path: Path) -> Iterator[dict[str, bytes]]:
    data, at = path.read_bytes(), 0
    found: dict[str, bytes] = {}
    while at < len(data):
        end = at + 1 + data[at]
        kind, length = data[at + 1 : end].decode(), int.from_bytes(data[end : end + 4], "big")
        at = end + 4 + length
        if kind in found:
            yield found
            found = {}
        found[kind] = data[at - length : at]
    yield found


@pytest.fixture(scope="module")
def relay(server: LoadServer, members: object) -> Iterator[Relay]:
    """What stands between the listeners of the web processes and PostgreSQL."""
    parts = conninfo_to_dict(server.web_url)
    with Relay(f"{parts['host']}/.s.PGSQL.{parts['port']}") as relay:
        listen_url = make_conninfo(server.web_url, host="127.0.0.1", port=relay.port)
        server.start_web(workers=2, extra={"DATABASE_LISTEN_URL": listen_url})
        yield relay
        server.stop_web()


@pytest.fixture
def scene(server: LoadServer, relay: Relay, members: Iterator[tuple[Member, dict[str, bytes]]]) -> Iterator[Scene]:
    """Machines that ask for everything, and for /livez, and are answered."""
    scene = Scene(server, members)
    try:
        scene.ask("validate", machines=3)
        scene.ask("authenticate", machines=2)
        scene.ask("livez")
        scene.wait_for_yes("validate", 0)
        scene.wait_for_yes("authenticate", 0)
        yield scene
    finally:
        scene.end()


def signal_all(pids: list[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def listening_backends(server: LoadServer) -> list[int]:
    """The backends that the web processes listen by; asked as their own role, since others may not see."""
    with psycopg.connect(server.web_url, autocommit=True) as connection:
        rows = connection.execute(
            "SELECT pid FROM pg_stat_activity WHERE application_name = 'keywright-listener'"
        ).fetchall()
    return [int(str(pid)) for (pid,) in rows]


def test_postgresql_stopped_and_going_on(scene: Scene) -> None:
    postmaster = scene.server.program_pid("postgres")
    os.kill(postmaster, signal.SIGSTOP)  # first, so that it makes no more of them
    pids = tree(postmaster)
    signal_all(pids, signal.SIGSTOP)
    stopped = time.time()
    try:
        scene.wait_for(lambda: time.time() > stopped + STOPPED_SECONDS)
    finally:
        went_on = time.time()
        signal_all(pids, signal.SIGCONT)
    scene.wait_for_yes("validate", went_on)
    scene.wait_for_yes("authenticate", went_on)
    # What cannot be known is not guessed: nobody saw whether something changed meanwhile.
    blind = [said for said in scene.said("validate", since=stopped + PROMISE_SECONDS) if said.answered < went_on]
    assert {said.status for said in blind} == {503}
    assert all("retry-after" in said.headers for said in blind)
    scene.assert_obeys_a_revocation()
    scene.assert_lived()
    scene.assert_remembers_what_it_acknowledged()


def test_postgresql_killed_and_started_again(scene: Scene) -> None:
    signal_all(tree(scene.server.program_pid("postgres")), signal.SIGKILL)
    killed = time.time()
    scene.wait_for_yes("validate", killed + 1)
    scene.wait_for_yes("authenticate", killed + 1)
    scene.assert_obeys_a_revocation()
    scene.assert_lived()
    scene.assert_remembers_what_it_acknowledged()


def test_valkey_killed_and_started_again(scene: Scene) -> None:
    assert any("ratelimit-limit" in said.headers for said in scene.said("validate"))
    os.kill(scene.server.program_pid("valkey"), signal.SIGKILL)
    killed = time.time()
    scene.wait_for_yes("authenticate", killed)
    scene.wait_for(lambda: any("ratelimit-limit" in said.headers for said in scene.said("validate", since=killed + 1)))
    assert {said.status for said in scene.said("validate", since=killed)} == {200}
    scene.assert_obeys_a_revocation()
    scene.assert_lived()


def test_a_web_process_killed(scene: Scene) -> None:
    before = scene.server.web_pids()
    os.kill(before[0], signal.SIGKILL)
    killed = time.time()
    scene.wait_for(lambda: len(scene.server.web_pids()) == 2 and before[0] not in scene.server.web_pids())
    scene.wait_for_yes("validate", killed)
    scene.wait_for_yes("authenticate", killed)
    assert {said.status for kind in ("validate", "livez") for said in scene.said(kind, since=killed)} <= {0, 200}
    scene.assert_obeys_a_revocation()
    scene.assert_remembers_what_it_acknowledged()


def test_listeners_cut(scene: Scene) -> None:
    listening = listening_backends(scene.server)
    assert listening
    with psycopg.connect(scene.server.web_url, autocommit=True) as connection:
        for pid in listening:
            connection.execute("SELECT pg_terminate_backend(%s)", [pid])
    scene.assert_obeys_a_revocation()
    scene.assert_lived()


def test_listeners_starved(scene: Scene) -> None:
    starved = listening_backends(scene.server)
    assert starved
    signal_all(starved, signal.SIGSTOP)
    try:
        scene.assert_obeys_a_revocation()
    finally:
        signal_all(starved, signal.SIGCONT)
    scene.assert_obeys_a_revocation()
    scene.assert_lived()


def test_listeners_half_open(scene: Scene, relay: Relay) -> None:
    relay.is_silent = True
    try:
        scene.assert_obeys_a_revocation()
    finally:
        relay.is_silent = False
    scene.assert_obeys_a_revocation()
    scene.assert_lived()


def test_a_fleet_that_restarts_at_once_is_served(server: LoadServer, relay: Relay) -> None:
    """Nobody's connection is refused; who is told to come back is told when, and is served then."""
    specification = Specification(
        customers=MEMBERS + FLEET,
        installations=MEMBERS + FLEET,
        begin=MEMBERS,
        kinds=("authenticate",),
        requests_file=str(server.root / "restart"),
        members_file=str(server.root / "members.json"),
        host=server.address,
    )
    specification.write(server.root / "specification.json")
    server.run("web", ["-m", "tests.load.population", str(server.root / "specification.json")])
    fleet = Fleet(build(server.root), server.address)
    report = restart.run(fleet, Path(specification.requests_file), machines=FLEET, seconds=1)
    assert report.served == FLEET
    assert (report.errors, report.untold) == ({}, 0)
    assert set(report.statuses) <= {"200", "429", "503"}
