"""Whether a key may be used from an address: both families, IPv4 in IPv6's clothes, and ranges that are none."""

import pytest

from accounts.services.api_keys import checked_cidrs
from licensing.rules.pipeline import _is_within


@pytest.mark.parametrize(
    ("address", "cidrs", "is_allowed"),
    [
        ("192.0.2.7", ("192.0.2.0/24",), True),
        ("192.0.3.7", ("192.0.2.0/24",), False),
        ("::ffff:192.0.2.7", ("192.0.2.0/24",), True),
        ("192.0.2.7", ("2001:db8::/32", "192.0.2.0/24"), True),
        ("2001:db8::7", ("192.0.2.0/24", "2001:db8::/32"), True),
        ("2001:db9::7", ("192.0.2.0/24", "2001:db8::/32"), False),
        ("192.0.2.7", ("no range", "192.0.2.0/24"), True),
        ("192.0.2.7", ("no range",), False),
        ("no address", ("0.0.0.0/0", "::/0"), False),
    ],
)
def test_an_address_is_within_ranges(address: str, cidrs: tuple[str, ...], is_allowed: bool) -> None:
    assert _is_within(address, cidrs) is is_allowed


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
        ("::ffff:192.0.2.7", "192.0.2.7/32"),
        ("::ffff:0:0/96", "0.0.0.0/0"),
        ("::/0", "::/0"),
        ("2001:db8::1/32", "2001:db8::/32"),
        ("10.1.2.3/8", "10.0.0.0/8"),
    ],
)
def test_ranges_are_stored_in_the_family_that_addresses_are_compared_in(text: str, stored: str) -> None:
    assert checked_cidrs([text]) == [stored]
