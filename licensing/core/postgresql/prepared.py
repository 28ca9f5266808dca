"""Statements of the hot path: prepared in the server, so that it parses and plans them once for each connection.

They speak to libpq through the driver's own wrapper of it, without the driver's cursors, which look up for each
parameter and column how to write and read it: that took longer than the statement. So they know a few plain types only,
and the statement itself says what each parameter is, by a cast or by what it is compared with.

They are autocommitted outside a transaction, like any of Django's, and are seen by its query log.
"""

import hashlib
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, TypeAlias
from weakref import WeakKeyDictionary

import psycopg
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg import errors, pq
from psycopg.abc import PQGen
from psycopg.generators import execute as exchange
from psycopg.pq.abc import PGconn, PGresult

from licensing.core.hot_settings import hot_settings
from licensing.core.own_connection import own_connection

# The server refused what was prepared, before it did anything: a migration has changed what a statement returns, or the
# session is not the one that prepared it (a proxy between).
_OUTDATED: Final = (errors.FeatureNotSupported, errors.InvalidSqlStatementName, errors.DuplicatePreparedStatement)
_PARAMETER: Final = re.compile(r"%\((\w+)\)s")

Row: TypeAlias = tuple[Any, ...]
Values: TypeAlias = Sequence[bytes | None]


def _text(value: bytes) -> str:
    return value.decode()


# By the type's number in pg_type.
_READERS: Final[Mapping[int, Callable[[bytes], Any]]] = {
    16: b"t".__eq__,  # bool
    **dict.fromkeys((20, 21, 23), int),
    **dict.fromkeys((700, 701), float),
    **dict.fromkeys((25, 1043), _text),  # text, varchar
}


class _Session:
    """A connection's statements: the names by which the server knows them, and how often it forgot each."""

    def __init__(self) -> None:
        self.names: dict[str, bytes] = {}
        self.outdated: Counter[str] = Counter()


# With the connection, which a pool may give to one thread after another.
_sessions: WeakKeyDictionary[psycopg.Connection[Any], _Session] = WeakKeyDictionary()


class _Last(threading.local):
    """This thread's last connection: most threads keep theirs."""

    connection: object = None
    session = _Session()


_last = _Last()


def fetch_row(sql: str, parameters: Mapping[str, Any]) -> Row | None:
    """Run a query, one of a few constants, and return its first row, or None for none.

    Parameters are named as in `%(name)s`; they may be None, text, numbers, bytes and datetimes. Columns may be text,
    numbers and booleans.
    """
    result = _run(sql, parameters)
    if result.ntuples == 0:
        return None
    return tuple([_read(result, column) for column in range(result.nfields)])


def execute(sql: str, parameters: Mapping[str, Any]) -> int:
    """Run a statement, one of a few constants, and return how many rows it touched; parameters as for `fetch_row`."""
    return _run(sql, parameters).command_tuples or 0


def _run(sql: str, parameters: Mapping[str, Any]) -> PGresult:
    wrapper = own_connection()
    wrapper.close_if_health_check_failed()
    wrapper.ensure_connection()
    if wrapper.queries_logged:
        return _run_logged(wrapper, sql, parameters)
    with wrapper.wrap_database_errors:
        return _executed(wrapper, sql, parameters)


def _run_logged(wrapper: BaseDatabaseWrapper, sql: str, parameters: Mapping[str, Any]) -> PGresult:
    started = time.monotonic()
    try:
        with wrapper.wrap_database_errors:
            return _executed(wrapper, sql, parameters)
    finally:
        wrapper.queries_log.append({"sql": sql, "time": f"{time.monotonic() - started:.3f}"})


def _executed(wrapper: BaseDatabaseWrapper, sql: str, parameters: Mapping[str, Any]) -> PGresult:
    connection: psycopg.Connection[Any] = wrapper.connection
    text, names = _numbered(sql)
    values = [_written(parameters[name]) for name in names]
    if not connection.autocommit and connection.pgconn.transaction_status == pq.TransactionStatus.IDLE:
        connection.execute("")  # the driver begins the transaction
    if hot_settings.DATABASE_PREPARED_STATEMENTS:
        session = _session_of(connection)
        try:
            name = session.names.get(text) or _prepared(connection, session, text)
            return _answer(connection, _run_prepared(connection.pgconn, name, values))
        except _OUTDATED:
            session.names.pop(text, None)
            session.outdated[text] += 1
            if wrapper.in_atomic_block:
                raise  # the transaction is lost
    return _answer(connection, _run_as_it_is(connection.pgconn, text, values))


def _session_of(connection: psycopg.Connection[Any]) -> _Session:
    if _last.connection is not connection:
        _last.connection, _last.session = connection, _sessions.setdefault(connection, _Session())
    return _last.session


def _prepared(connection: psycopg.Connection[Any], session: _Session, text: str) -> bytes:
    """Tell the server a statement, and by which name it will be asked for.

    The name tells of the text, so that it is no other statement's in any session that a proxy may have put here.
    """
    digest = hashlib.sha256(text.encode()).hexdigest()[:24]
    name = f"keywright_{digest}_{session.outdated[text]}".encode()
    _answer(connection, _prepare(connection.pgconn, name, text))
    session.names[text] = name
    return name


# What is sent is sent within the wait for its answer, which looks whether there is any hope of one.


def _prepare(connection: PGconn, name: bytes, text: str) -> PQGen[list[PGresult]]:
    connection.send_prepare(name, text.encode())
    results: list[PGresult] = yield from exchange(connection)
    return results


def _run_prepared(connection: PGconn, name: bytes, values: Values) -> PQGen[list[PGresult]]:
    connection.send_query_prepared(name, values)
    results: list[PGresult] = yield from exchange(connection)
    return results


def _run_as_it_is(connection: PGconn, text: str, values: Values) -> PQGen[list[PGresult]]:
    connection.send_query_params(text.encode(), values)
    results: list[PGresult] = yield from exchange(connection)
    return results


def _answer(connection: psycopg.Connection[Any], exchanged: PQGen[list[PGresult]]) -> PGresult:
    result = connection.wait(exchanged)[-1]
    if result.status == pq.ExecStatus.FATAL_ERROR:
        raise errors.error_from_result(result)
    return result


@lru_cache(maxsize=64)
def _numbered(sql: str) -> tuple[str, tuple[str, ...]]:
    """The statement with its parameters by number, as the protocol has them, and their names in that order."""
    names = tuple(dict.fromkeys(_PARAMETER.findall(sql)))
    return _PARAMETER.sub(lambda found: f"${names.index(found[1]) + 1}", sql), names


def _written(value: object) -> bytes | None:
    """A parameter in the server's own text form."""
    if isinstance(value, str):
        if "\0" in value:
            raise psycopg.DataError("no text of PostgreSQL's holds a NUL")
        return value.encode()
    if value is None:
        return None
    if isinstance(value, int | float):
        return repr(value).encode()
    if isinstance(value, bytes):
        return b"\\x" + value.hex().encode()
    if isinstance(value, datetime):
        return value.isoformat().encode()
    raise TypeError(f"a parameter of type {type(value).__name__}")


def _read(result: PGresult, column: int) -> Any:
    value = result.get_value(0, column)
    if value is None:
        return None
    reader = _READERS.get(result.ftype(column))
    if reader is None:
        raise TypeError(f"a column of the type {result.ftype(column)} of pg_type")
    return reader(value)
