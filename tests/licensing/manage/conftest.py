from typing import Any

import pytest

# Models are imported inside: a file named on the command line loads this before Django is set up.


@pytest.fixture
def admin(db: None) -> Any:
    """A superuser's client."""
    from tests import cast

    return cast.operator()[1]


@pytest.fixture
def shop(db: None) -> None:
    """The catalogue."""
    from tests import cast

    cast.catalogue()


@pytest.fixture
def acme(shop: None) -> Any:
    """A customer with a Pro subscription."""
    from tests import cast

    owner = cast.customer("acme_1", "Acme Corp")
    cast.subscribe(owner)
    return owner


@pytest.fixture
def globex(shop: None) -> Any:
    """Another, with a Free one."""
    from tests import cast

    owner = cast.customer("globex_1", "Globex")
    cast.subscribe(owner, "Free")
    return owner


@pytest.fixture
def signing(db: None) -> None:
    """Keys to mint with."""
    from datetime import UTC, datetime

    from licensing.core.actor import system
    from licensing.services.key_lifecycle import bootstrap

    bootstrap(actor=system("tests"), now=datetime.now(UTC))
