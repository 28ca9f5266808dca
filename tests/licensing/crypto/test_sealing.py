"""Sealing at rest: what opens, what does not, and that nothing says more than that."""

import base64
import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from licensing.crypto import keys as api_keys
from licensing.crypto.sealing import (
    KeyListInvalid,
    KeyRing,
    Peppers,
    SealBroken,
    UnknownKeyVersion,
    new_versioned_key,
    parse_versioned_keys,
    seal_for_bearer,
    unseal_for_bearer,
)

KEYS = {1: bytes([1]) * 32, 2: bytes([2]) * 32}
RING = KeyRing("auth", KEYS, 2)
OLD_RING = KeyRing("auth", {1: KEYS[1]}, 1)
IDENTITY = "api_key.root:key_1"
B64 = {version: base64.b64encode(key).decode() for version, key in KEYS.items()}


@settings(deadline=None)  # other work shares the processor
@given(plaintext=st.binary(max_size=200), identity=st.text(min_size=1, max_size=40))
def test_what_is_sealed_opens(plaintext: bytes, identity: str) -> None:
    assert RING.unseal(RING.seal(plaintext, identity=identity), identity=identity) == plaintext


@settings(deadline=None)  # other work shares the processor
@given(
    plaintext=st.binary(max_size=200),
    credential=st.text(min_size=1, max_size=40),
    idempotency_key=st.text(min_size=1, max_size=40),
)
def test_what_is_sealed_for_a_bearer_opens(plaintext: bytes, credential: str, idempotency_key: str) -> None:
    sealed = seal_for_bearer(credential, idempotency_key, plaintext, identity="row:1")
    assert unseal_for_bearer(credential, idempotency_key, sealed, identity="row:1") == plaintext


def test_frozen_values(vector: Callable[[str], dict[str, Any]]) -> None:
    frozen = vector("sealing.json")
    ring = KeyRing.parse(frozen["key_list"], purpose=frozen["purpose"])
    assert ring.versions == (2, 1)
    for version, sealed in frozen["sealed"].items():
        value = bytes.fromhex(sealed)
        assert KeyRing.version_of(value) == int(version)
        assert ring.unseal(value, identity=frozen["identity"]) == bytes.fromhex(frozen["plaintext"])
    bearer = frozen["bearer"]
    opened = unseal_for_bearer(
        bearer["credential"],
        bearer["idempotency_key"],
        bytes.fromhex(bearer["sealed"]),
        identity=bearer["identity"],
    )
    assert opened == bytes.fromhex(bearer["plaintext"])


def test_two_seals_of_one_value_differ() -> None:
    assert RING.seal(b"x", identity=IDENTITY) != RING.seal(b"x", identity=IDENTITY)


def test_every_flipped_bit_is_noticed() -> None:
    sealed = RING.seal(b"secret", identity=IDENTITY)
    for bit in range(len(sealed) * 8):
        broken = bytearray(sealed)
        broken[bit // 8] ^= 1 << bit % 8
        with pytest.raises((SealBroken, UnknownKeyVersion)):
            RING.unseal(bytes(broken), identity=IDENTITY)


def test_a_version_cannot_be_relabelled() -> None:
    # Both versions hold a key here; only the associated data tell that the label was changed.
    sealed = bytearray(OLD_RING.seal(b"secret", identity=IDENTITY))
    sealed[2] = 2
    with pytest.raises(SealBroken):
        KeyRing("auth", {1: KEYS[2], 2: KEYS[1]}, 1).unseal(bytes(sealed), identity=IDENTITY)


@pytest.mark.parametrize("sealed", [b"", b"\x01", b"\x01\x00\x02" + b"\0" * 27, b"\x02" + b"\0" * 40])
def test_what_is_too_short_or_of_another_format(sealed: bytes) -> None:
    with pytest.raises(SealBroken):
        RING.unseal(sealed, identity=IDENTITY)
    with pytest.raises(SealBroken):
        KeyRing.version_of(sealed)


def test_another_row_or_purpose_or_key_does_not_open() -> None:
    sealed = RING.seal(b"secret", identity=IDENTITY)
    with pytest.raises(SealBroken):
        RING.unseal(sealed, identity="api_key.root:key_2")
    with pytest.raises(SealBroken):
        KeyRing("builds", KEYS, 2).unseal(sealed, identity=IDENTITY)
    with pytest.raises(SealBroken):
        KeyRing("auth", {2: bytes([9]) * 32}, 2).unseal(sealed, identity=IDENTITY)


def test_an_unknown_version_is_said_and_never_fallen_back_from() -> None:
    sealed = RING.seal(b"secret", identity=IDENTITY)
    with pytest.raises(UnknownKeyVersion, match="no auth key of version 2") as caught:
        OLD_RING.unseal(sealed, identity=IDENTITY)
    assert (caught.value.purpose, caught.value.version) == ("auth", 2)


def test_resealing_moves_to_the_current_key_and_no_further() -> None:
    old = OLD_RING.seal(b"secret", identity=IDENTITY)
    moved = RING.reseal(old, identity=IDENTITY)
    assert (KeyRing.version_of(old), KeyRing.version_of(moved)) == (1, 2)
    assert RING.unseal(moved, identity=IDENTITY) == b"secret"
    assert RING.reseal(moved, identity=IDENTITY) == moved
    with pytest.raises(SealBroken):
        RING.reseal(old, identity="api_key.root:key_2")


def test_a_list_is_read_with_its_first_entry_current() -> None:
    ring = KeyRing.parse(f"2:{B64[2]},1:{B64[1]}\n", purpose="auth")
    assert (ring.current, ring.versions, ring.purpose) == (2, (2, 1), "auth")
    assert ring.unseal(OLD_RING.seal(b"x", identity=IDENTITY), identity=IDENTITY) == b"x"
    assert KeyRing.parse(new_versioned_key(65535), purpose="auth").current == 65535


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "entry 1: expected VERSION:BASE64"),
        (B64[1], "entry 1: expected"),
        (f"1:{B64[1]},", "entry 2: expected"),
        (f"0:{B64[1]}", "entry 1: expected"),
        (f"01:{B64[1]}", "entry 1: expected"),
        (f"+1:{B64[1]}", "entry 1: expected"),
        (f"٣:{B64[1]}", "entry 1: expected"),
        (f"65536:{B64[1]}", "entry 1: expected"),
        (f"1:{B64[1]}, 2:{B64[2]}", "entry 2: expected"),
        (f"1:{B64[1]},1:{B64[2]}", "entry 2: version 1 is given twice"),
        (f"1:{B64[1]},2:{B64[1]}", "same key"),
        (f"1:{B64[1][:-1]}", "not standard base64"),
        (f"1:{B64[1]} x", "not standard base64"),
        ("1:" + "-_" * 21 + "-=", "not standard base64"),
        (f"1:{B64[1][:-2]}F=", "not canonical base64"),
        ("1:" + base64.b64encode(b"short").decode(), "a key is 32 bytes, this one is 5"),
        ("1:", "a key is 32 bytes, this one is 0"),
    ],
)
def test_a_list_that_cannot_be_used_says_why_and_not_what(text: str, message: str) -> None:
    for parse in (lambda: KeyRing.parse(text, purpose="auth"), lambda: Peppers.parse(text)):
        with pytest.raises(KeyListInvalid, match=message) as caught:
            parse()
        assert B64[1][:12] not in str(caught.value)
        assert caught.value.__cause__ is None


