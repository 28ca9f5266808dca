"""The signed key set: what a kit may believe, and everything it must not."""

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from licensing.crypto import base64url, jwk, keyset, tokens
from licensing.crypto.authority import PluginAuthority, Purpose, certificate_to_der
from licensing.crypto.claims import LeaseClaims, PluginClaims
from licensing.crypto.keyset import KeyPurpose, KeySetInvalid, ListedKey, VerifiedKeySet
from licensing.crypto.tokens import SigningKey

NOW = 1_704_067_200
START = datetime.fromtimestamp(NOW, UTC)
WEEK = 7 * 24 * 3600
ISSUER = "https://licensing.example.com"
AUTHORITY = PluginAuthority.create(now=START - timedelta(days=365))
PRIVATE_KEY = jwk.generate_private_key()
TOKEN_KEY = jwk.generate_private_key()
LEASE_KEY = jwk.generate_private_key()
KEYS = (
    ListedKey(TOKEN_KEY.public_key(), KeyPurpose.TOKEN),
    ListedKey(LEASE_KEY.public_key(), KeyPurpose.LEASE),
)


def certify(
    purpose: Purpose = Purpose.KEYSET,
    *,
    start: datetime = START,
    authority: PluginAuthority = AUTHORITY,
    key: ec.EllipticCurvePrivateKey = PRIVATE_KEY,
) -> bytes:
    end = start + timedelta(days=90)
    return certificate_to_der(authority.issue(purpose, key.public_key(), not_before=start, not_after=end))


CERTIFICATE = certify()


def sign(**change: Any) -> str:
    arguments: dict[str, Any] = {
        "keys": KEYS,
        "issuer": ISSUER,
        "version": 7,
        "issued_at": NOW,
        "certificate_der": CERTIFICATE,
        "private_key": PRIVATE_KEY,
    }
    return keyset.sign_key_set(**{**arguments, **change})


def verify(jws: str, *, now: int = NOW, **seen: int) -> VerifiedKeySet:
    return keyset.verify_key_set(jws, authority=AUTHORITY.public_key, issuer=ISSUER, now=now, **seen)


def refusal(jws: str, *, now: int = NOW, **seen: int) -> str:
    with pytest.raises(KeySetInvalid) as caught:
        verify(jws, now=now, **seen)
    assert str(caught.value) == f"key set refused: {caught.value.reason}"
    return caught.value.reason


def header_for(certificate: bytes = CERTIFICATE, **change: Any) -> dict[str, Any]:
    chain = [base64.b64encode(certificate).decode()]
    return {"alg": "ES256", "typ": "keyset+jws", "x5c": chain, **change}


def payload_of(jws: str) -> dict[str, Any]:
    payload: dict[str, Any] = json.loads(base64url.decode(jws.split(".")[1]))
    return payload


def sign_raw(header: Any, payload: Any) -> str:
    texts = [
        text if isinstance(text, bytes) else json.dumps(text, separators=(",", ":")).encode()
        for text in (header, payload)
    ]
    return tokens.sign_compact(base64url.encode(texts[0]), texts[1], PRIVATE_KEY, max_chars=keyset.MAX_CHARS)


def resign(**change: Any) -> str:
    return sign_raw(header_for(), {**payload_of(sign()), **change})


def test_a_key_set_lists_its_keys_by_purpose() -> None:
    verified = verify(sign())
    assert (verified.version, verified.issued_at, verified.expires_at) == (7, NOW, NOW + WEEK)
    assert verified.keys == KEYS
    assert verified.issuer == ISSUER
    assert verified.certificate_not_before == NOW
    token_kid, lease_kid = (jwk.thumbprint(key.public_key) for key in KEYS)
    assert verified.public_keys(KeyPurpose.TOKEN) == {token_kid: TOKEN_KEY.public_key()}
    assert verified.public_keys(KeyPurpose.LEASE) == {lease_kid: LEASE_KEY.public_key()}


def test_the_format_is_the_frozen_one() -> None:
    jws = sign()
    certificate = base64.b64encode(CERTIFICATE)
    header = base64url.decode(jws.split(".")[0])
    assert header == b'{"alg":"ES256","typ":"keyset+jws","x5c":["%b"]}' % certificate
    payload = payload_of(jws)
    assert list(payload) == ["_type", "iss", "version", "issued_at", "expires_at", "keys"]
    assert payload["_type"] == "keywright-keyset/v1"
    expected = {**jwk.verification_jwk(TOKEN_KEY.public_key()), "purpose": "token"}
    assert payload["keys"][0] == expected
    assert set(expected) == {"kty", "crv", "x", "y", "kid", "alg", "use", "purpose"}


