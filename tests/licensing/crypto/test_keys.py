"""API keys: the frozen format, and what is refused before any lookup."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from licensing.crypto import keys

PREFIXES = ("km_live", "km_test", "kmop", "pat")
KEY = "km_live_0123456789ABCDEFGHIJKLMNOPQRST1fGPTN"


def test_frozen_keys(vector: Callable[[str], dict[str, Any]]) -> None:
    frozen = vector("api-keys.json")
    pepper = bytes.fromhex(frozen["pepper"])
    assert len(frozen["keys"]) == 5
    for entry in frozen["keys"]:
        parsed = keys.parse_key(entry["key"], PREFIXES)
        assert parsed == keys.ParsedKey(entry["prefix"], entry["key"], entry["key"][-4:])
        assert keys.fingerprint(entry["key"]).hex() == entry["fingerprint"]
        assert keys.digest(pepper, keys.fingerprint(entry["key"])).hex() == entry["digest"]
        assert keys.key_root(entry["key"]).hex() == entry["key_root"]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_generated_key_is_recognised(prefix: str) -> None:
    text = keys.generate_key(prefix)
    parsed = keys.parse_key(text, PREFIXES)
    assert parsed is not None
    assert (parsed.prefix, parsed.text, parsed.last4) == (prefix, text, text[-4:])
    assert len(text) == len(prefix) + 1 + 36
    assert keys.generate_key(prefix) != text


def test_every_character_of_the_alphabet_is_used() -> None:
    seen = set("".join(keys.generate_key("pat")[4:34] for _ in range(200)))
    assert seen == set(keys.ALPHABET)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "km_live_",
        KEY[:-1],
        KEY + "0",
        " " + KEY,
        KEY + "\n",
        KEY[:-1] + "\n",
        KEY.replace("km_live_", "km_live-"),
        KEY.replace("km_live_", "km__live_"),
        KEY.replace("km_live", "KM_LIVE"),
        KEY.replace("km_live", "km_prod"),
        KEY.replace("0123", "012é"),
        KEY.replace("0123", "012٣"),
        KEY.replace("0123", "012\ud800"),
        KEY.replace("0123", "01_3"),
        KEY.swapcase(),
        "km_live_customer_api_key",
        "x" * 1_000_000,
    ],
)
def test_anything_else_is_no_key(text: str) -> None:
    assert keys.parse_key(text, PREFIXES) is None


def test_a_prefix_that_is_not_accepted_here() -> None:
    assert keys.parse_key(KEY, ("pat",)) is None
    assert keys.parse_key(KEY, ()) is None


def test_the_checksum_covers_the_prefix() -> None:
    assert keys.parse_key(KEY.replace("live", "test"), PREFIXES) is None


@settings(deadline=None)  # other work shares the processor
@given(position=st.integers(8, len(KEY) - 1), replacement=st.sampled_from(keys.ALPHABET))
def test_one_wrong_character_is_noticed(position: int, replacement: str) -> None:
    typo = KEY[:position] + replacement + KEY[position + 1 :]
    assert (keys.parse_key(typo, PREFIXES) is None) == (typo != KEY)


@settings(deadline=None)  # other work shares the processor
@given(st.text(max_size=80))
def test_any_text_gets_an_answer(text: str) -> None:
    assert keys.parse_key(text, PREFIXES) is None


@pytest.mark.parametrize("prefix", ["", "Km", "km_", "_km", "km__live", "km-live", "1km", "k" * 33, "km\n", "ké"])
def test_prefixes_that_cannot_be(prefix: str) -> None:
    with pytest.raises(ValueError, match="prefix"):
        keys.generate_key(prefix)


def test_no_repr_and_no_error_shows_the_key() -> None:
    parsed = keys.parse_key(KEY, PREFIXES)
    assert KEY[:-4] not in repr(parsed)
    assert KEY[8:20] not in repr(parsed)
    for function in (keys.fingerprint, keys.key_root):
        with pytest.raises(ValueError, match="ASCII") as caught:
            function(KEY + "é")
        assert KEY not in repr(caught.value)
        assert not isinstance(caught.value, UnicodeError)
