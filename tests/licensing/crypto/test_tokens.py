"""Tokens and leases: what verifies, in ours and in another implementation, and each way of being refused."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from joserfc import jwt as joserfc_jwt
from joserfc.jwk import ECKey

from licensing.crypto import base64url, jwk, tokens
from licensing.crypto.claims import Claims, LeaseClaims, PluginClaims
from licensing.crypto.tokens import SigningKey, TokenExpired, TokenInvalid

NOW = 1_704_067_200
ISSUER = "https://licensing.example.com"
TYP = "at+jwt"
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
PublicKeys = dict[str, ec.EllipticCurvePublicKey]


def verify(token: str, keys: PublicKeys, *, now: int = NOW, audience: str | None = None) -> PluginClaims:
    return tokens.verify_claims(token, PluginClaims, keys=keys, issuer=ISSUER, audience=audience, now=now)


def refusal(token: str, keys: PublicKeys, *, now: int = NOW, audience: str | None = None) -> str:
    with pytest.raises(TokenInvalid) as caught:
        verify(token, keys, now=now, audience=audience)
    assert token not in str(caught.value) or not token
    return caught.value.reason


def sign_raw(header: bytes, payload: bytes, key: SigningKey) -> str:
    """Sign any header and payload at all with our own key: what only a thief or a bug could make."""
    return tokens.sign_compact(base64url.encode(header), payload, key.private_key)


def header_of(key: SigningKey, **extra: Any) -> dict[str, Any]:
    return {"alg": "ES256", "kid": key.kid, "typ": TYP, **extra}


def compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


@pytest.fixture
def token(plugin_claims: PluginClaims, signing_key: SigningKey) -> str:
    return tokens.sign_claims(plugin_claims, key=signing_key)


class TestGood:
    def test_a_token_gives_its_claims_back(
        self, token: str, plugin_claims: PluginClaims, public_keys: PublicKeys
    ) -> None:
        assert verify(token, public_keys) == plugin_claims
        assert verify(token, public_keys, audience="api-logger") == plugin_claims

    def test_a_lease_gives_its_claims_back(
        self, lease_claims: LeaseClaims, signing_key: SigningKey, public_keys: PublicKeys
    ) -> None:
        lease = tokens.sign_claims(lease_claims, key=signing_key)
        assert (
            tokens.verify_claims(lease, LeaseClaims, keys=public_keys, issuer=ISSUER, audience="lease", now=NOW)
            == lease_claims
        )

    def test_the_header_is_the_frozen_string(self, token: str, signing_key: SigningKey) -> None:
        header = base64url.decode(token.split(".")[0])
        assert header == b'{"alg":"ES256","kid":"%b","typ":"at+jwt"}' % signing_key.kid.encode()

    def test_another_implementation_accepts_it(
        self, token: str, plugin_claims: PluginClaims, signing_key: SigningKey
    ) -> None:
        key = ECKey.import_key({**jwk.verification_jwk(signing_key.private_key.public_key())})
        decoded = joserfc_jwt.decode(token, key, algorithms=["ES256"])
        assert decoded.header == header_of(signing_key)
        assert decoded.claims == json.loads(plugin_claims.to_json())

    def test_several_keys_are_told_apart_by_kid(
        self, token: str, plugin_claims: PluginClaims, signing_key: SigningKey, other_key: SigningKey
    ) -> None:
        both = {key.kid: key.private_key.public_key() for key in (other_key, signing_key)}
        assert verify(token, both) == plugin_claims
        assert verify(tokens.sign_claims(plugin_claims, key=other_key), both) == plugin_claims

    def test_frozen_token_and_lease(self, vector: Callable[[str], dict[str, Any]]) -> None:
        frozen = vector("tokens.json")
        kinds: tuple[tuple[str, type[Claims]], ...] = (("token", PluginClaims), ("lease", LeaseClaims))
        for name, kind in kinds:
            public_key = jwk.public_from_jwk(frozen[f"{name}_jwk"])
            keys = {frozen[f"{name}_jwk"]["kid"]: public_key}
            claims = tokens.verify_claims(frozen[name], kind, keys=keys, issuer=ISSUER, audience=None, now=NOW)
            assert claims == kind.from_dict(frozen[f"{name}_claims"])
            assert jwk.thumbprint(public_key) in keys

    def test_signatures_are_always_the_lower_of_the_two(
        self, plugin_claims: PluginClaims, signing_key: SigningKey
    ) -> None:
        for _ in range(40):
            signature = base64url.decode(tokens.sign_claims(plugin_claims, key=signing_key).split(".")[2])
            assert len(signature) == 64
            assert int.from_bytes(signature[32:], "big") <= P256_ORDER // 2


class TestTimes:
    def test_the_instant_of_expiry_is_already_too_late(self, token: str, public_keys: PublicKeys) -> None:
        assert verify(token, public_keys, now=NOW + 899).exp == NOW + 900
        for late in (900, 901, 10**9):
            with pytest.raises(TokenExpired):
                verify(token, public_keys, now=NOW + late)

    def test_leeway_softens_the_beginning_only(self, token: str, public_keys: PublicKeys) -> None:
        assert verify(token, public_keys, now=NOW - tokens.DEFAULT_LEEWAY_SECONDS).nbf == NOW
        assert refusal(token, public_keys, now=NOW - tokens.DEFAULT_LEEWAY_SECONDS - 1) == "not_yet_valid"

    @pytest.mark.parametrize("name", ["iat", "nbf"])
    def test_either_beginning_counts(
        self, plugin_claims: PluginClaims, signing_key: SigningKey, public_keys: PublicKeys, name: str
    ) -> None:
        later = msgspec.structs.replace(plugin_claims, **{name: NOW + 60})
        signed = tokens.sign_claims(later, key=signing_key)
        assert refusal(signed, public_keys, now=NOW) == "not_yet_valid"
        assert verify(signed, public_keys, now=NOW + 60) == later


class TestHeader:
    """A header is one of the strings we write, or the token is refused without reading it."""

    def test_our_key_under_a_header_that_says_the_same(
        self, plugin_claims: PluginClaims, signing_key: SigningKey, public_keys: PublicKeys
    ) -> None:
        payload = plugin_claims.to_json()
        kid = signing_key.kid.encode()
        assert verify(sign_raw(compact(header_of(signing_key)), payload, signing_key), public_keys)
        same = (
            b'{"kid":"%b","alg":"ES256","typ":"at+jwt"}' % kid,
            b'{"alg":"ES256", "kid":"%b","typ":"at+jwt"}' % kid,
            b'{"alg":"ES256","kid":"%b","typ":"at+jwt"} ' % kid,
            b'{"alg":"ES256","kid":"%b","typ":"at\\u002bjwt"}' % kid,
            b'{"alg":"none","alg":"ES256","kid":"%b","typ":"at+jwt"}' % kid,
            b'{"alg":"ES256","kid":"%b","kid":"%b","typ":"at+jwt"}' % (kid, kid),
            b'{"alg":"ES256","kid":"%b","typ":"AT+JWT"}' % kid,
            b'{"alg":"ES256","kid":"%b","typ":"application/at+jwt"}' % kid,
        )
        for header in same:
            assert refusal(sign_raw(header, payload, signing_key), public_keys) == "header"

    @pytest.mark.parametrize(
        "change",
        [
            {"alg": "none"},
            {"alg": "None"},
            {"alg": "ES384"},
            {"alg": "RS256"},
            {"alg": "HS256"},
            {"alg": ["ES256"]},
            {"kid": "nobody"},
            {"kid": None},
            {"kid": "../../etc/passwd"},
            {"typ": "JWT"},
            {"typ": "lease+jwt"},
            {"typ": "keyset+jws"},
            {"typ": None},
            {"crit": ["exp"], "exp": 1},
            {"crit": []},
            {"b64": False},
            {"jku": "https://attacker.example/jwks.json"},
            {"x5u": "https://attacker.example/cert.pem"},
            {"x5c": ["AAAA"]},
            {"zip": "DEF"},
            {"cty": "JWT"},
        ],
    )
    def test_any_other_header(
        self,
        plugin_claims: PluginClaims,
        signing_key: SigningKey,
        public_keys: PublicKeys,
        change: dict[str, Any],
    ) -> None:
        header = compact({**header_of(signing_key), **change})
        assert refusal(sign_raw(header, plugin_claims.to_json(), signing_key), public_keys) == "header"

    def test_missing_members(
        self, plugin_claims: PluginClaims, signing_key: SigningKey, public_keys: PublicKeys
    ) -> None:
        for missing in ("alg", "kid", "typ"):
            header = {name: value for name, value in header_of(signing_key).items() if name != missing}
            signed = sign_raw(compact(header), plugin_claims.to_json(), signing_key)
            assert refusal(signed, public_keys) == "header"

    def test_an_embedded_key_is_not_believed(
        self, plugin_claims: PluginClaims, other_key: SigningKey, public_keys: PublicKeys
    ) -> None:
        header = header_of(other_key, jwk=jwk.public_jwk(other_key.private_key.public_key()))
        signed = sign_raw(compact(header), plugin_claims.to_json(), other_key)
        assert refusal(signed, public_keys) == "header"

    def test_a_foreign_kid_is_refused(
        self, plugin_claims: PluginClaims, other_key: SigningKey, public_keys: PublicKeys
    ) -> None:
        assert refusal(tokens.sign_claims(plugin_claims, key=other_key), public_keys) == "header"
        assert refusal(tokens.sign_claims(plugin_claims, key=other_key), {}) == "header"


class TestSignature:
    def test_another_key_under_our_kid(
        self,
        plugin_claims: PluginClaims,
        signing_key: SigningKey,
        other_key: SigningKey,
        public_keys: PublicKeys,
    ) -> None:
        forged = SigningKey(kid=signing_key.kid, private_key=other_key.private_key)
        assert refusal(tokens.sign_claims(plugin_claims, key=forged), public_keys) == "signature"

    def test_no_algorithm_and_no_signature(self, token: str, public_keys: PublicKeys) -> None:
        header, payload, _ = token.split(".")
        none = base64url.encode(b'{"alg":"none","typ":"at+jwt"}')
        assert refusal(f"{none}.{payload}.", public_keys) == "header"
        assert refusal(f"{header}.{payload}.", public_keys) == "signature"

    @pytest.mark.parametrize("encoding", [serialization.Encoding.PEM, serialization.Encoding.DER])
    def test_hmac_with_the_public_key_as_secret(
        self, token: str, signing_key: SigningKey, public_keys: PublicKeys, encoding: serialization.Encoding
    ) -> None:
        secret = signing_key.private_key.public_key().public_bytes(
            encoding, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        own_header, payload, _ = token.split(".")
        for header, reason in (
            (base64url.encode(compact({**header_of(signing_key), "alg": "HS256"})), "header"),
            (own_header, "signature"),
        ):
            mac = hmac.digest(secret, f"{header}.{payload}".encode(), hashlib.sha256)
            assert refusal(f"{header}.{payload}.{base64url.encode(mac)}", public_keys) == reason

    def test_every_flipped_bit_is_noticed(self, token: str, public_keys: PublicKeys) -> None:
        segments = [base64url.decode(part) for part in token.split(".")]
        for index, segment in enumerate(segments):
            for position in range(0, len(segment) * 8, 7):
                broken = bytearray(segment)
                broken[position // 8] ^= 1 << position % 8
                changed = [*segments[:index], bytes(broken), *segments[index + 1 :]]
                refused = refusal(".".join(map(base64url.encode, changed)), public_keys)
                assert refused == ("header" if index == 0 else "signature")

    def test_reencoded_signatures(self, token: str, public_keys: PublicKeys) -> None:
        head, signature = token.rsplit(".", 1)
        raw = base64url.decode(signature)
        r, s = int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
        reencoded = {
            "DER": encode_dss_signature(r, s),
            "the higher s": raw[:32] + (P256_ORDER - s).to_bytes(32, "big"),
            "r above the order": (r + P256_ORDER).to_bytes(33, "big")[-32:] + raw[32:],
            "padded with zeros": b"\0" + raw[:32] + b"\0" + raw[32:],
            "one byte short": raw[:-1],
            "one byte long": raw + b"\0",
            "zeros": bytes(64),
            "r zero": bytes(32) + raw[32:],
            "s zero": raw[:32] + bytes(32),
            "s is the order": raw[:32] + P256_ORDER.to_bytes(32, "big"),
        }
        for name, other in reencoded.items():
            assert refusal(f"{head}.{base64url.encode(other)}", public_keys) == "signature", name

    def test_the_higher_s_is_what_another_verifier_would_have_taken(self, token: str, signing_key: SigningKey) -> None:
        # Otherwise the test above could pass because the twin was miscomputed.
        head, signature = token.rsplit(".", 1)
        raw = base64url.decode(signature)
        twin = raw[:32] + (P256_ORDER - int.from_bytes(raw[32:], "big")).to_bytes(32, "big")
        key = ECKey.import_key({**jwk.verification_jwk(signing_key.private_key.public_key())})
        assert joserfc_jwt.decode(f"{head}.{base64url.encode(twin)}", key, algorithms=["ES256"])


class TestCompactForm:
    def test_trailing_bits_that_decode_to_the_same(self, token: str, public_keys: PublicKeys) -> None:
        # 64 bytes are 86 characters, the last of which carries four bits that mean nothing.
        head, signature = token.rsplit(".", 1)
        alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        last = alphabet.index(signature[-1])
        for spare in range(1, 16):
            twin = signature[:-1] + alphabet[last + spare]
            assert base64.urlsafe_b64decode(twin + "==") == base64url.decode(signature)
            assert refusal(f"{head}.{twin}", public_keys) == "signature"

    @pytest.mark.parametrize("junk", ["=", "==", " ", "\n", "\t", "\r\n", "\0", "\u00a0", "é", "\ud800", "!"])
    def test_nothing_may_be_added(self, token: str, public_keys: PublicKeys, junk: str) -> None:
        header, payload, signature = token.split(".")
        spellings = (
            token + junk,
            junk + token,
            f"{header}{junk}.{payload}.{signature}",
            f"{header}.{payload}{junk}.{signature}",
            f"{header}.{payload[:8]}{junk}{payload[8:]}.{signature}",
            f"{header}.{payload}.{signature[:8]}{junk}{signature[8:]}",
        )
        for spelling in spellings:
            assert refusal(spelling, public_keys) in {"shape", "header", "signature"}

    def test_a_payload_signed_in_another_spelling(
        self, plugin_claims: PluginClaims, signing_key: SigningKey, public_keys: PublicKeys
    ) -> None:
        # Even when we ourselves signed over the padding.
        header = tokens.header_segment("ES256", signing_key.kid, TYP)
        payload = base64.urlsafe_b64encode(plugin_claims.to_json() + b" ").decode()
        for spelling in (payload + "=", payload.rstrip("=") + "=", payload.rstrip("=") + "\n"):
            signing_input = f"{header}.{spelling}"
            raw = tokens._lower_s(tokens._ES256.sign(signing_input.encode(), signing_key.private_key))
            assert refusal(f"{signing_input}.{base64url.encode(raw)}", public_keys) == "payload"

    @pytest.mark.parametrize("text", ["", ".", "..", "...", "a.b", "a.b.c.d", "\0", "Bearer x.y.z"])
    def test_other_shapes(self, text: str, public_keys: PublicKeys) -> None:
        assert refusal(text, public_keys) in {"shape", "header"}

    def test_more_or_fewer_segments(self, token: str, public_keys: PublicKeys) -> None:
        assert refusal(token + ".", public_keys) == "shape"
        assert refusal("." + token, public_keys) == "shape"
        assert refusal(token.rsplit(".", 1)[0], public_keys) == "shape"

    def test_size_is_bounded_before_anything_else(
        self, token: str, signing_key: SigningKey, public_keys: PublicKeys, plugin_claims: PluginClaims
    ) -> None:
        assert refusal(token + "A" * tokens.MAX_TOKEN_CHARS, public_keys) == "size"
        features = tuple(f"feature_{number}" for number in range(2000))
        large = msgspec.structs.replace(plugin_claims, authorized_features=features)
        with pytest.raises(ValueError, match="over the limit"):
            tokens.sign_claims(large, key=signing_key)


PLUGIN_CLAIM_NAMES = [
    "iss", "aud", "sub", "client_id", "iat", "nbf", "exp", "jti", "auth_time", "customer_id", "subscription_tier",
    "authorized_features", "plugin_permissions", "ver", "bld", "key", "mode", "nonce", "gen",
]  # fmt: skip
LEASE_CLAIM_NAMES = [
    "iss", "aud", "sub", "client_id", "customer_id", "plugin", "ver", "bld", "key", "mode", "iat", "nbf", "exp",
    "jti", "features", "offline_until",
]  # fmt: skip


class TestClaims:
    def sign(self, claims: dict[str, Any], key: SigningKey, typ: str = TYP) -> str:
        return tokens.sign_jws(claims, key=key, typ=typ)

    def test_the_claim_sets_are_the_frozen_ones(self, plugin_claims: PluginClaims, lease_claims: LeaseClaims) -> None:
        assert set(plugin_claims.to_dict()) == set(PLUGIN_CLAIM_NAMES)
        assert set(lease_claims.to_dict()) == set(LEASE_CLAIM_NAMES)

    @pytest.mark.parametrize("name", PLUGIN_CLAIM_NAMES)
    def test_every_claim_of_a_token_is_required(
        self, plugin_claims: PluginClaims, signing_key: SigningKey, public_keys: PublicKeys, name: str
    ) -> None:
        claims = plugin_claims.to_dict()
        assert verify(self.sign(claims, signing_key), public_keys) == plugin_claims
        del claims[name]
        assert refusal(self.sign(claims, signing_key), public_keys) == "claims"

    @pytest.mark.parametrize("name", LEASE_CLAIM_NAMES)
    def test_every_claim_of_a_lease_is_required(
        self, lease_claims: LeaseClaims, signing_key: SigningKey, public_keys: PublicKeys, name: str
    ) -> None:
        claims = lease_claims.to_dict()
        del claims[name]
        with pytest.raises(TokenInvalid, match="claims"):
            tokens.verify_claims(
                self.sign(claims, signing_key, "lease+jwt"),
                LeaseClaims,
                keys=public_keys,
                issuer=ISSUER,
                audience=None,
                now=NOW,
            )

    @pytest.mark.parametrize(
        "change",
        [
            {"aud": ["api-logger"]},
            {"aud": []},
            {"aud": ""},
            {"aud": None},
            {"iss": 1},
            {"exp": str(NOW + 900)},
            {"exp": NOW + 900.0},
            {"exp": True},
            {"exp": None},
            {"exp": -1},
            {"exp": 10**18},
            {"nbf": NOW + 0.5},
            {"iat": NOW + 900},
            {"bld": ""},
            {"bld": 0},
            {"mode": "prod"},
            {"nonce": 1},
            {"client_id": "enterprise_456"},
            {"authorized_features": "api_logging"},
            {"authorized_features": [1]},
            {"authorized_features": {"api_logging": True}},
            {"plugin_permissions": []},
            {"plugin_permissions": {"api-logger": True}},
            {"gen": [0, 0]},
            {"gen": [0, 0, 0, 0]},
            {"gen": [0, 0, -1]},
            {"gen": [0, 0, "0"]},
            {"gen": [0, 0, False]},
            {"admin": True},
            {"sub": "x" * 513},
        ],
    )
    def test_every_claim_is_typed(
        self,
        plugin_claims: PluginClaims,
        signing_key: SigningKey,
        public_keys: PublicKeys,
        change: dict[str, Any],
    ) -> None:
        signed = self.sign({**plugin_claims.to_dict(), **change}, signing_key)
        assert refusal(signed, public_keys) == "claims"

    def test_a_payload_written_in_another_way(
        self, plugin_claims: PluginClaims, signing_key: SigningKey, public_keys: PublicKeys
    ) -> None:
        header = compact(header_of(signing_key))
        text = plugin_claims.to_json()
        reordered = dict(reversed(plugin_claims.to_dict().items()))
        other_ways = (
            text.replace(b'"aud":"api-logger"', b'"aud":"other","aud":"api-logger"'),
            text.replace(b'"allowed":true', b'"allowed":false,"allowed":true'),
            text + b" ",
            b"\xef\xbb\xbf" + text,
            json.dumps(plugin_claims.to_dict()).encode(),
            msgspec.json.encode(reordered),
            text.replace(b"api-logger", b"api-logge\\u0072"),
            text.replace(b'"rate_limit":1000', b'"rate_limit":1e3'),
            text.replace(b"cust_123", b"cust_\xff23"),
            text[:-1],
            b"",
            b"null",
            b"[]",
            b"[" * 5000,
        )
        for payload in other_ways:
            assert payload != text
            assert refusal(sign_raw(header, payload, signing_key), public_keys) == "claims"

    def test_issuer_and_audience(self, token: str, signing_key: SigningKey, public_keys: PublicKeys) -> None:
        for issuer in ("https://licensing.example.com/", "http://licensing.example.com", ""):
            with pytest.raises(TokenInvalid, match="issuer"):
                tokens.verify_claims(token, PluginClaims, keys=public_keys, issuer=issuer, audience=None, now=NOW)
        for audience in ("api", "api-logger2", "", "lease"):
            assert refusal(token, public_keys, audience=audience) == "audience"

    def test_a_lease_is_no_token_and_a_token_no_lease(
        self, token: str, lease_claims: LeaseClaims, signing_key: SigningKey, public_keys: PublicKeys
    ) -> None:
        assert refusal(tokens.sign_claims(lease_claims, key=signing_key), public_keys) == "header"
        with pytest.raises(TokenInvalid, match="header"):
            tokens.verify_claims(token, LeaseClaims, keys=public_keys, issuer=ISSUER, audience=None, now=NOW)
        # Nor under the other's type, should one key ever sign both.
        disguised = self.sign(lease_claims.to_dict(), signing_key)
        assert refusal(disguised, public_keys) == "claims"

    def test_what_would_not_verify_is_not_minted(self, plugin_claims: PluginClaims, signing_key: SigningKey) -> None:
        wrong: tuple[dict[str, Any], ...] = ({"exp": NOW + 900.5}, {"aud": ["x"]}, {"gen": (0, 0)}, {"mode": "x"})
        for change in wrong:
            with pytest.raises(ValueError, match="not the claims"):
                tokens.sign_claims(msgspec.structs.replace(plugin_claims, **change), key=signing_key)
        for change in ({"exp": NOW}, {"nbf": NOW + 900}, {"client_id": "enterprise_456"}):
            with pytest.raises(ValueError, match=r"exp is after|one customer"):
                msgspec.structs.replace(plugin_claims, **change)

    def test_a_lease_ends_with_its_offline_use(self, lease_claims: LeaseClaims) -> None:
        for change, message in (({"offline_until": NOW + 901}, "expires"), ({"aud": "api-logger"}, "audience")):
            with pytest.raises(ValueError, match=message):
                msgspec.structs.replace(lease_claims, **change)
            with pytest.raises(ValueError, match="not the claims"):
                LeaseClaims.from_dict({**lease_claims.to_dict(), **change})


class TestOtherTypes:
    """`verify_jws`, for signed members that have no claim set of their own."""

    CLAIMS = {"iss": ISSUER, "aud": "download", "iat": NOW, "nbf": NOW, "exp": NOW + 60, "digest": "ab", "n": 1}

    def verify(self, token: str, keys: PublicKeys, now: int = NOW) -> dict[str, Any]:
        return tokens.verify_jws(
            token,
            keys=keys,
            typ="download+jwt",
            issuer=ISSUER,
            audience="download",
            now=now,
            required={"digest": str, "n": int},
        )

    def test_good(self, signing_key: SigningKey, public_keys: PublicKeys) -> None:
        signed = tokens.sign_jws({**self.CLAIMS, "more": [1]}, key=signing_key, typ="download+jwt")
        assert self.verify(signed, public_keys) == {**self.CLAIMS, "more": [1]}
        with pytest.raises(TokenExpired):
            self.verify(signed, public_keys, now=NOW + 60)
        with pytest.raises(TokenInvalid, match="not_yet_valid"):
            self.verify(signed, public_keys, now=NOW - 6)

    @pytest.mark.parametrize("name", list(CLAIMS))
    def test_required_and_typed(self, signing_key: SigningKey, public_keys: PublicKeys, name: str) -> None:
        wrong: tuple[Any, ...] = (None, True, 1.5, ["download"], {})
        for value in wrong:
            signed = tokens.sign_jws({**self.CLAIMS, name: value}, key=signing_key, typ="download+jwt")
            with pytest.raises(TokenInvalid, match="claims"):
                self.verify(signed, public_keys)
        rest = {key: value for key, value in self.CLAIMS.items() if key != name}
        with pytest.raises(TokenInvalid, match="claims"):
            self.verify(tokens.sign_jws(rest, key=signing_key, typ="download+jwt"), public_keys)

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"iss": "x"}, "issuer"),
            ({"aud": "x"}, "audience"),
            ({"exp": 10**15}, "claims"),
            ({"iat": -1}, "claims"),
        ],
    )
    def test_wrong_values(
        self, signing_key: SigningKey, public_keys: PublicKeys, change: dict[str, Any], reason: str
    ) -> None:
        signed = tokens.sign_jws({**self.CLAIMS, **change}, key=signing_key, typ="download+jwt")
        with pytest.raises(TokenInvalid, match=reason):
            self.verify(signed, public_keys)

    def test_payloads_that_are_not_one_plain_object(self, signing_key: SigningKey, public_keys: PublicKeys) -> None:
        header = compact({**header_of(signing_key), "typ": "download+jwt"})
        text = compact(self.CLAIMS)
        duplicated = (text[:-1] + b',"n":2}', text[:-1] + b',"more":{"a":1,"a":1}}')
        for payload in (*duplicated, text[:-1] + b',"more":NaN}', b"[]", b"null", b"\xff", b""):
            with pytest.raises(TokenInvalid, match="payload"):
                self.verify(sign_raw(header, payload, signing_key), public_keys)

    def test_deep_nesting_is_refused_without_a_crash(self, signing_key: SigningKey, public_keys: PublicKeys) -> None:
        header = compact({**header_of(signing_key), "typ": "download+jwt"})
        with pytest.raises(TokenInvalid, match="payload"):
            self.verify(sign_raw(header, b"[" * 10_000, signing_key), public_keys)


class TestKeys:
    def test_a_signing_key_is_p256_and_of_a_known_algorithm(self, signing_key: SigningKey) -> None:
        with pytest.raises(ValueError, match="P-256"):
            SigningKey(kid="x", private_key=ec.generate_private_key(ec.SECP384R1()))
        for alg in ("none", "HS256", "ES384", ""):
            with pytest.raises(ValueError, match="unknown signature algorithm"):
                SigningKey(kid="x", private_key=signing_key.private_key, alg=alg)

    def test_a_verification_key_of_another_curve_is_an_error(self, token: str, signing_key: SigningKey) -> None:
        p384 = ec.generate_private_key(ec.SECP384R1()).public_key()
        with pytest.raises(ValueError, match="P-256"):
            verify(token, {signing_key.kid: p384})

    def test_no_repr_shows_a_private_key(self, signing_key: SigningKey) -> None:
        assert repr(signing_key) == f"SigningKey(kid={signing_key.kid!r}, alg='ES256')"

    def test_a_refusal_says_only_its_reason(self, token: str, public_keys: PublicKeys) -> None:
        with pytest.raises(TokenInvalid) as caught:
            verify(token + "x", public_keys)
        assert str(caught.value) == "token refused: signature"
        assert caught.value.__cause__ is None
        with pytest.raises(TokenExpired) as expired:
            verify(token, public_keys, now=NOW + 900)
        assert str(expired.value) == "token refused: expired"