def test_the_frozen_key_set_opens_the_frozen_token(vector: Callable[[str], dict[str, Any]]) -> None:
    frozen, signed = vector("key-set.json"), vector("tokens.json")
    verified = keyset.verify_key_set(
        frozen["key_set"],
        authority=jwk.public_from_der(base64.b64decode(frozen["authority_public_key"])),
        issuer=frozen["issuer"],
        now=frozen["issued_at"],
        newest_version_seen=frozen["version"],
        newest_certificate_seen=frozen["issued_at"],
    )
    assert (verified.version, verified.expires_at) == (frozen["version"], frozen["expires_at"])
    token_keys = verified.public_keys(KeyPurpose.TOKEN)
    lease_keys = verified.public_keys(KeyPurpose.LEASE)
    assert (list(token_keys), list(lease_keys)) == ([frozen["token_kid"]], [frozen["lease_kid"]])
    common: dict[str, Any] = {"issuer": ISSUER, "audience": None, "now": NOW}
    assert tokens.verify_claims(signed["token"], PluginClaims, keys=token_keys, **common)
    assert tokens.verify_claims(signed["lease"], LeaseClaims, keys=lease_keys, **common)
    with pytest.raises(tokens.TokenInvalid, match="header"):
        tokens.verify_claims(signed["lease"], LeaseClaims, keys=token_keys, **common)


def test_it_is_valid_for_seven_days_and_not_at_their_end() -> None:
    jws = sign()
    assert verify(jws, now=NOW + WEEK - 1)
    assert refusal(jws, now=NOW + WEEK) == "expired"
    early = sign(certificate_der=certify(start=START - timedelta(days=1)))
    assert verify(early, now=NOW - 5)
    assert refusal(early, now=NOW - 6) == "not_yet_valid"
    assert refusal(resign(expires_at=NOW + WEEK + 1)) == "lifetime"
    assert verify(resign(expires_at=NOW + 60)).expires_at == NOW + 60


def test_the_version_never_goes_back() -> None:
    jws = sign()
    assert verify(jws, newest_version_seen=7).version == 7
    assert verify(jws, newest_version_seen=6).version == 7
    assert refusal(jws, newest_version_seen=8) == "version_back"


def test_an_older_certificate_than_the_newest_seen() -> None:
    jws = sign()
    assert verify(jws, newest_certificate_seen=NOW)
    assert refusal(jws, newest_certificate_seen=NOW + 1) == "certificate_older"


def test_certificates_that_do_not_vouch_for_key_sets() -> None:
    later = NOW + 91 * 24 * 3600
    assert refusal(sign(issued_at=later), now=later) == "certificate_expired"
    tomorrow = certify(start=START + timedelta(days=1))
    assert refusal(sign(certificate_der=tomorrow)) == "certificate_not_yet_valid"
    for purpose in (Purpose.MANIFEST, Purpose.KEYSLOTS, Purpose.POLICY, Purpose.PROVENANCE):
        assert refusal(sign(certificate_der=certify(purpose))) == "certificate_purpose"
    impostor = PluginAuthority.create(now=START)
    assert refusal(sign(certificate_der=certify(authority=impostor))) == "certificate_issuer"
    self_signed = sign(certificate_der=AUTHORITY.certificate_der, private_key=AUTHORITY.private_key)
    assert refusal(self_signed) == "certificate_is_authority"


def test_a_server_of_ones_own_with_keys_of_ones_own() -> None:
    thief = jwk.generate_private_key()
    own = ListedKey(thief.public_key(), KeyPurpose.TOKEN)
    impostor = PluginAuthority.create(now=START)
    certificate = certify(authority=impostor, key=thief)
    assert refusal(sign(keys=[own], certificate_der=certificate, private_key=thief)) == "certificate_issuer"
    # Nor with the genuine certificate, which is public, over a payload of one's own.
    header = base64url.encode(json.dumps(header_for(), separators=(",", ":")).encode())
    payload = base64url.decode(sign(keys=[own]).split(".")[1])
    assert refusal(tokens.sign_compact(header, payload, thief)) == "signature"


