"""The embedded build secret: its frozen form, and that only its own key and build open it."""

import base64
import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from licensing.crypto import keys
from licensing.crypto.build_slot import SlotBroken, SlotIdentity, open_secret, seal_secret

ROOT = bytes(range(32))
SECRET = bytes(range(100, 132))
IDENTITY = SlotIdentity("bld_1", "cust_123", "api-logger", "2.1.0", "linux/amd64")


def test_frozen_slot(vector: Callable[[str], dict[str, Any]]) -> None:
    frozen = vector("build-slot.json")
    root = keys.key_root(frozen["api_key"])
    assert root.hex() == frozen["key_root"]
    identity = SlotIdentity(*(frozen[part] for part in ("build_id", "customer", "plugin", "version", "target")))
    secret = bytes.fromhex(frozen["secret"])
    nonce = bytes.fromhex(frozen["nonce"])
    assert seal_secret(root, secret, identity, nonce=nonce) == frozen["slot"]
    assert open_secret(root, frozen["slot"], identity) == secret


@settings(deadline=None)  # other work shares the processor
@given(secret=st.binary(min_size=32, max_size=32), root=st.binary(min_size=32, max_size=32))
def test_what_is_sealed_opens(secret: bytes, root: bytes) -> None:
    assert open_secret(root, seal_secret(root, secret, IDENTITY), IDENTITY) == secret


def test_nonces_are_new_unless_given() -> None:
    assert seal_secret(ROOT, SECRET, IDENTITY) != seal_secret(ROOT, SECRET, IDENTITY)
    same = [seal_secret(ROOT, SECRET, IDENTITY, nonce=bytes(12)) for _ in range(2)]
    assert same[0] == same[1]


@pytest.mark.parametrize("part", ["build_id", "customer", "plugin", "version", "target"])
def test_every_part_of_the_identity_is_bound(part: str) -> None:
    slot = seal_secret(ROOT, SECRET, IDENTITY)
    with pytest.raises(SlotBroken):
        open_secret(ROOT, slot, dataclasses.replace(IDENTITY, **{part: "other"}))


def test_parts_cannot_run_into_each_other() -> None:
    slot = seal_secret(ROOT, SECRET, dataclasses.replace(IDENTITY, customer="ab", plugin="c"))
    with pytest.raises(SlotBroken):
        open_secret(ROOT, slot, dataclasses.replace(IDENTITY, customer="a", plugin="bc"))
    for part in ("build_id", "customer", "plugin", "version", "target"):
        for value in ("", "a\0b"):
            with pytest.raises(ValueError, match="NUL"):
                dataclasses.replace(IDENTITY, **{part: value})


def test_another_key_root_or_any_flipped_bit() -> None:
    slot = seal_secret(ROOT, SECRET, IDENTITY)
    with pytest.raises(SlotBroken):
        open_secret(bytes(32), slot, IDENTITY)
    sealed = base64.b64decode(slot.removeprefix("encrypted:"))
    for bit in range(len(sealed) * 8):
        broken = bytearray(sealed)
        broken[bit // 8] ^= 1 << bit % 8
        with pytest.raises(SlotBroken):
            open_secret(ROOT, "encrypted:" + base64.b64encode(broken).decode(), IDENTITY)


@pytest.mark.parametrize(
    "change",
    [
        lambda slot: "",
        lambda slot: "encrypted:",
        lambda slot: slot.removeprefix("encrypted:"),
        lambda slot: "encrypted:" + slot,
        lambda slot: slot + "\n",
        lambda slot: slot + "=",
        lambda slot: slot[:-4],
        lambda slot: slot.replace("encrypted:", "Encrypted:"),
        lambda slot: slot[:20] + " " + slot[20:],
        lambda slot: slot[:20] + "é" + slot[21:],
        lambda slot: slot + "AAAA",
    ],
)
def test_a_slot_has_one_spelling(change: Callable[[str], str]) -> None:
    with pytest.raises(SlotBroken) as caught:
        open_secret(ROOT, change(seal_secret(ROOT, SECRET, IDENTITY)), IDENTITY)
    assert str(caught.value) == "build slot does not open"


def test_lengths_are_checked() -> None:
    for root, secret, nonce in (
        (ROOT[:-1], SECRET, None),
        (ROOT, SECRET + b"\0", None),
        (ROOT, SECRET, bytes(11)),
    ):
        with pytest.raises(ValueError, match="bytes") as caught:
            seal_secret(root, secret, IDENTITY, nonce=nonce)
        assert repr(secret) not in str(caught.value)
    with pytest.raises(ValueError, match="key root"):
        open_secret(b"", "encrypted:", IDENTITY)
