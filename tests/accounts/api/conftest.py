import pytest

from accounts.models import Customer
from tests import cast


@pytest.fixture
def admin(db: None) -> cast.Api:
    """A superuser's client."""
    return cast.operator()[1]


@pytest.fixture
def acme(db: None) -> Customer:
    """The customer that tests are about."""
    return cast.customer("acme_1", "Acme Corp")


@pytest.fixture
def globex(db: None) -> Customer:
    """Another customer."""
    return cast.customer("globex_1", "Globex")
