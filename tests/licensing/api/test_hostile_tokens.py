"""Tokens that are not quite ours, over HTTP: validate says why not, refresh and deactivate refuse (DESIGN §6).

Every forgery is made from a token that the server has just minted, and with the server's own key where the attack is on
the envelope, so that nothing but the one thing that is wrong can be what is refused.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from accounts.models import ApiKey
from licensing.core.models import AuditEvent, OutboxEvent
from licensing.crypto import jwk
from licensing.crypto.authority import Purpose, generate_purpose_key
from licensing.models import Installation, SigningKey
from licensing.services.key_lifecycle import _certificate_key
from licensing.services.signing_keys import minting_key
from licensing.services.state import State
from tests.licensing.api.driver import PluginApi, answer, code_of
from tests.licensing.cast import T0, Cast
from tests.licensing.conftest import Clock

pytestmark = [pytest.mark.django_db]

P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def es256(signing_input: str, key: ec.EllipticCurvePrivateKey, *, high_s: bool = False) -> bytes:
    """A raw ES256 signature, of the two that are good the lower unless `high_s`."""
    r, s = decode_dss_signature(key.sign(signing_input.encode(), ec.ECDSA(hashes.SHA256())))
    s = min(s, P256_ORDER - s)
    if high_s:
        s = P256_ORDER - s
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


@dataclass
class Forger:
    """A good token taken apart, and the keys of the server that it was signed with."""

    token: str
    lease: str
    key: ec.EllipticCurvePrivateKey
    lease_key: ec.EllipticCurvePrivateKey

    @property
    def header(self) -> dict[str, Any]:
        decoded: dict[str, Any] = json.loads(unb64(self.token.split(".")[0]))
        return decoded

    @property
    def claims(self) -> dict[str, Any]:
        decoded: dict[str, Any] = json.loads(unb64(self.token.split(".")[1]))
        return decoded

    def sign(
        self,
        *,
        header: object = None,
        claims: object = None,
        key: ec.EllipticCurvePrivateKey | None = None,
        high_s: bool = False,
    ) -> str:
        """A token with another header, other claims (or raw bytes of them), or by another key."""
        raw_header = header if isinstance(header, bytes) else compact(header or self.header)
        raw_claims = claims if isinstance(claims, bytes) else compact(claims or self.claims)
        signing_input = f"{b64(raw_header)}.{b64(raw_claims)}"
        return f"{signing_input}.{b64(es256(signing_input, key or self.key, high_s=high_s))}"


@pytest.fixture
def forger(api: PluginApi, cast: Cast, clock: Clock) -> Forger:
    body = answer(api.authenticate(cast.acme))
    catalogue = State(None).catalogue()
    keys = [minting_key(catalogue, purpose).private_key for purpose in ("token", "lease")]
    return Forger(body["token"], body["offline_lease"], *keys)


def _public_pem(forger: Forger) -> bytes:
    return forger.key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _hs256(forger: Forger, secret: bytes, **header: Any) -> str:
    signing_input = f"{b64(compact(forger.header | {'alg': 'HS256'} | header))}.{b64(compact(forger.claims))}"
    return f"{signing_input}.{b64(hmac.digest(secret, signing_input.encode(), hashlib.sha256))}"


def _rs256(forger: Forger) -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    signing_input = f"{b64(compact(forger.header | {'alg': 'RS256'}))}.{b64(compact(forger.claims))}"
    return f"{signing_input}.{b64(key.sign(signing_input.encode(), PKCS1v15(), hashes.SHA256()))}"


def _embedded_jwk(forger: Forger) -> str:
    mine = jwk.generate_private_key()
    return forger.sign(header=forger.header | {"jwk": jwk.public_jwk(mine.public_key())}, key=mine)


def _foreign_kid(forger: Forger) -> str:
    mine = jwk.generate_private_key()
    return forger.sign(header=forger.header | {"kid": jwk.thumbprint(mine.public_key())}, key=mine)


def _without_signature(forger: Forger, alg: str) -> str:
    return f"{b64(compact(forger.header | {'alg': alg}))}.{b64(compact(forger.claims))}."


def _without_claim(name: str) -> Callable[[Forger], str]:
    return lambda forger: forger.sign(claims={each: value for each, value in forger.claims.items() if each != name})


def _with_claims(**changes: Any) -> Callable[[Forger], str]:
    return lambda forger: forger.sign(claims=forger.claims | changes)


def _with_header(**changes: Any) -> Callable[[Forger], str]:
    return lambda forger: forger.sign(header=forger.header | changes)


def _duplicate(segment: str, member: bytes) -> Callable[[Forger], str]:
    def make(forger: Forger) -> str:
        if segment == "header":
            return forger.sign(header=compact(forger.header)[:-1] + b"," + member + b"}")
        return forger.sign(claims=compact(forger.claims)[:-1] + b"," + member + b"}")

    return make


def _loose_bits(place: int) -> Callable[[Forger], str]:
    """The same bytes in a base64url whose last character has other unused bits."""

    def make(forger: Forger) -> str:
        parts = forger.token.split(".")
        text = parts[place]
        alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        if len(text) % 4 == 0:
            pytest.skip("no unused bits in a segment of this length")
        parts[place] = text[:-1] + alphabet[alphabet.index(text[-1]) ^ 1]
        assert unb64(parts[place]) == unb64(text)
        return ".".join(parts)

    return make


def _der_signature(forger: Forger) -> str:
    head, payload, signature = forger.token.split(".")
    raw = unb64(signature)
    der = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    return f"{head}.{payload}.{b64(der)}"


def _keyset_key(forger: Forger) -> str:
    _, private = _certificate_key(Purpose.KEYSET)
    return forger.sign(key=private)


FORGERIES: dict[str, Callable[[Forger], str]] = {
    "signed by another key": lambda forger: forger.sign(key=jwk.generate_private_key()),
    "signed by the lease key": lambda forger: forger.sign(key=forger.lease_key),
    "signed by the key set's certificate": _keyset_key,
    "signed by a freshly made certificate key": lambda forger: forger.sign(
        key=generate_purpose_key(Purpose.KEYSET)  # type: ignore[arg-type]
    ),
    "alg none": lambda forger: _without_signature(forger, "none"),
    "alg NoNe": lambda forger: _without_signature(forger, "NoNe"),
    "alg none with a signature": _with_header(alg="none"),
    "no signature": lambda forger: forger.token.rpartition(".")[0] + ".",
    "HS256 by the public key in PEM": lambda forger: _hs256(forger, _public_pem(forger)),
    "HS256 by the public key's JWK": lambda forger: _hs256(
        forger, compact(SigningKey.objects.get(kid=forger.header["kid"]).public_jwk)
    ),
    "HS256 by nothing": lambda forger: _hs256(forger, b""),
    "RS256": _rs256,
    "ES384 in the header": _with_header(alg="ES384"),
    "alg of the wrong case": _with_header(alg="es256"),
    "a kid that we do not know": _foreign_kid,
    "a kid that is a path": _with_header(kid="../../../../dev/null"),
    "a kid that is SQL": _with_header(kid="' OR 1=1 --"),
    "a kid that is no text": _with_header(kid=1),
    "no kid": lambda forger: forger.sign(header={"alg": "ES256", "typ": "at+jwt"}),
    "an embedded jwk": _embedded_jwk,
    "an embedded jwk, and our own signature": _with_header(jwk={"kty": "EC"}),
    "jku": _with_header(jku="https://evil.example/jwks.json"),
    "x5u": _with_header(x5u="https://evil.example/cert.pem"),
    "x5c": _with_header(x5c=["MIIB"]),
    "crit": _with_header(crit=["exp"]),
    "crit that is empty": _with_header(crit=[]),
    "b64 false": _with_header(b64=False, crit=["b64"]),
    "zip": _with_header(zip="DEF"),
    "typ JWT": _with_header(typ="JWT"),
    "typ of a lease": _with_header(typ="lease+jwt"),
    "typ of a key set": _with_header(typ="keyset+jws"),
    "typ of the wrong case": _with_header(typ="AT+JWT"),
    "typ with its prefix": _with_header(typ="application/at+jwt"),
    "no typ": lambda forger: forger.sign(header={"alg": "ES256", "kid": forger.header["kid"]}),
    "the header's members in another order": lambda forger: forger.sign(
        header=dict(reversed(forger.header.items()))
    ),
    "white space in the header": lambda forger: forger.sign(header=json.dumps(forger.header).encode()),
    "a header member twice": _duplicate("header", b'"alg":"ES256"'),
    "the header is no object": lambda forger: forger.sign(header=b"[]"),
    "a lease": lambda forger: forger.lease,
    "a lease under a token's header": lambda forger: forger.sign(
        claims=json.loads(unb64(forger.lease.split(".")[1]))
    ),
    "aud as a list": lambda forger: forger.sign(claims=forger.claims | {"aud": ["console-logger"]}),
    "aud empty": _with_claims(aud=""),
    "another issuer": _with_claims(iss="https://elsewhere.example"),
    "an issuer with a slash": lambda forger: forger.sign(claims=forger.claims | {"iss": forger.claims["iss"] + "/"}),
    "not yet valid": _with_claims(nbf=T0 + 6, iat=T0),
    "issued in the future": _with_claims(iat=T0 + 6),
    "exp as text": lambda forger: forger.sign(claims=forger.claims | {"exp": str(forger.claims["exp"])}),
    "exp as a fraction": lambda forger: forger.sign(claims=forger.claims | {"exp": forger.claims["exp"] + 0.5}),
    "exp beyond the calendar": _with_claims(exp=10**18),
    "exp true": _with_claims(exp=True),
    "a negative nbf": _with_claims(nbf=-1),
    "client_id and customer_id apart": _with_claims(client_id="enterprise_456"),
    "a mode that nobody knows": _with_claims(mode="admin"),
    "an unknown claim": _with_claims(admin=True),
    "gen too short": _with_claims(gen=[0, 0]),
    "gen negative": _with_claims(gen=[0, 0, -1]),
    "a claim twice": _duplicate("claims", b'"sub":"inst_other"'),
    "claims in another order": lambda forger: forger.sign(claims=dict(reversed(forger.claims.items()))),
    "white space in the claims": lambda forger: forger.sign(claims=json.dumps(forger.claims).encode()),
    "claims that are no object": lambda forger: forger.sign(claims=b'"x"'),
    "claims that are no JSON": lambda forger: forger.sign(claims=b"{"),
    "claims that are not UTF-8": lambda forger: forger.sign(claims=b'{"iss":"\xff"}'),
    **{f"no {name}": _without_claim(name) for name in ("iss", "aud", "sub", "exp", "iat", "nbf", "jti", "gen", "key")},
    "the payload changed": lambda forger: ".".join(
        (forger.token.split(".")[0], b64(compact(forger.claims | {"subscription_tier": "Enterprise"})),
         forger.token.split(".")[2])
    ),
    "a bit flipped in the signature": lambda forger: forger.token[:-10] + (
        "A" if forger.token[-10] != "A" else "B") + forger.token[-9:],
    "the other good signature (high S)": lambda forger: forger.sign(high_s=True),
    "the signature in DER": _der_signature,
    "a signature of zeros": lambda forger: forger.token.rpartition(".")[0] + "." + b64(bytes(64)),
    "a signature with r of zero": lambda forger: forger.token.rpartition(".")[0] + "." + b64(
        bytes(32) + (1).to_bytes(32, "big")),
    "a signature with s of the order": lambda forger: forger.token.rpartition(".")[0] + "." + b64(
        (1).to_bytes(32, "big") + P256_ORDER.to_bytes(32, "big")),
    "a signature one byte longer": lambda forger: forger.token.rpartition(".")[0] + "." + b64(
        unb64(forger.token.rpartition(".")[2]) + b"\0"),
    "a trailing =": lambda forger: forger.token + "=",
    "two trailing =": lambda forger: forger.token + "==",
    "padding inside": lambda forger: forger.token.replace(".", "=.", 1),
    "standard base64": lambda forger: forger.token.rpartition(".")[0] + ".+/" + forger.token.rpartition(".")[2][2:],
    "white space inside": lambda forger: forger.token.replace(".", ". ", 1),
    "a tab inside": lambda forger: forger.token.replace(".", ".\t", 1),
    "loose bits in the signature": _loose_bits(2),
    "loose bits in the payload": _loose_bits(1),
    "four segments": lambda forger: forger.token + ".AAAA",
    "five segments, as of a JWE": lambda forger: forger.token + ".AAAA.AAAA",
    "two segments": lambda forger: forger.token.rpartition(".")[0],
    "empty segments": lambda forger: "..",
    "no JWS at all": lambda forger: "nonsense",
    "an API key": lambda forger: "km_live_000000000000000000000000000000000000",
    "not ASCII": lambda forger: forger.token[:-1] + "é",
}  # fmt: skip


@pytest.mark.parametrize("name", FORGERIES)
def test_forgery(api: PluginApi, forger: Forger, name: str) -> None:
    token = FORGERIES[name](forger)
    assert token != forger.token
    before = AuditEvent.objects.count(), OutboxEvent.objects.count(), Installation.objects.count()
    _assert_refused(api, token, "TOKEN_INVALID")
    assert (AuditEvent.objects.count(), OutboxEvent.objects.count(), Installation.objects.count()) == before


@pytest.mark.parametrize(("past", "nbf"), [(0, 1), (1, 1), (10**6, 10**6 + 900)])
def test_expired(api: PluginApi, forger: Forger, past: int, nbf: int) -> None:
    times = {"iat": T0 - nbf, "nbf": T0 - nbf, "auth_time": T0 - nbf, "exp": T0 - past}
    if times["exp"] <= times["nbf"]:
        times["nbf"] = times["iat"] = times["exp"] - 1
    _assert_refused(api, forger.sign(claims=forger.claims | times), "TOKEN_EXPIRED")


def test_the_forgers_own_hand_makes_good_tokens_too(api: PluginApi, forger: Forger) -> None:
    """Else every refusal above could be for another reason."""
    assert code_of(api.validate(forger.sign())) == "VALID"


def test_white_space_around_the_token_in_the_header_is_not_part_of_it(api: PluginApi, forger: Forger) -> None:
    body = {"plugin_name": "console-logger", "plugin_token": forger.token}
    response = api.post("validate", body, headers={"Authorization": f"Bearer   {forger.token}  "})
    assert code_of(response) == "VALID"


@pytest.mark.parametrize("around", [" {}", "{} ", "{}\n", "\t{}"])
def test_white_space_around_the_token_in_the_body_makes_it_another(api: PluginApi, forger: Forger, around: str) -> None:
    body = {"plugin_name": "console-logger", "plugin_token": around.format(forger.token)}
    response = api.post("validate", body, credential=forger.token)
    assert (response.status_code, answer(response)["field"]) == (400, "plugin_token")


def test_no_token_opens_authenticate(api: PluginApi, cast: Cast, forger: Forger) -> None:
    response = api.authenticate(cast.acme, key=forger.token)
    assert (response.status_code, code_of(response)) == (401, "API_KEY_INVALID")


def test_a_token_of_another_deployment_with_its_kid_in_ours_is_refused(
    api: PluginApi, forger: Forger, clock: Clock
) -> None:
    """A retired key is no key: its row stays, its tokens do not."""
    SigningKey.objects.filter(kid=forger.header["kid"]).update(state="retired")
    _assert_refused(api, forger.token, "TOKEN_INVALID")


def test_a_token_for_a_key_that_never_was_is_revoked(api: PluginApi, forger: Forger) -> None:
    token = forger.sign(claims=forger.claims | {"key": "key_never"})
    assert not ApiKey.objects.filter(pk="key_never").exists()
    _assert_refused(api, token, "TOKEN_REVOKED")


def _assert_refused(api: PluginApi, token: str, code: str) -> None:
    validated = api.validate(token)
    assert (validated.status_code, answer(validated)["valid"], code_of(validated)) == (200, False, code)
    for endpoint in ("refresh", "deactivate"):
        response = api.post(endpoint, credential=token)
        assert (response.status_code, code_of(response)) == (401, code), endpoint
        assert response["WWW-Authenticate"] == 'Bearer error="invalid_token"'
        assert response["Content-Type"] == "application/problem+json"
