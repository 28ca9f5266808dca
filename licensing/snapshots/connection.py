"""One direct database connection that listens. Every wait on it has an end, also when the other side has gone quiet.

psycopg's own `execute` waits for its answer however long that takes, so a server that was stopped, or a peer that is
gone without a word, would hold the thread. Here libpq is driven directly: statements are sent without waiting, and the
socket is waited for with a limit.
"""

import select
from math import ceil
from types import TracebackType
from typing import NamedTuple

import psycopg
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from licensing.snapshots.boot_clock import boot_seconds

_SUCCESS = (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK)
# A peer that vanished is given up after about three seconds, also by the kernel.
_OPTIONS: dict[str, str | int] = {
    "client_encoding": "UTF8",
    "fallback_application_name": "keywright-listener",
    "keepalives": 1,
    "keepalives_idle": 2,
    "keepalives_interval": 1,
    "keepalives_count": 2,
    "tcp_user_timeout": 3000,  # milliseconds
}


class ListenerFault(Exception):
    """The connection cannot be used to listen; `reason` is one fixed word for log and metrics, never a message."""

    def __init__(self, reason: str, *, sqlstate: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.sqlstate = sqlstate


class Notification(NamedTuple):
    channel: str
    payload: str
    backend_pid: int


class ListenConnection:
    """A connection in autocommit, opened at once, to be used by one thread.

    Raises psycopg's errors and ListenerFault; after either it is good only to be closed.
    """

    def __init__(self, url: str, *, connect_timeout_seconds: int) -> None:
        # The primary, as where fills are asked of: a replica takes no NOTIFY.
        given = {"target_session_attrs": "read-write", **conninfo_to_dict(url)}
        self._connection = psycopg.connect(
            make_conninfo("", **{**given, "connect_timeout": connect_timeout_seconds, **_OPTIONS}), autocommit=True
        )
        self._pgconn = self._connection.pgconn
        self._socket = self._pgconn.socket
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)
        self._answer: bytes | None = None
        self.is_waiting = False  # for the end of a statement

    def __enter__(self) -> "ListenConnection":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    @property
    def backend_pid(self) -> int:
        """Return the process id that the server (or a proxy before it) introduced itself with."""
        return self._pgconn.backend_pid

    def send(self, sql: str) -> None:
        """Send statements without waiting for their end; only when `is_waiting` is false."""
        self._answer = None
        self._pgconn.send_query(sql.encode())
        self.is_waiting = True
        self._pgconn.flush()

    def run(self, sql: str, *, timeout_seconds: float) -> str | None:
        """Run statements to their end; several form one transaction. Return the last row's first column, if any."""
        self.send(sql)
        deadline = boot_seconds() + timeout_seconds
        while self.is_waiting:
            left = deadline - boot_seconds()
            if left <= 0:
                raise ListenerFault("no_answer")
            self._exchange(left)
        return None if self._answer is None else self._answer.decode()

    def hear(self, timeout_seconds: float) -> list[Notification]:
        """Return what was notified, in the order of the queue, waiting at most this long for the first."""
        heard = self._take()
        if not heard:
            self._exchange(timeout_seconds)
            heard = self._take()
        return heard

    def _exchange(self, timeout_seconds: float) -> None:
        unsent = self._pgconn.flush()
        self._poll.modify(self._socket, select.POLLIN | (select.POLLOUT if unsent else 0))
        if self._poll.poll(max(0, ceil(timeout_seconds * 1000))):
            self._pgconn.consume_input()
            self._collect_results()

    def _collect_results(self) -> None:
        while self.is_waiting and not self._pgconn.is_busy():
            result = self._pgconn.get_result()
            if result is None:
                self.is_waiting = False
            elif result.status not in _SUCCESS:
                sqlstate = result.error_field(pq.DiagnosticField.SQLSTATE)
                raise ListenerFault("statement_failed", sqlstate=sqlstate.decode() if sqlstate else None)
            elif result.ntuples:
                self._answer = result.get_value(result.ntuples - 1, 0)

    def _take(self) -> list[Notification]:
        heard = []
        while (notice := self._pgconn.notifies()) is not None:
            heard.append(Notification(_text(notice.relname), _text(notice.extra), notice.be_pid))
        return heard


def _text(raw: bytes) -> str:
    # What is not UTF-8 names nothing that we know; an empty payload stands for everything.
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return ""
