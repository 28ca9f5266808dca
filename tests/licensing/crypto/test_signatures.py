"""Signatures over files and texts, and DSSE against its own published example."""

import base64
import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from securesystemslib.dsse import Envelope
from securesystemslib.signer._key import SSlibKey

from licensing.crypto import jwk
from licensing.crypto.signatures import (
    IN_TOTO_PAYLOAD_TYPE,
    MAX_ENVELOPE_BYTES,
    SignatureInvalid,
    pre_authentication_encoding,
    raw_to_der,
    read_typed,
    sign_binary,
    sign_envelope,
    sign_text,
    verify_binary,
    verify_envelope,
    verify_text,
    write_typed,
)

BINARY = b"\x7fELF" + bytes(1000)
DIGEST = hashlib.sha256(BINARY).digest()
KEY = jwk.generate_private_key()
OTHER_KEY = jwk.generate_private_key()


def flipped(data: bytes, step: int = 1) -> list[bytes]:
    changed = []
    for bit in range(0, len(data) * 8, step):
        broken = bytearray(data)
        broken[bit // 8] ^= 1 << bit % 8
        changed.append(bytes(broken))
    return changed


def refusal(call: Callable[..., object], *args: Any, **kwargs: Any) -> str:
    with pytest.raises(SignatureInvalid) as caught:
        call(*args, **kwargs)
    return caught.value.reason


class TestBinary:
    def test_signing_a_digest_is_signing_the_file(self, binary_key: rsa.RSAPrivateKey) -> None:
        signature = sign_binary(binary_key, DIGEST)
        assert len(signature) == 384
        assert signature == sign_binary(binary_key, DIGEST)
        assert signature == binary_key.sign(BINARY, padding.PKCS1v15(), hashes.SHA256())
        verify_binary(binary_key.public_key(), DIGEST, signature)

    def test_another_file_key_or_bit(self, binary_key: rsa.RSAPrivateKey) -> None:
        signature, public_key = sign_binary(binary_key, DIGEST), binary_key.public_key()
        other = hashlib.sha256(b"other").digest()
        assert refusal(verify_binary, public_key, other, signature) == "signature"
        for broken in [*flipped(signature, 17), b"", signature[:-1], b"\0" + signature]:
            assert refusal(verify_binary, public_key, DIGEST, broken) == "signature"

    def test_another_padding(self, binary_key: rsa.RSAPrivateKey) -> None:
        pss = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=32)
        signature = binary_key.sign(BINARY, pss, hashes.SHA256())
        assert refusal(verify_binary, binary_key.public_key(), DIGEST, signature) == "signature"

    def test_only_3072_bits_and_whole_digests(self, binary_key: rsa.RSAPrivateKey) -> None:
        small = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        with pytest.raises(ValueError, match="3072"):
            sign_binary(small, DIGEST)
        with pytest.raises(ValueError, match="3072"):
            verify_binary(small.public_key(), DIGEST, bytes(256))
        with pytest.raises(ValueError, match="digest"):
            sign_binary(binary_key, BINARY)

    def test_openssl_accepts_it(self, binary_key: rsa.RSAPrivateKey, tmp_path: Path) -> None:
        openssl = shutil.which("openssl")
        if openssl is None:
            pytest.skip("openssl is not installed")
        for name, data in (
            ("plugin", BINARY),
            ("plugin.sig", sign_binary(binary_key, DIGEST)),
            ("manifest", b'{"_type":"x"}'),
            ("manifest.sig", sign_text(KEY, b'{"_type":"x"}')),
        ):
            (tmp_path / name).write_bytes(data)
        keys: list[tuple[str, rsa.RSAPublicKey | ec.EllipticCurvePublicKey]] = [
            ("plugin", binary_key.public_key()),
            ("manifest", KEY.public_key()),
        ]
        for name, public_key in keys:
            pem = public_key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
            (tmp_path / "key.pem").write_bytes(pem)
            command = [openssl, "dgst", "-sha256", "-verify", "key.pem", "-signature", f"{name}.sig", name]
            done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False)
            assert done.stdout.strip() == "Verified OK", done.stderr


