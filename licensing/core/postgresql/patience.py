"""How long a statement is waited for, and not waiting again for a database that has just failed to answer.

A server that was stopped, or a network that swallows packets, says nothing; libpq would wait for ever, and with it
every thread of a web process. So each wait has an end. A server that lives ends a statement itself before that
(`statement_timeout`), so an end that comes from here means that nobody is there. Then nobody waits again for a second,
and after it one thread alone tries: all others are refused at once. And while a database is merely slow, not all
threads may wait for it: one is left for what needs none, such as `/livez`.
"""

import select
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import psycopg
from psycopg import errors, pq
from psycopg.abc import PQGen

RV = TypeVar("RV")

PAUSE_SECONDS = 1.0
# What the server has to tell that it has ended a statement.
MARGIN_SECONDS = 0.5
# A wait that is longer says that something is wrong.
SLOW_SECONDS = 1.0
# How long the thread waits that would otherwise be free: it does not know yet whether something is wrong.
MOMENT_SECONDS = 1.0
_INTERVAL_SECONDS = 0.1


class DatabaseAway(psycopg.OperationalError):
    """The database does not answer, or did not a moment ago."""


class Outage:
    """Whether the database of this process is taken to be away; cheap to ask while all is well.

    `now` counts seconds.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._retry_at: float | None = None
        self._trying: int | None = None
        self.failures = 0

    @property
    def _is_suspected(self) -> bool:
        return self._retry_at is not None

    def require_hope(self, patience_seconds: float) -> None:
        """Return if it is worth trying: nothing failed, or it is this thread's turn to find out.

        A turn lasts until an answer came or failed to come, however often its thread asks.

        Raises:
            DatabaseAway: another thread found out a moment ago, or is finding out now.
        """
        if not self._is_suspected:
            return
        with self._lock:
            if self._retry_at is None or self._trying == threading.get_ident():
                return
            now = self._now()
            if now < self._retry_at:
                raise DatabaseAway("the database did not answer a moment ago")
            # Should this thread never report, the next one has its turn after as long.
            self._retry_at = now + patience_seconds + PAUSE_SECONDS
            self._trying = threading.get_ident()

    def failed(self) -> None:
        """No answer came."""
        with self._lock:
            self.failures += 1
            self._retry_at = self._now() + PAUSE_SECONDS
            self._trying = None

    def succeeded(self) -> None:
        """An answer came."""
        if self._retry_at is not None:
            with self._lock:
                self._retry_at = self._trying = None


outage = Outage()


class Waiting:
    """Who waits for the database at this moment. More than `limit` threads do only for a moment."""

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
        self._since: dict[int, float] = {}

    def begin(self, patience_seconds: float) -> float:
        """Join in; return how long this thread may wait: as patient as it is, or a moment where it is one too many.

        Raises:
            DatabaseAway: as many wait as may, and it does not look as if they would be answered soon.
        """
        since = self._since
        # Join first, then count: of threads that come at once, none may overlook the others.
        since[threading.get_ident()] = now = time.monotonic()
        if self.limit is None or len(since) <= self.limit:
            return patience_seconds
        # Others come and go meanwhile; a copy of the values is made in one step.
        if now - min(list(since.values())) > SLOW_SECONDS:
            self.end()
            raise DatabaseAway("too many threads wait for the database")
        return min(patience_seconds, MOMENT_SECONDS)

    def end(self) -> None:
        """Leave."""
        self._since.pop(threading.get_ident(), None)


waiting = Waiting()


class PatientConnection(psycopg.Connection[Any]):
    """A connection whose statements are answered within `patience_seconds`, or that is closed."""

    patience_seconds: float = 5.0
    _has_answered = False

    def wait(self, gen: PQGen[RV], interval: float = _INTERVAL_SECONDS, timeout: float | None = None) -> RV:
        """Wait for an exchange with the server.

        Raises:
            DatabaseAway: no answer in time, and whether a statement took effect is then unknown, as after any lost
                connection; or this server is no primary any more, and another one is.
        """
        patience = self.patience_seconds if timeout is None else timeout
        allowed = patience
        try:
            allowed = waiting.begin(patience)
            # Whoever connected had hope then, perhaps in another thread: what a new connection answers is the news.
            if self._has_answered:
                outage.require_hope(patience)
            result = super().wait(gen, interval, allowed)
        except DatabaseAway:
            self.pgconn.finish()
            raise
        except errors._WaitTimeout:
            # An answer may still come: nobody may take it for the next statement's.
            self.pgconn.finish()
            if allowed == patience:
                outage.failed()
            raise DatabaseAway("the database did not answer in time") from None
        except errors.ReadOnlySqlTransaction as exc:
            # It was the primary when we connected. The next connection looks for the one that is.
            self._answered()
            self.pgconn.finish()
            raise DatabaseAway("the database only reads") from exc
        except psycopg.Error:
            # A refusal is an answer too; a connection that broke is none.
            if self.pgconn.status == pq.ConnStatus.BAD:
                outage.failed()
            else:
                self._answered()
            raise
        finally:
            waiting.end()
        self._answered()
        return result

    def _answered(self) -> None:
        self._has_answered = True
        outage.succeeded()

    def is_cut(self) -> bool:
        """Whether the server has closed its end, told without asking it."""
        if self.pgconn.status != pq.ConnStatus.OK:
            return True
        poll = select.poll()
        poll.register(self.pgconn.socket, select.POLLIN)
        try:
            # Again while there is anything: before its end stands the server's farewell.
            while poll.poll(0):
                self.pgconn.consume_input()
        except psycopg.OperationalError:
            return True
        return False
