"""Tokens verified before: what is not verified twice, and what is asked each time all the same."""

from collections.abc import Iterator

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from licensing.crypto import jwk
from licensing.crypto.claims import PluginClaims
from licensing.crypto.tokens import SigningKey, TokenExpired, TokenInvalid, sign_claims
from licensing.services import seen_tokens
from licensing.services.seen_tokens import verified_token

ISSUER = "http://testserver"
NOW = 1_700_000_000


def new_key() -> SigningKey:
    private = ec.generate_private_key(ec.SECP256R1())
    return SigningKey(kid=jwk.thumbprint(private.public_key()), private_key=private)


KEY, OTHER = new_key(), new_key()
KEYS = {KEY.kid: KEY.private_key.public_key()}


def token(*, key: SigningKey = KEY, customer: str = "cust_123", exp: int = NOW + 900) -> str:
    claims = PluginClaims(
        iss=ISSUER, aud="console-logger", sub="inst_1", client_id=customer, customer_id=customer, iat=NOW, nbf=NOW,
        exp=exp, jti="tok_1", auth_time=NOW, subscription_tier="Pro", authorized_features=("a", "b"),
        plugin_permissions={"console-logger": {"allowed": True}}, ver="1.0.0", bld=None, key="key_1", mode="live",
        nonce=None, gen=(0, 0, 0),
    )  # fmt: skip
    return sign_claims(claims, key=key)


@pytest.fixture(autouse=True)
def nothing_seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(seen_tokens, "_seen", {})
    monkeypatch.setattr(seen_tokens, "_shared", {})
    return


def verify(text: str, *, keys: dict[str, ec.EllipticCurvePublicKey] = KEYS, issuer: str = ISSUER, now: int = NOW):  # type: ignore[no-untyped-def]
    return verified_token(text, keys=keys, issuer=issuer, now=now)


def test_the_signature_is_verified_once(monkeypatch: pytest.MonkeyPatch) -> None:
    text = token()
    first = verify(text)
    monkeypatch.setattr(seen_tokens, "verify_claims", None)
    assert verify(text) is first


def test_a_flipped_character_is_another_token() -> None:
    text = token()
    verify(text)
    flipped = text[:-5] + ("A" if text[-5] != "A" else "B") + text[-4:]
    with pytest.raises(TokenInvalid):
        verify(flipped)


def test_a_withdrawn_key_is_believed_no_more() -> None:
    text = token()
    verify(text)
    with pytest.raises(TokenInvalid):
        verify(text, keys={OTHER.kid: OTHER.private_key.public_key()})


def test_another_issuer() -> None:
    text = token()
    verify(text)
    with pytest.raises(TokenInvalid):
        verify(text, issuer="http://elsewhere")


@pytest.mark.parametrize(("after", "is_good"), [(899, True), (900, False), (901, False)])
def test_expires_at_its_instant(after: int, is_good: bool) -> None:
    text = token()
    verify(text)
    if is_good:
        verify(text, now=NOW + after)
    else:
        with pytest.raises(TokenExpired):
            verify(text, now=NOW + after)


def test_a_clock_set_back_makes_no_token_good_before_its_time() -> None:
    text = token()
    verify(text)
    with pytest.raises(TokenInvalid):
        verify(text, now=NOW - 3600)
    verify(text)


def test_what_was_never_good_is_not_remembered() -> None:
    with pytest.raises(TokenInvalid):
        verify(token(key=OTHER))
    assert seen_tokens._seen == {}


def test_no_more_than_a_bounded_number_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seen_tokens, "MAX_TOKENS", 3)
    for number in range(5):
        verify(token(customer=f"cust_{number}"))
    assert [seen.token.customer_id for seen in seen_tokens._seen.values()] == ["cust_2", "cust_3", "cust_4"]


def test_equal_grants_are_kept_once() -> None:
    one, other = verify(token(customer="cust_1")), verify(token(customer="cust_2"))
    assert one.features is other.features
    assert one.permissions is other.permissions


def test_memory_holds_no_token() -> None:
    text = token()
    verify(text)
    assert text not in repr(seen_tokens._seen)
