"""No wait for a database is without an end, and its return is noticed by whoever asks next."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import django.db
import psycopg
import pytest
from django.conf import settings
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from licensing.core.errors import ServiceUnavailable
from licensing.core.postgresql import base, patience
from licensing.core.postgresql.base import DatabaseWrapper
from licensing.core.postgresql.patience import (
    MOMENT_SECONDS,
    PAUSE_SECONDS,
    DatabaseAway,
    Outage,
    PatientConnection,
    Waiting,
)
from licensing.core.problems import as_domain_error
from licensing.settings import database_from_url
from tests.licensing.snapshots.relay import Relay

Connect = Callable[..., PatientConnection]


class Clock:
    """Stands still until told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def pass_by(self) -> None:
        self.now += PAUSE_SECONDS


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def outage(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> Outage:
    """An outage of the test's own, by its clock."""
    own = Outage(clock)
    monkeypatch.setattr(patience, "outage", own)
    monkeypatch.setattr(base, "outage", own)
    return own


@pytest.fixture
def connect(outage: Outage) -> Iterator[Connect]:
    """Connect as a web process does; all are closed after the test."""
    made: list[PatientConnection] = []

    def begin(url: str = settings.DATABASE_URL, *, answer_seconds: float = 20) -> PatientConnection:
        wrapper = wrapper_for(url, answer_seconds)
        connection = wrapper.get_new_connection(wrapper.get_connection_params())
        assert isinstance(connection, PatientConnection)
        made.append(connection)
        return connection

    yield begin
    for connection in made:
        connection.close()


@pytest.fixture
def relay() -> Iterator[Relay]:
    parts = conninfo_to_dict(settings.DATABASE_URL)
    with Relay(f"{parts['host']}/.s.PGSQL.{parts['port']}") as relay:
        yield relay


def wrapper_for(url: str, answer_seconds: float) -> DatabaseWrapper:
    entry: dict[str, Any] = {**django.db.connections["default"].settings_dict, **database_from_url(url)}
    entry["OPTIONS"] = {**entry["OPTIONS"], "answer_seconds": answer_seconds}
    return DatabaseWrapper(entry, alias="patient")


def through(relay: Relay) -> str:
    return make_conninfo(settings.DATABASE_URL, host="127.0.0.1", port=relay.port)


def nowhere() -> str:
    return make_conninfo(settings.DATABASE_URL, host="/nonexistent")


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


def test_a_database_that_came_back_is_used_by_a_new_connection(connect: Connect, outage: Outage, clock: Clock) -> None:
    """Every connection died with it, so that only a new one can find out."""
    with pytest.raises(psycopg.OperationalError):
        connect(nowhere())
    with pytest.raises(DatabaseAway):
        connect()
    clock.pass_by()

    assert connect().execute("SELECT 1").fetchone() == (1,)
    outage.require_hope(1)  # and for all others there is hope again


def test_silence_ends_the_wait_and_the_connection(connect: Connect, relay: Relay) -> None:
    connection = connect(through(relay), answer_seconds=1)
    relay.is_silent = True
    with pytest.raises(DatabaseAway):
        connection.execute("SELECT 1")
    assert connection.closed
    with pytest.raises(DatabaseAway):
        connect()


def test_while_one_thread_finds_out_the_others_are_refused(outage: Outage, clock: Clock) -> None:
    outage.failed()
    clock.pass_by()
    outage.require_hope(60)
    outage.require_hope(60)  # its turn is not over before there was an answer
    with ThreadPoolExecutor() as threads, pytest.raises(DatabaseAway):
        threads.submit(outage.require_hope, 60).result()

    outage.succeeded()
    with ThreadPoolExecutor() as threads:
        threads.submit(outage.require_hope, 60).result()


def test_a_turn_that_failed_goes_to_whoever_comes_after_the_pause(outage: Outage, clock: Clock) -> None:
    outage.failed()
    clock.pass_by()
    outage.require_hope(60)
    outage.failed()
    with pytest.raises(DatabaseAway):
        outage.require_hope(60)
    clock.pass_by()
    with ThreadPoolExecutor() as threads:
        threads.submit(outage.require_hope, 60).result()


def test_a_refusal_is_an_answer(connect: Connect, outage: Outage, clock: Clock) -> None:
    connection = connect()
    outage.failed()
    clock.pass_by()
    with pytest.raises(psycopg.errors.UndefinedTable):
        connection.execute("SELECT FROM there_is_no_such_table")
    assert not connection.closed
    with ThreadPoolExecutor() as threads:
        threads.submit(outage.require_hope, 60).result()


def test_a_server_that_closes_its_end_is_noticed_without_asking_it(connect: Connect) -> None:
    connection = connect()
    assert not connection.is_cut()
    connect().execute("SELECT pg_terminate_backend(%s)", [connection.info.backend_pid])
    # Its farewell comes before its end; neither is taken for an answer.
    wait_until(connection.is_cut)
    connection.close()
    assert connection.is_cut()


def test_a_primary_that_only_reads_is_left_and_answers_503(connect: Connect) -> None:
    connection = connect()
    connection.execute("SET default_transaction_read_only TO on")
    with (
        pytest.raises(django.db.OperationalError) as caught,
        wrapper_for(settings.DATABASE_URL, 20).wrap_database_errors,
    ):
        connection.execute("CREATE TABLE cannot_be (made integer)")
    assert connection.closed
    assert isinstance(as_domain_error(caught.value), ServiceUnavailable)


def test_of_several_hosts_the_primary_is_used(connect: Connect) -> None:
    parts = conninfo_to_dict(settings.DATABASE_URL)
    several = make_conninfo(
        settings.DATABASE_URL, host=f"/nonexistent,{parts['host']}", port=f"{parts['port']},{parts['port']}"
    )
    assert connect(several).execute("SELECT 1").fetchone() == (1,)


def test_what_only_reads_is_not_connected_to(connect: Connect) -> None:
    """A replica may not have heard of a change yet."""
    with pytest.raises(psycopg.OperationalError, match="read-only"):
        connect(make_conninfo(settings.DATABASE_URL, options="-c default_transaction_read_only=on"))


def test_the_address_may_ask_for_something_else() -> None:
    entry = database_from_url("postgresql://web@one,two/keywright?target_session_attrs=primary")
    assert entry["OPTIONS"]["target_session_attrs"] == "primary"


@pytest.fixture
def two_waiting() -> Iterator[Waiting]:
    """As many threads wait as may."""
    waiting = Waiting(limit=2)
    arrived, leave = threading.Barrier(3), threading.Event()

    def wait() -> None:
        assert waiting.begin(60) == 60
        arrived.wait(30)
        leave.wait(60)
        waiting.end()

    with ThreadPoolExecutor() as threads:
        asking = [threads.submit(wait) for _ in range(2)]
        arrived.wait(30)
        yield waiting
        leave.set()
        for each in asking:
            each.result()
    assert waiting.begin(60) == 60


def test_the_last_free_thread_waits_a_moment_at_most(two_waiting: Waiting, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody knows yet whether something is wrong, and `/livez` is to be answered."""
    monkeypatch.setattr(patience, "SLOW_SECONDS", 1000.0)
    assert two_waiting.begin(60) == MOMENT_SECONDS
    two_waiting.end()


def test_the_last_free_thread_does_not_wait_once_others_have_long(
    two_waiting: Waiting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "SLOW_SECONDS", -1.0)
    with pytest.raises(DatabaseAway):
        two_waiting.begin(60)


def test_a_thread_that_waited_a_moment_takes_nobody_for_dead(
    connect: Connect, relay: Relay, outage: Outage, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = connect(through(relay))
    monkeypatch.setattr(patience, "waiting", Waiting(limit=0))
    monkeypatch.setattr(patience, "SLOW_SECONDS", 1000.0)
    relay.is_silent = True
    with pytest.raises(DatabaseAway):
        connection.execute("SELECT 1")
    assert connection.closed
    assert outage.failures == 0