class TestText:
    def test_round_trip_and_refusals(self) -> None:
        signature = sign_text(KEY, b"text")
        verify_text(KEY.public_key(), b"text", signature)
        raw = b"".join(number.to_bytes(32, "big") for number in decode_dss_signature(signature))
        assert raw_to_der(raw) == signature
        long_form = b"\x30\x81" + signature[1:]
        inner = signature[2:]
        padded = bytes((0x30, len(inner) + 1, 0x02, inner[1] + 1, 0)) + inner[2:]
        for wrong in [*flipped(signature), b"", signature + b"\0", raw, long_form, padded]:
            assert refusal(verify_text, KEY.public_key(), b"text", wrong) == "signature"
        assert refusal(verify_text, KEY.public_key(), b"texT", signature) == "signature"
        assert refusal(verify_text, OTHER_KEY.public_key(), b"text", signature) == "signature"
        assert refusal(raw_to_der, raw[:-1]) == "signature"

    def test_only_p256(self) -> None:
        p384 = ec.generate_private_key(ec.SECP384R1())
        with pytest.raises(ValueError, match="P-256"):
            sign_text(p384, b"text")
        with pytest.raises(ValueError, match="P-256"):
            verify_text(p384.public_key(), b"text", b"")


class TestTyped:
    MEMBERS = {"_type": "keywright-manifest/v1", "name": "größe", "files": {"plugin": {"size": 1}}}

    def test_round_trip(self) -> None:
        text = write_typed({"name": "größe", "_type": "keywright-manifest/v1", "files": {"plugin": {"size": 1}}})
        assert text.startswith('{"_type":"keywright-manifest/v1","name":"größe"'.encode())
        read = read_typed(KEY.public_key(), text, sign_text(KEY, text), expected_type="keywright-manifest/v1")
        assert read == self.MEMBERS

    def test_one_signed_thing_does_not_pass_for_another(self) -> None:
        text = write_typed(self.MEMBERS)
        signature = sign_text(KEY, text)
        for expected in ("keywright-keyslots/v1", "keywright-manifest/v2", ""):
            reason = refusal(read_typed, KEY.public_key(), text, signature, expected_type=expected)
            assert reason == "type"

    @pytest.mark.parametrize(
        "text",
        [b"", b"[]", b"null", b'{"_type":"t","_type":"t"}', b'{"_type":"t","a":{"b":1,"b":1}}', b'{"_type":"t"'],
    )
    def test_texts_that_can_be_read_in_two_ways(self, text: bytes) -> None:
        signature = sign_text(KEY, text)
        reason = refusal(read_typed, KEY.public_key(), text, signature, expected_type="t")
        assert reason == "malformed"

    def test_the_signature_comes_before_parsing(self) -> None:
        reason = refusal(read_typed, KEY.public_key(), b"{{{", b"", expected_type="t")
        assert reason == "signature"

    def test_no_text_without_its_type(self) -> None:
        for members in ({}, {"_type": ""}, {"_type": 1}):
            with pytest.raises(ValueError, match="_type"):
                write_typed(members)
        with pytest.raises(ValueError):
            write_typed({"_type": "t", "n": float("nan")})


