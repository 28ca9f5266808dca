"""The listener against a real PostgreSQL: what it hears, and that silence of any kind ends the trust."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from structlog.testing import capture_logs

from licensing.snapshots import listener as listener_module
from licensing.snapshots.boot_clock import boot_seconds
from licensing.snapshots.cache import SnapshotCache
from licensing.snapshots.connection import ListenConnection, ListenerFault, Notification
from licensing.snapshots.listener import DATABASE_IDENTITY_SQL, ChangeListener
from licensing.snapshots.protocol import BOUND_SECONDS, CATALOGUE, CHANGE_CHANNEL, HEARTBEAT_SECONDS
from tests.licensing.snapshots.conftest import Connection, Server
from tests.licensing.snapshots.relay import Relay

Start = Callable[..., "Process"]


class Process:
    """What a web process has: a cache and its listener."""

    def __init__(self, url: str, expected_identity: Callable[[], str] | None = None) -> None:
        self.cache = SnapshotCache[str](max_entries=100, max_bytes=1_000_000, weigh=len)
        self.listener = ChangeListener(cache=self.cache, url=url, expected_identity=expected_identity)

    def trusts(self) -> bool:
        return self.cache.trusted(boot_seconds())

    def fill(self, key: str) -> None:
        now = boot_seconds()
        self.cache.finish_fill(self.cache.begin_fill(key, now), "state", boot_seconds())

    def holds(self, key: str) -> bool:
        return self.cache.read(key, boot_seconds()) is not None


@pytest.fixture
def start(server: Server, database: Connection) -> Iterator[Start]:
    """Start processes that trust; all are stopped after the test."""
    wait_until(lambda: backends(database) == [])  # those of the test before take a moment to go
    processes: list[Process] = []

    def begin(url: str = server.owner_url, *, until_trusted: bool = True, **options: Callable[[], str]) -> Process:
        process = Process(url, **options)
        processes.append(process)
        process.listener.ensure_started()
        if until_trusted:
            wait_until(process.trusts)
        return process

    yield begin
    for process in processes:
        process.listener.stop()


def wait_until(condition: Callable[[], bool], timeout_seconds: float = 30.0) -> float:
    """Return the seconds that it took."""
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < timeout_seconds, "it did not happen in time"
        time.sleep(0.005)
    return time.monotonic() - begun


def backends(database: Connection) -> list[int]:
    rows = database.execute("SELECT pid FROM pg_stat_activity WHERE application_name = 'keywright-listener'").fetchall()
    return [int(str(pid)) for (pid,) in rows]


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


class TestHearing:
    def test_nothing_is_trusted_before_the_first_heartbeat_returns(
        self, start: Start, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        held_back = threading.Event()
        monkeypatch.setattr(ChangeListener, "_send_heartbeat", lambda *_: held_back.wait(5))
        process = start(until_trusted=False)
        wait_until(lambda: process.listener.is_connected)
        assert not process.trusts()
        monkeypatch.undo()
        held_back.set()
        wait_until(process.trusts)

    def test_a_notification_evicts_what_it_names(self, start: Start, database: Connection) -> None:
        process = start()
        for key in ("cust_a", "cust_b", CATALOGUE):
            process.fill(key)
        database.execute(f"NOTIFY {CHANGE_CHANNEL}, 'cust_a'")
        wait_until(lambda: not process.holds("cust_a"))
        assert process.holds("cust_b")
        database.execute(f"NOTIFY {CHANGE_CHANNEL}, 'all'")
        wait_until(lambda: process.cache.size() == (0, 0))
        assert process.trusts()

    def test_a_change_is_heard_at_its_commit_and_not_before(self, start: Start, database: Connection) -> None:
        process = start()
        process.fill("cust_a")
        with database.transaction():
            database.execute(f"NOTIFY {CHANGE_CHANNEL}, 'cust_a'")
            beats = process.cache.counters().heartbeats
            wait_until(lambda: process.cache.counters().heartbeats > beats + 1)
            assert process.holds("cust_a")
        wait_until(lambda: not process.holds("cust_a"))

    def test_every_process_hears_of_it(self, start: Start, database: Connection) -> None:
        processes = [start() for _ in range(3)]
        for process in processes:
            process.fill("cust_a")
        database.execute(f"NOTIFY {CHANGE_CHANNEL}, 'cust_a'")
        for process in processes:
            wait_until(lambda process=process: not process.holds("cust_a"))  # type: ignore[misc]

    def test_trust_goes_on_while_heartbeats_return(self, start: Start) -> None:
        process = start()
        looks = []
        end = time.monotonic() + 2 * BOUND_SECONDS
        while time.monotonic() < end:
            looks.append(process.trusts())
            time.sleep(0.02)
        assert looks.count(False) <= len(looks) // 10  # a busy machine may stall any thread for a moment
        assert process.listener.connections == 1

    def test_a_flood_of_notifications_is_taken_in_order(self, start: Start, database: Connection) -> None:
        process = start()
        with database.transaction():
            for number in range(5000):
                database.execute(f"NOTIFY {CHANGE_CHANNEL}, 'cust_{number}'")
            process.fill("cust_4999")
        wait_until(lambda: not process.holds("cust_4999"))
        assert process.listener.connections == 1


class TestSilence:
    @pytest.fixture(autouse=True)
    def short_silence(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(listener_module, "SILENCE_SECONDS", 1.1)  # still longer than trust lasts

    def test_a_cut_connection_is_replaced_and_the_cache_dropped(self, start: Start, database: Connection) -> None:
        process = start()
        process.fill("cust_a")
        (pid,) = backends(database)
        database.execute("SELECT pg_terminate_backend(%s)", [pid])
        wait_until(lambda: process.listener.connections == 2)
        wait_until(process.trusts)
        assert process.cache.size() == (0, 0)

    def test_a_stopped_backend_ends_the_trust_in_time_and_is_replaced(self, start: Start, database: Connection) -> None:
        process = start()
        process.fill("cust_a")
        (pid,) = backends(database)
        with stopped(pid):
            # The last heartbeat may have been on its way: it was sent before now all the same.
            assert wait_until(lambda: not process.trusts()) <= BOUND_SECONDS + 2
            assert not process.holds("cust_a")
            wait_until(lambda: process.listener.connections == 2)
            wait_until(process.trusts)
            assert process.cache.size() == (0, 0)

    def test_a_stopped_server_ends_the_trust_and_nothing_hangs(self, start: Start, database: Connection) -> None:
        process = start()
        (listening,) = backends(database)
        postmaster = os_parent(listening)
        with stopped(postmaster), stopped(listening):
            wait_until(lambda: not process.listener.is_connected)
            assert not process.trusts()
        wait_until(process.trusts)

    def test_a_half_open_connection_ends_the_trust_and_is_replaced(self, start: Start, server: Server) -> None:
        with Relay(socket_of(server)) as relay:
            process = start(through(relay, server))
            relay.is_silent = True
            assert wait_until(lambda: not process.trusts()) <= BOUND_SECONDS + 2
            wait_until(lambda: not process.listener.is_connected)
            relay.is_silent = False
            wait_until(process.trusts)
            assert process.listener.connections == 2

    def test_changes_made_while_it_was_away_are_not_missed(self, start: Start, database: Connection) -> None:
        process = start()
        process.fill("cust_a")
        question = process.cache.begin_fill("cust_b", boot_seconds())
        (pid,) = backends(database)
        with stopped(pid):
            database.execute(f"NOTIFY {CHANGE_CHANNEL}, 'cust_a'")
            database.execute("SELECT pg_terminate_backend(%s)", [pid])
            wait_until(lambda: process.listener.connections == 2)
        process.cache.finish_fill(question, "state before the gap", boot_seconds())
        wait_until(process.trusts)
        assert not process.holds("cust_a")
        assert not process.holds("cust_b")

    def test_an_unreachable_server_is_tried_again_until_it_is_there(self, start: Start, server: Server) -> None:
        process = start("postgresql://nobody@127.0.0.1:1/nowhere", until_trusted=False)
        wait_until(lambda: process.listener._failures >= 3)
        assert not process.trusts()
        process.listener._url = server.owner_url
        wait_until(process.trusts)

    def test_a_mistake_in_the_thread_ends_the_connection_and_not_the_thread(
        self, start: Start, database: Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        process = start()

        def fail(_payload: str) -> None:
            monkeypatch.undo()
            raise RuntimeError("a mistake")

        monkeypatch.setattr(process.cache, "notify", fail)
        database.execute(f"NOTIFY {CHANGE_CHANNEL}, 'cust_a'")
        wait_until(lambda: process.listener.connections == 2)


class TestDeception:
    def test_a_proxy_that_hides_the_backend_is_never_trusted(self, start: Start, server: Server) -> None:
        with Relay(socket_of(server), pretends_to_be_backend=True) as relay, capture_logs() as logs:
            process = start(through(relay, server), until_trusted=False)
            wait_until(lambda: process.listener._failures >= 2)
            assert not process.trusts()
            process.listener.stop()
        assert {entry["error"] for entry in logs if entry["event"] == "listener_lost"} == {"pooled"}

    def test_a_heartbeat_that_another_backend_sent_is_not_believed(self, server: Server) -> None:
        process = Process(server.owner_url)
        process.cache.listener_connected()
        process.cache.heartbeat_sent(1, boot_seconds())
        with pytest.raises(ListenerFault, match="pooled"):
            process.listener._take(Notification("own", "1", backend_pid=7), "own", 8)
        assert not process.trusts()
        assert process.listener._take(Notification("own", "1", backend_pid=8), "own", 8)

    def test_a_heartbeat_of_another_channel_is_ignored(self, server: Server) -> None:
        process = Process(server.owner_url)
        process.cache.listener_connected()
        process.cache.heartbeat_sent(1, boot_seconds())
        assert not process.listener._take(Notification("other", "1", backend_pid=8), "own", 8)
        assert not process.trusts()

    def test_listening_in_another_database_than_the_fills_is_never_trusted(
        self, start: Start, server: Server, database: Connection
    ) -> None:
        def identity_of_fills() -> str:
            with psycopg.connect(server.owner_url) as fills:
                row = fills.execute(DATABASE_IDENTITY_SQL).fetchone()
            assert row is not None
            return str(row[0])

        assert start(expected_identity=identity_of_fills).trusts()
        elsewhere = make_conninfo(server.owner_url, dbname="postgres")
        with capture_logs() as logs:
            process = start(elsewhere, until_trusted=False, expected_identity=identity_of_fills)
            wait_until(lambda: process.listener._failures >= 2)
        assert not process.trusts()
        assert logs[0]["error"] == "other_database"


class TestLife:
    def test_one_thread_a_process_however_often_it_is_started(self, start: Start, database: Connection) -> None:
        process = start()
        starters = [threading.Thread(target=process.listener.ensure_started) for _ in range(10)]
        for starter in starters:
            starter.start()
        for starter in starters:
            starter.join()
        assert len(backends(database)) == 1

    def test_it_stops_soon_and_stays_stopped(self, start: Start, database: Connection) -> None:
        process = start()
        begun = time.monotonic()
        process.listener.stop()
        assert time.monotonic() - begun < 0.9
        wait_until(lambda: backends(database) == [])
        process.listener.ensure_started()
        assert process.listener._thread is not None
        assert not process.listener._thread.is_alive()

    def test_a_forked_child_listens_for_itself_and_leaves_its_parent_alone(
        self, start: Start, database: Connection
    ) -> None:
        process = start()
        process.fill("cust_a")
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(writing, report_of_forked(process))
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading, "rb") as report:
            assert report.read() == b"forgot trusted"
        os.waitpid(child, 0)
        assert process.holds("cust_a")
        assert process.listener.connections == 1

    @pytest.mark.parametrize(
        "url",
        [
            "postgresql://owner:hunter2@127.0.0.1:1/x",
            "postgresql://owner:hunter2%zz@127.0.0.1/x",
            "password=hunter2 oops",
        ],
    )
    def test_no_password_is_ever_logged(self, url: str) -> None:
        with capture_logs() as logs:
            process = Process(url)
            process.listener.ensure_started()
            wait_until(lambda: process.listener._failures >= 2)
            process.listener.stop()
        assert logs[0]["event"] == "listener_lost"
        assert "hunter2" not in repr(logs)

    def test_an_outage_of_hours_is_not_a_log_of_hours(self, server: Server) -> None:
        process = Process(server.owner_url)
        with capture_logs() as logs:
            for _ in range(1000):
                process.listener._note_failure("silent")
        assert len(logs) == 10


class TestConnection:
    def test_a_statement_that_does_not_end_is_given_up(self, server: Server) -> None:
        connection = ListenConnection(server.owner_url, connect_timeout_seconds=2)
        with connection, pytest.raises(ListenerFault, match="no_answer"):
            connection.run("SELECT pg_sleep(0.3)", timeout_seconds=0.05)

    def test_a_statement_that_fails_says_which_way(self, server: Server) -> None:
        connection = ListenConnection(server.owner_url, connect_timeout_seconds=2)
        with connection, pytest.raises(ListenerFault) as caught:
            connection.run("SELECT 1/0", timeout_seconds=2)
        assert (caught.value.reason, caught.value.sqlstate) == ("statement_failed", "22012")

    def test_what_comes_while_a_statement_runs_is_not_lost(self, server: Server, database: Connection) -> None:
        with ListenConnection(server.owner_url, connect_timeout_seconds=2) as connection:
            connection.run(f"LISTEN {CHANGE_CHANNEL}", timeout_seconds=2)
            database.execute(f"NOTIFY {CHANGE_CHANNEL}, 'cust_a'")
            assert connection.run("SELECT 41 + 1", timeout_seconds=2) == "42"
            database.execute(f"NOTIFY {CHANGE_CHANNEL}, 'cust_b'")
            heard = [*connection.hear(2), *connection.hear(2)]
        assert [notification.payload for notification in heard] == ["cust_a", "cust_b"]

    def test_of_several_hosts_the_one_that_takes_writes_is_used(self, server: Server) -> None:
        parts = conninfo_to_dict(server.owner_url)
        both = {"host": f"/nonexistent,{parts['host']}", "port": f"{parts['port']},{parts['port']}"}
        with ListenConnection(make_conninfo(server.owner_url, **both), connect_timeout_seconds=2) as connection:
            assert connection.run("SELECT 42", timeout_seconds=2) == "42"

    def test_what_only_reads_is_not_connected_to(self, server: Server) -> None:
        reading = make_conninfo(server.owner_url, options="-c default_transaction_read_only=on")
        with pytest.raises(psycopg.OperationalError, match="read-only"):
            ListenConnection(reading, connect_timeout_seconds=2)


def os_parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])


def through(relay: Relay, server: Server) -> str:
    return make_conninfo(server.owner_url, host="127.0.0.1", port=relay.port)


def socket_of(server: Server) -> str:
    parts = conninfo_to_dict(server.owner_url)
    return f"{parts['host']}/.s.PGSQL.{parts['port']}"


def report_of_forked(process: Process) -> bytes:
    forgot = b"kept" if process.holds("cust_a") or process.trusts() else b"forgot"
    process.listener.ensure_started()
    end = time.monotonic() + 5
    while not process.trusts() and time.monotonic() < end:
        time.sleep(0.01)
    trusted = b"trusted" if process.trusts() else b"not trusted"
    process.listener.stop()
    return forgot + b" " + trusted


def test_the_limits_fit_together() -> None:
    assert HEARTBEAT_SECONDS * 3 < BOUND_SECONDS < listener_module.SILENCE_SECONDS
