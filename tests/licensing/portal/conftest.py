from collections.abc import Iterator
from typing import Any

import pytest

# Models are imported inside: a file named on the command line loads this before Django is set up.


@pytest.fixture
def cast(db: None) -> Any:
    """The cast of the portal's tests."""
    from tests.portal_cast import load_portal_cast

    return load_portal_cast()


@pytest.fixture(autouse=True)
def _jobs_run_at_once() -> Iterator[None]:
    from licensing.celery import app
    from licensing.core.valkey import valkey

    valkey().run(lambda client: client.flushdb())
    app.conf.task_always_eager = True
    yield
    app.conf.task_always_eager = False
