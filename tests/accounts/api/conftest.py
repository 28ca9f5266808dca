from typing import Any

import pytest

# Models are imported inside: a file named on the command line loads this before Django is set up.


@pytest.fixture
def admin(db: None) -> Any:
    """A superuser's client."""
    from tests import cast

    return cast.operator()[1]


@pytest.fixture
def acme(db: None) -> Any:
    """The customer that tests are about."""
    from tests import cast

    return cast.customer("acme_1", "Acme Corp")


@pytest.fixture
def globex(db: None) -> Any:
    """Another customer."""
    from tests import cast

    return cast.customer("globex_1", "Globex")
