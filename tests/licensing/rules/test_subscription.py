"""How a subscription stands: every status at the instants around its ends."""

import pytest

from licensing.rules.subscription import DEFAULT_GRACE_SECONDS, Standing, standing
from tests.licensing.rules.builders import NOW, subscription

END = NOW + 1000
GRACE = NOW + 2000
WEEK = DEFAULT_GRACE_SECONDS
VALID, EXPIRED = "VALID", "SUBSCRIPTION_EXPIRED"

# Name: status, grace_until, instant, code, access_until, grace_until as told.
CASES = {
    "trialing, last instant": ("trialing", None, END - 0.001, VALID, END, None),
    "trialing, its end": ("trialing", None, END, EXPIRED, END, None),
    "trialing, after": ("trialing", None, END + 1, EXPIRED, END, None),
    "trialing knows no grace": ("trialing", GRACE, END, EXPIRED, END, None),
    "canceled, last instant": ("canceled", None, END - 0.001, VALID, END, None),
    "canceled, its end": ("canceled", None, END, EXPIRED, END, None),
    "canceled knows no grace": ("canceled", GRACE, END, EXPIRED, END, None),
    "active, in the period": ("active", None, NOW, VALID, END + WEEK, None),
    "active, last instant of the period": ("active", None, END - 0.001, VALID, END + WEEK, None),
    "active, the period's end is past due": ("active", None, END, VALID, END + WEEK, END + WEEK),
    "active, last instant of seven days": ("active", None, END + WEEK - 0.001, VALID, END + WEEK, END + WEEK),
    "active, seven days over": ("active", None, END + WEEK, EXPIRED, END + WEEK, None),
    "active with grace set, in the period": ("active", GRACE, NOW, VALID, GRACE, None),
    "active with grace set, past the period": ("active", GRACE, END, VALID, GRACE, GRACE),
    "active with grace set, last instant": ("active", GRACE, GRACE - 0.001, VALID, GRACE, GRACE),
    "active with grace set, its end": ("active", GRACE, GRACE, EXPIRED, GRACE, None),
    "active, an early grace shortens nothing paid": ("active", NOW - 1, NOW, VALID, END, None),
    "active, an early grace gives nothing after": ("active", NOW - 1, END, EXPIRED, NOW - 1, None),
    "past_due, in the period": ("past_due", None, NOW, VALID, END + WEEK, END + WEEK),
    "past_due, seven days over": ("past_due", None, END + WEEK, EXPIRED, END + WEEK, None),
    "past_due with grace set, last instant": ("past_due", GRACE, GRACE - 0.001, VALID, GRACE, GRACE),
    "past_due with grace set, its end": ("past_due", GRACE, GRACE, EXPIRED, GRACE, None),
    "past_due, grace over before the period": ("past_due", NOW, NOW, EXPIRED, NOW, None),
    "paused, in the period": ("paused", GRACE, NOW, "SUBSCRIPTION_PAUSED", 0, None),
    "paused, after it": ("paused", None, END + WEEK, "SUBSCRIPTION_PAUSED", 0, None),
    "expired, in the period": ("expired", GRACE, NOW, EXPIRED, END, None),
    "expired, after it": ("expired", None, END, EXPIRED, END, None),
    "a status nobody knows": ("unheard-of", None, NOW, EXPIRED, END, None),
}


@pytest.mark.parametrize("name", CASES)
def test_standing(name: str) -> None:
    status, grace_until, instant, code, access_until, told = CASES[name]
    row = subscription(status=status, period_end=END, grace_until=grace_until)
    found = standing(row, instant)
    assert found == Standing(code, access_until, told)
    assert found.is_active is (code == VALID)


def test_no_subscription() -> None:
    assert standing(None, NOW) == Standing("SUBSCRIPTION_NONE", 0)


@pytest.mark.parametrize(("grace_seconds", "code"), [(0, EXPIRED), (1, VALID)])
def test_the_usual_grace_is_a_setting(grace_seconds: int, code: str) -> None:
    assert standing(subscription(period_end=END), END, grace_seconds=grace_seconds).code == code