def test_every_flipped_bit_is_noticed() -> None:
    segments = [base64url.decode(part) for part in sign().split(".")]
    for index, segment in enumerate(segments):
        for position in range(0, len(segment) * 8, 11):
            broken = bytearray(segment)
            broken[position // 8] ^= 1 << position % 8
            changed = [*segments[:index], bytes(broken), *segments[index + 1 :]]
            reason = refusal(".".join(map(base64url.encode, changed)))
            assert reason == "signature" if index else reason.startswith(("header", "certificate_"))


@pytest.mark.parametrize(
    "header",
    [
        header_for(alg="none"),
        header_for(alg="HS256"),
        header_for(typ="JWT"),
        header_for(typ="at+jwt"),
        header_for(kid="x"),
        header_for(jwk=jwk.public_jwk(PRIVATE_KEY.public_key())),
        header_for(crit=[]),
        header_for(x5c=[]),
        header_for(x5c=[base64.b64encode(CERTIFICATE).decode()] * 2),
        header_for(x5c=base64.b64encode(CERTIFICATE).decode()),
        header_for(x5c=[base64.b64encode(CERTIFICATE).decode() + "\n"]),
        header_for(x5c=[1]),
        header_for(x5c=None),
        dict(reversed(header_for().items())),
        {"alg": "ES256", "typ": "keyset+jws"},
        json.dumps(header_for()).encode(),
        json.dumps(header_for(), separators=(",", ":")).replace("{", '{"alg":"none",').encode(),
        b"[]",
        b"\xff",
        b"",
    ],
)
def test_the_header_is_exactly_ours(header: Any) -> None:
    assert verify(sign_raw(header_for(), payload_of(sign())))
    assert refusal(sign_raw(header, payload_of(sign()))) == "header"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"_type": "keywright-keyset/v2"}, "type"),
        ({"_type": "keywright-policy/v1"}, "type"),
        ({"_type": None}, "type"),
        ({"iss": "https://other.example"}, "issuer"),
        ({"iss": None}, "payload"),
        ({"version": 0}, "payload"),
        ({"version": -1}, "payload"),
        ({"version": True}, "payload"),
        ({"version": "7"}, "payload"),
        ({"version": 7.0}, "payload"),
        ({"version": 2**53}, "payload"),
        ({"issued_at": -1}, "payload"),
        ({"issued_at": NOW + WEEK}, "payload"),
        ({"expires_at": 10**15}, "payload"),
        ({"expires_at": None}, "payload"),
        ({"keys": {}}, "payload"),
        ({"more": 1}, "payload"),
    ],
)
def test_members_are_required_and_typed(change: dict[str, Any], reason: str) -> None:
    assert refusal(resign(**change)) == reason


@pytest.mark.parametrize("name", ["_type", "iss", "version", "issued_at", "expires_at", "keys"])
def test_every_member_is_required(name: str) -> None:
    payload = payload_of(sign())
    del payload[name]
    assert refusal(sign_raw(header_for(), payload)) == ("type" if name == "_type" else "payload")


def test_payloads_that_are_not_one_plain_object() -> None:
    text = json.dumps(payload_of(sign()), separators=(",", ":")).encode()
    for payload in (text[:-1] + b',"version":9}', b"[]", b"\xff", b"", b"[" * 10_000):
        assert refusal(sign_raw(header_for(), payload)) == "payload"


@pytest.mark.parametrize(
    "change",
    [
        {"purpose": "binary"},
        {"purpose": None},
        {"kid": "x"},
        {"alg": "HS256"},
        {"use": "enc"},
        {"kty": "oct"},
        {"crv": "P-384"},
        {"x": "AAAA"},
        {"d": "AAAA"},
    ],
)
def test_listed_keys_are_exactly_as_we_list_them(change: dict[str, Any]) -> None:
    listed = payload_of(sign())["keys"]
    assert refusal(resign(keys=[{**listed[0], **change}])) == "keys"


def test_lists_that_are_no_lists_of_keys() -> None:
    listed = payload_of(sign())["keys"]
    twice = [listed[0], {**listed[0], "purpose": "lease"}]
    wrong: list[list[Any]] = [[None], ["x"], [[]], [listed[0], listed[0]], twice]
    for keys in wrong:
        assert refusal(resign(keys=keys)) == "keys"
    assert verify(resign(keys=[])).keys == ()


def test_other_shapes() -> None:
    jws = sign()
    for text in ("", "a.b", jws + ".", "." + jws, jws + "é"):
        assert refusal(text) == "shape"
    for text in (jws + "=", jws + "\n"):
        assert refusal(text) == "signature"
    assert refusal("A" * (keyset.MAX_CHARS + 1)) == "size"


def test_a_token_is_no_key_set_and_a_key_set_no_token(plugin_claims: PluginClaims, signing_key: SigningKey) -> None:
    assert refusal(tokens.sign_claims(plugin_claims, key=signing_key)) == "header"
    keys = {jwk.thumbprint(PRIVATE_KEY.public_key()): PRIVATE_KEY.public_key()}
    with pytest.raises(tokens.TokenInvalid, match="header"):
        tokens.verify_claims(sign(), PluginClaims, keys=keys, issuer=ISSUER, audience=None, now=NOW)


def test_what_would_not_verify_is_not_signed() -> None:
    with pytest.raises(ValueError, match="not of this key"):
        sign(private_key=TOKEN_KEY)
    with pytest.raises(ValueError, match="listed twice"):
        sign(keys=[KEYS[0], ListedKey(TOKEN_KEY.public_key(), KeyPurpose.LEASE)])
    for change in ({"version": 0}, {"version": 2**53}, {"issuer": ""}, {"issued_at": -1}):
        with pytest.raises(ValueError, match="a key set has"):
            sign(**change)
