"""Fixtures of every folder that tests pages: the cast, once a module, and jobs that run at once.

A conftest imports them by name.
"""

import copy
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
def jobs_run_at_once() -> Iterator[None]:
    """Jobs are done where they are asked for, and Valkey begins empty."""
    from licensing.celery import app
    from licensing.core.valkey import valkey

    valkey().run(lambda client: client.flushdb())
    app.conf.task_always_eager = True
    yield
    app.conf.task_always_eager = False