def test_a_ring_needs_its_current_key_and_a_purpose() -> None:
    with pytest.raises(KeyListInvalid, match="current version"):
        KeyRing("auth", KEYS, 3)
    with pytest.raises(KeyListInvalid, match="purpose"):
        KeyRing("auth\0x", KEYS, 1)
    with pytest.raises(KeyListInvalid, match="from 1 to"):
        KeyRing("auth", {0: KEYS[1]}, 0)


def test_a_seal_needs_an_identity() -> None:
    with pytest.raises(ValueError, match="identity"):
        RING.seal(b"x", identity="")


def test_peppers_find_a_key_stored_under_any_version() -> None:
    fingerprint = api_keys.fingerprint(api_keys.generate_key("km_live"))
    old, both = Peppers({1: KEYS[1]}, 1), Peppers(KEYS, 2)
    version, stored = old.digest(fingerprint)
    assert version == 1
    assert stored == api_keys.digest(KEYS[1], fingerprint)
    assert both.digest(fingerprint) == (2, api_keys.digest(KEYS[2], fingerprint))
    assert both.digests(fingerprint) == (both.digest(fingerprint)[1], stored)
    assert both.versions == (2, 1)
    assert both.digest_under(1, fingerprint) == stored
    with pytest.raises(UnknownKeyVersion, match="no pepper key of version 2"):
        old.digest_under(2, fingerprint)


def test_only_the_same_bearer_request_and_row_open_an_answer() -> None:
    sealed = seal_for_bearer("credential", "idem-1", b"answer", identity="row:1")
    for credential, key, identity in (
        ("other", "idem-1", "row:1"),
        ("credential", "idem-2", "row:1"),
        ("credential", "idem-1", "row:2"),
        ("credentialidem", "-1", "row:1"),
    ):
        with pytest.raises(SealBroken):
            unseal_for_bearer(credential, key, sealed, identity=identity)
    for bit in range(len(sealed) * 8):
        broken = bytearray(sealed)
        broken[bit // 8] ^= 1 << bit % 8
        with pytest.raises(SealBroken):
            unseal_for_bearer("credential", "idem-1", bytes(broken), identity="row:1")
    with pytest.raises(SealBroken):
        unseal_for_bearer("credential", "idem-1", b"", identity="row:1")
    with pytest.raises(ValueError, match="needed"):
        seal_for_bearer("", "idem-1", b"answer", identity="row:1")


def test_no_repr_shows_a_key_and_nothing_pickles() -> None:
    for held in (RING, Peppers(KEYS, 2)):
        assert repr(KEYS[1]) not in repr(held)
        assert B64[1] not in repr(held)
        assert "current=2" in repr(held)
        with pytest.raises(TypeError, match="pickled"):
            pickle.dumps(held)
        with pytest.raises(TypeError, match="pickled"):
            copy.deepcopy(held)


def test_parsing_keeps_the_order() -> None:
    assert list(parse_versioned_keys(f"2:{B64[2]},1:{B64[1]}").items()) == [(2, KEYS[2]), (1, KEYS[1])]
