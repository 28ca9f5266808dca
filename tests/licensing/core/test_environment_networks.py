"""Address ranges in the environment: a mistyped one stops the process, instead of failing every request."""

import pytest

from licensing.core.environment import Environment
from licensing.core.errors import ConfigurationError


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        ("10.0.0.0/8, ::1/128\n192.0.2.7", ["10.0.0.0/8", "::1/128", "192.0.2.7"]),
        ("10.1.2.3/8", ["10.1.2.3/8"]),
    ],
)
def test_ranges_are_read(text: str, found: list[str]) -> None:
    assert Environment({"TRUSTED_PROXIES": text}).networks("TRUSTED_PROXIES", help="") == found


@pytest.mark.parametrize("text", ["proxy", "10.0.0.0/33", "10.0.0.0/8 10.0.0", "10.0.0.0-10.0.0.9", "*"])
def test_what_is_no_range_is_refused_by_its_place(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"TRUSTED_PROXIES, entry [12]") as caught:
        Environment({"TRUSTED_PROXIES": text}).networks("TRUSTED_PROXIES", help="")

    assert text not in str(caught.value)