class TestEnvelope:
    def test_the_published_example(self, vector: Callable[[str], dict[str, Any]]) -> None:
        example = vector("dsse.json")
        payload = example["payload"].encode()
        kind = example["payload_type"]
        assert pre_authentication_encoding(kind, payload) == example["pae"].encode()
        public_key = ec.EllipticCurvePublicNumbers(
            int(example["public_key"]["x"]), int(example["public_key"]["y"]), ec.SECP256R1()
        ).public_key()
        raw = base64.b64decode(example["signature_b64"])
        verify_text(public_key, example["pae"].encode(), raw_to_der(raw))
        envelope = {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": kind,
            "signatures": [{"keyid": "66301bbf", "sig": example["signature_b64"]}],
        }
        text = json.dumps(envelope).encode()
        assert verify_envelope(text, public_key, payload_type=kind) == payload
        assert refusal(verify_envelope, text, KEY.public_key(), payload_type=kind) == "signature"

    def test_lengths_are_of_bytes(self) -> None:
        assert pre_authentication_encoding("ä", "größe".encode()) == "DSSEv1 2 ä 7 größe".encode()
        assert pre_authentication_encoding("", b"") == b"DSSEv1 0  0 "

    def test_another_implementation_accepts_it(self) -> None:
        payload = b'{"_type":"https://in-toto.io/Statement/v1"}'
        envelope = sign_envelope(KEY, payload, payload_type=IN_TOTO_PAYLOAD_TYPE, keyid="k")
        foreign = Envelope.from_dict(json.loads(envelope))
        accepted = foreign.verify([SSlibKey.from_crypto(KEY.public_key(), keyid="k")], threshold=1)
        assert list(accepted) == ["k"]
        assert foreign.payload == payload

    def make(self, payload: bytes = b"payload", kind: str = "t", key: Any = KEY) -> dict[str, Any]:
        made: dict[str, Any] = json.loads(sign_envelope(key, payload, payload_type=kind, keyid="k"))
        return made

    def verify(self, envelope: object, *, kind: str = "t") -> bytes:
        text = envelope if isinstance(envelope, bytes) else json.dumps(envelope).encode()
        return verify_envelope(text, KEY.public_key(), payload_type=kind)

    def test_what_was_changed_is_refused(self) -> None:
        good = self.make()
        assert self.verify(good) == b"payload"
        other = base64.b64encode(b"Payload").decode()
        signature = base64.b64decode(good["signatures"][0]["sig"])
        cases: list[tuple[dict[str, Any], str]] = [({"payload": other}, "signature"), ({"payloadType": "u"}, "type")]
        for broken in flipped(signature, 5):
            cases.append(({"signatures": [{"sig": base64.b64encode(broken).decode()}]}, "signature"))
        for change, reason in cases:
            assert refusal(self.verify, {**good, **change}) == reason

    def test_the_payload_type_is_signed(self) -> None:
        relabelled = {**self.make(kind="u"), "payloadType": "t"}
        assert refusal(self.verify, relabelled) == "signature"

    def test_one_of_several_signatures_is_enough_and_key_ids_decide_nothing(self) -> None:
        good, foreign = self.make(), self.make(key=OTHER_KEY)
        mine = {**good["signatures"][0], "keyid": "someone else's"}
        assert self.verify({**good, "signatures": [*foreign["signatures"], mine]}) == b"payload"
        assert self.verify({**good, "signatures": [{"sig": mine["sig"]}]}) == b"payload"
        assert refusal(self.verify, {**good, "signatures": foreign["signatures"]}) == "signature"

    def test_url_safe_base64_is_read_too(self) -> None:
        payload = bytes(range(256))
        good = self.make(payload)
        translate = str.maketrans("+/", "-_")
        signature = good["signatures"][0]["sig"].translate(translate)
        changed = {"payload": good["payload"].translate(translate), "signatures": [{"sig": signature}]}
        assert self.verify({**good, **changed}) == payload

    @pytest.mark.parametrize(
        "change",
        [
            {"payload": None},
            {"payload": "*"},
            {"payload": "YQ"},
            {"payload": "é"},
            {"signatures": None},
            {"signatures": []},
            {"signatures": {}},
            {"signatures": ["x"]},
            {"signatures": [{}]},
            {"signatures": [{"sig": 1}]},
            {"signatures": [{"sig": "*"}]},
            {"signatures": [{"sig": ""}] * 9},
        ],
    )
    def test_malformed_members(self, change: dict[str, Any]) -> None:
        assert refusal(self.verify, {**self.make(), **change}) == "malformed"

    def test_malformed_texts(self) -> None:
        good = json.dumps(self.make()).encode()
        duplicated = good[:-1] + b',"payload":""}'
        for text in (b"", b"[]", b"\xff", good[:-1], duplicated, b" " * (MAX_ENVELOPE_BYTES + 1)):
            assert refusal(self.verify, text) == "malformed"
