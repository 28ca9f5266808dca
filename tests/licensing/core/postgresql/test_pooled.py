"""Many threads share a few connections, which are as patient as any."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import OperationalError, connection

from licensing.core.postgresql.patience import MARGIN_SECONDS, PatientConnection
from licensing.core.postgresql.pooled.base import DatabaseWrapper

CONNECTIONS, THREADS = 2, 12


@pytest.fixture
def entry(transactional_db: None) -> Iterator[dict[str, Any]]:
    """Settings of a pool of its own, which is closed afterwards."""
    pool = {"min_size": 0, "max_size": CONNECTIONS, "timeout": 30, "connection_class": PatientConnection}
    options = {**connection.settings_dict["OPTIONS"], "answer_seconds": 5, "pool": pool}
    yield {**connection.settings_dict, "OPTIONS": options, "CONN_MAX_AGE": 0}
    DatabaseWrapper._connection_pools.pop("default").close()  # type: ignore[attr-defined]


def ask(wrapper: DatabaseWrapper, sql: str) -> Any:
    with wrapper.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0]


def test_many_threads_share_a_few_connections(entry: dict[str, Any]) -> None:
    begin = threading.Barrier(THREADS)

    def work(_: int) -> set[int]:
        wrapper = DatabaseWrapper(entry, alias="default")
        begin.wait(60)
        seen = set()
        for _ in range(5):
            seen.add(ask(wrapper, "SELECT pg_backend_pid()"))
            wrapper.close()
        return seen

    with ThreadPoolExecutor(THREADS) as threads:
        backends = set().union(*threads.map(work, range(THREADS)))
    assert 1 <= len(backends) <= CONNECTIONS


def test_who_gets_none_in_time_is_told_and_the_next_is_served(entry: dict[str, Any]) -> None:
    holders = [DatabaseWrapper(entry, alias="default") for _ in range(CONNECTIONS)]
    for holder in holders:
        holder.ensure_connection()
    late = DatabaseWrapper(entry, alias="default")
    assert late.pool is not None
    late.pool.timeout = 0.2
    with pytest.raises(OperationalError):
        late.ensure_connection()
    for holder in holders:
        holder.close()
    late.pool.timeout = 30
    assert ask(late, "SELECT 1") == 1
    late.close()


def test_nobody_waits_without_an_end(entry: dict[str, Any]) -> None:
    wrapper = DatabaseWrapper(entry, alias="default")
    assert ask(wrapper, "SHOW statement_timeout") == "5s"
    assert isinstance(wrapper.connection, PatientConnection)
    assert wrapper.connection.patience_seconds == 5 + MARGIN_SECONDS
    wrapper.close()


def test_a_connection_that_was_cut_is_not_handed_out(entry: dict[str, Any]) -> None:
    wrapper = DatabaseWrapper(entry, alias="default")
    backend = ask(wrapper, "SELECT pg_backend_pid()")
    wrapper.close()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s)", [backend])
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE pid = %s", [backend])
            if cursor.fetchone()[0] == 0:
                break
        time.sleep(0.02)
    assert ask(wrapper, "SELECT pg_backend_pid()") != backend
    wrapper.close()
