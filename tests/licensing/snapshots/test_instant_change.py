"""All of it on a real PostgreSQL: triggers, listener, cache and readers, while the listener is being mistreated."""

import os
import signal
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import psycopg
import pytest

from licensing.snapshots.boot_clock import boot_seconds
from licensing.snapshots.cache import SnapshotCache
from licensing.snapshots.listener import ChangeListener
from licensing.snapshots.protocol import PROMISE_SECONDS
from licensing.snapshots.reading import read_through
from licensing.snapshots.triggers import install_triggers_sql
from tests.licensing.snapshots.conftest import Connection, Server

CUSTOMERS = ("cust_a", "cust_b")


@dataclass
class Reader:
    """One thread that decides all the time, by a connection of its own; `answers` are (asked at, customer, state)."""

    url: str
    cache: SnapshotCache[int]
    stop: threading.Event
    answers: list[tuple[float, str, int]] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)

    def run(self) -> None:
        try:
            with psycopg.connect(self.url, autocommit=True) as connection:
                while not self.stop.is_set():
                    for customer in CUSTOMERS:
                        self.decide(connection, customer)
                    time.sleep(0.001)
        except Exception as error:  # noqa: BLE001  # shown by the test
            self.failures.append(error)

    def decide(self, connection: Connection, customer: str) -> None:
        def ask() -> int | None:
            row = connection.execute("SELECT state FROM standing WHERE customer_id = %s", [customer]).fetchone()
            return None if row is None else int(str(row[0]))

        while True:
            asked_at = boot_seconds()
            ticket = read_through(self.cache, customer, ask=ask, clock=boot_seconds)
            if self.cache.still_trusted(ticket, boot_seconds()):
                break
        assert ticket.value is not None
        self.answers.append((asked_at, customer, ticket.value))


@pytest.fixture
def standing(database: Connection) -> Iterator[None]:
    database.execute("CREATE TABLE standing (customer_id text PRIMARY KEY, state bigint NOT NULL)")
    triggers = install_triggers_sql("standing", customer_column="customer_id", key_columns=["customer_id"])
    database.execute(triggers.encode())
    for customer in CUSTOMERS:
        database.execute("INSERT INTO standing VALUES (%s, 0)", [customer])
    yield
    database.execute("DROP TABLE standing")


def change_for(seconds: float, database: Connection, mistreat: Callable[[int], None]) -> list[tuple[float, str, int]]:
    """Write a new state every 20 ms; return (when COMMIT had returned, customer, state)."""
    commits = []
    for number in range(1, int(seconds / 0.02)):
        customer = CUSTOMERS[number % 2]
        database.execute("UPDATE standing SET state = %s WHERE customer_id = %s", [number, customer])
        commits.append((boot_seconds(), customer, number))
        mistreat(number)
        time.sleep(0.02)
    return commits


def obeyed_after(commit: tuple[float, str, int], answers: list[tuple[float, str, int]]) -> float:
    """Return how long after a commit the last decision was asked for that was still made by an older state."""
    committed_at, customer, state = commit
    older = [at for at, whose, seen in answers if whose == customer and seen < state]
    return max(0.0, max(older, default=committed_at) - committed_at)


@pytest.mark.usefixtures("standing")
@pytest.mark.parametrize("mistreated", [False, True], ids=["in peace", "mistreated"])
def test_no_decision_rests_on_state_older_than_promised(server: Server, database: Connection, mistreated: bool) -> None:
    cache = SnapshotCache[int](max_entries=10, max_bytes=100_000, weigh=lambda _state: 8)
    listener = ChangeListener(cache=cache, url=server.owner_url)
    listener.ensure_started()
    stop = threading.Event()
    readers = [Reader(server.owner_url, cache, stop) for _ in range(3)]
    threads = [threading.Thread(target=reader.run) for reader in readers]
    for thread in threads:
        thread.start()
    frozen: list[int] = []

    def mistreat(number: int) -> None:
        pid = listening_backend(database) if mistreated and number in (20, 110) else None
        if pid is not None and number == 20:
            os.kill(pid, signal.SIGSTOP)
            frozen.append(pid)
        elif pid is not None:
            database.execute("SELECT pg_terminate_backend(%s)", [pid])
        if number == 90 and frozen:  # longer than the promise, and shorter than the listener's patience
            os.kill(frozen.pop(), signal.SIGCONT)

    try:
        commits = change_for(2.5, database, mistreat)
    finally:
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)
        stop.set()
        for thread in threads:
            thread.join()
        listener.stop()

    assert [reader.failures for reader in readers] == [[], [], []]
    answers = [answer for reader in readers for answer in reader.answers]
    delays = [obeyed_after(commit, answers) for commit in commits]
    assert max(delays) <= PROMISE_SECONDS
    assert statistics.median(delays) < 0.1
    counters = cache.counters()
    assert counters.hits > counters.fills  # it was the cache that answered
    if mistreated:
        assert listener.connections >= 2


def listening_backend(database: Connection) -> int | None:
    row = database.execute(
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'keywright-listener'"
        " ORDER BY backend_start DESC LIMIT 1"
    ).fetchone()
    return None if row is None else int(str(row[0]))
