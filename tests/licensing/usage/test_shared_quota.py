"""One day's quota, shared by processes: together they never count more."""

import os
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest
from django.db import connection
from psycopg.conninfo import make_conninfo

from licensing.services.counts import flush_usage, stored_events
from tests.licensing.cast import Cast

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("empty_valkey")]

PROCESSES, BATCHES = 3, 20


def database_of_the_tests() -> str:
    params = connection.get_connection_params()
    names = ("host", "port", "user", "password", "dbname")
    return make_conninfo("", **{name: params[name] for name in names if name in params})


def test_processes_never_exceed_a_days_quota(fresh_cast: Cast) -> None:
    environment = {**os.environ, "DATABASE_URL": database_of_the_tests()}
    script = str(Path(__file__).with_name("reporter.py"))
    processes = [
        subprocess.Popen(
            [sys.executable, script, str(who), str(BATCHES)], env=environment, stdout=subprocess.PIPE, text=True
        )
        for who in range(PROCESSES)
    ]
    counted = [int(process.communicate()[0]) for process in processes]
    assert sum(counted) == 33, counted
    flush_usage()
    assert stored_events("cust_123", "console-logger", date(2026, 3, 1)) == 99
