"""Download URLs: what opens, and that nothing else does."""

import pickle
import re

import pytest

from licensing.crypto import base64url
from licensing.crypto.sealing import new_versioned_key
from licensing.crypto.urls import DownloadClaims, TokenBinding, UrlInvalid, UrlKeys

TOKEN = TokenBinding("api-logger", "2.1.0", "ins_1", "key_1", None, "live", 1_780_000_000, (0, 2, 1))
CLAIMS = DownloadClaims("dlg_1", "art_1", "ab" * 32, "cust_123", "plugin_token", "ins_1", 1_780_000_300, TOKEN)


def keys(*versions: int) -> UrlKeys:
    return UrlKeys.parse(",".join(new_versioned_key(version) for version in versions))


def test_claims_come_back() -> None:
    ring = keys(1)
    assert ring.open(ring.seal(CLAIMS)) == CLAIMS


def test_a_url_shows_nothing_and_is_never_the_same() -> None:
    ring = keys(1)
    first, second = ring.seal(CLAIMS), ring.seal(CLAIMS)
    assert first != second
    assert re.fullmatch(r"[A-Za-z0-9_-]{100,600}", first)
    raw = base64url.decode(first)
    assert not any(part.encode() in raw for part in ("cust_123", "art_1", "ins_1", "key_1"))


def test_every_flipped_bit_is_refused() -> None:
    ring = keys(1)
    raw = base64url.decode(ring.seal(CLAIMS))
    for place in range(len(raw) * 8):
        altered = bytearray(raw)
        altered[place // 8] ^= 1 << place % 8
        with pytest.raises(UrlInvalid):
            ring.open(base64url.encode(bytes(altered)))


@pytest.mark.parametrize("cut", [0, 1, 2, 17, 18, 33, 34])
def test_a_cut_url_is_refused(cut: int) -> None:
    ring = keys(1)
    with pytest.raises(UrlInvalid):
        ring.open(base64url.encode(base64url.decode(ring.seal(CLAIMS))[:cut]))


@pytest.mark.parametrize("junk", ["", "=", "a", "..", "%00", "é", "A" * 3000, "////", "AAEA" * 30])
def test_junk_is_refused(junk: str) -> None:
    with pytest.raises(UrlInvalid):
        keys(1).open(junk)


def test_a_second_spelling_is_refused() -> None:
    ring = keys(1)
    with pytest.raises(UrlInvalid):
        ring.open(ring.seal(CLAIMS) + "=")


def test_keys_rotate_without_breaking_urls_that_are_out() -> None:
    old, new = new_versioned_key(1), new_versioned_key(2)
    before, between, after = UrlKeys.parse(old), UrlKeys.parse(f"{new},{old}"), UrlKeys.parse(new)
    assert between.open(before.seal(CLAIMS)) == CLAIMS
    assert after.open(between.seal(CLAIMS)) == CLAIMS
    with pytest.raises(UrlInvalid):
        after.open(before.seal(CLAIMS))


def test_another_servers_key_of_the_same_version_opens_nothing() -> None:
    with pytest.raises(UrlInvalid):
        keys(1).open(keys(1).seal(CLAIMS))


def test_keys_are_not_shown_nor_pickled() -> None:
    assert repr(keys(2, 1)) == "UrlKeys(versions=(2, 1), current=2)"
    with pytest.raises(TypeError):
        pickle.dumps(keys(1))
