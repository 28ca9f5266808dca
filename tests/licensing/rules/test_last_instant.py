"""A subscription until the last day there is: its grace cannot lie in a year that nobody can write."""

import pytest

from licensing.core.clock import rfc3339
from licensing.rules import codes
from licensing.rules.snapshot import Subscription
from licensing.rules.subscription import standing

LAST = 253_402_300_799.999999


@pytest.mark.parametrize("status", ["active", "past_due", "trialing", "canceled"])
def test_it_stands_and_every_instant_of_it_can_be_written(status: str) -> None:
    found = standing(Subscription("Pro", status, LAST, None, None), 1_800_000_000)

    assert found.code == codes.VALID
    assert rfc3339(found.access_until).startswith("9999-12-31T")
    assert found.grace_until is None or rfc3339(found.grace_until) == "9999-12-31T23:59:59Z"
