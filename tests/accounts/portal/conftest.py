import copy
import time
from collections.abc import Iterator
from typing import Any

import pytest

# Models are imported inside: a file named on the command line loads this before Django is set up.


@pytest.fixture(scope="module")
def committed_cast(django_db_setup: None, django_db_blocker: Any) -> Iterator[Any]:
    """The cast of the portal's tests, committed for the whole module."""
    from tests.licensing.cast import empty_tables
    from tests.portal_cast import load_portal_cast

    with django_db_blocker.unblock():
        loaded = load_portal_cast()
    yield loaded
    with django_db_blocker.unblock():
        empty_tables()


@pytest.fixture
def cast(committed_cast: Any, db: None) -> Any:
    """The cast; whatever a test changes of it is rolled back with the test."""
    return copy.deepcopy(committed_cast)


@pytest.fixture(autouse=True)
def _jobs_run_at_once() -> Iterator[None]:
    from licensing.celery import app
    from licensing.core.valkey import valkey

    valkey().run(lambda client: client.flushdb())
    app.conf.task_always_eager = True
    yield
    app.conf.task_always_eager = False


@pytest.fixture(autouse=True)
def _the_half_minute_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A code of an app that a test has computed stays good for that test, however busy the machine is."""
    begun = int(time.time()) // 30

    def counters() -> Iterator[int]:
        yield from range(begun, int(time.time()) // 30 + 1)

    monkeypatch.setattr("allauth.mfa.totp.internal.auth.yield_hotp_counters_from_time", counters)
