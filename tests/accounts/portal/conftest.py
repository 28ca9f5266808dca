from typing import Any

import pytest

# Models are imported inside: a file named on the command line loads this before Django is set up.


@pytest.fixture
def cast(db: None) -> Any:
    """The cast of the portal's tests."""
    from tests.portal_cast import load_portal_cast

    return load_portal_cast()


@pytest.fixture(autouse=True)
def _no_mail_leaves(settings: Any) -> None:
    settings.CELERY_TASK_ALWAYS_EAGER = True
