"""Identifiers: a prefix, the millisecond, and eighty random bits, in Crockford's base 32."""

import secrets
import time

import pytest

from licensing.core.ids import new_id

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def number_of(text: str) -> int:
    number = 0
    for character in text:
        number = number * 32 + _ALPHABET.index(character)
    return number


@pytest.mark.parametrize("milliseconds", [0, 1, 1_795_358_462_123, 2**48 - 1])
@pytest.mark.parametrize("bits", [0, 1, 0x0123456789ABCDEF0123, 2**80 - 1])
def test_an_id_says_when_it_was_made_and_its_random_bits(
    milliseconds: int, bits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: milliseconds * 1_000_000 + 999_999)
    monkeypatch.setattr(secrets, "randbits", lambda count: bits if count == 80 else None)
    prefix, _, rest = new_id("tok").partition("_")
    assert (prefix, len(rest)) == ("tok", 26)
    assert (number_of(rest[:10]), number_of(rest[10:])) == (milliseconds, bits)


def test_no_two_are_alike() -> None:
    assert len({new_id("tok") for _ in range(1000)}) == 1000
