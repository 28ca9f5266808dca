"""The request proof: its frozen vector, its grammar, and what it covers."""

import dataclasses
import hashlib
import hmac
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from licensing.crypto.proof import (
    ProofInvalid,
    ProofSkewed,
    ProvenRequest,
    RequestProof,
    authority_of,
    compute_proof,
    parse_proof,
    proof_text,
    verify_proof,
)

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "request-proof.md"
NOW = 1_704_067_200
NONCE = "n0nce-0123456789_ABCD"
SECRET = bytes(range(32))
CREDENTIAL = "km_live_0123456789ABCDEFGHIJKLMNOPQRST1fGPTN"
REQUEST = ProvenRequest("POST", "licensing.example.com", "/api/plugins/authenticate?x=1", CREDENTIAL, b"{}")


def proof_for(request: ProvenRequest = REQUEST, *, timestamp: int = NOW) -> RequestProof:
    value = compute_proof(SECRET, request, timestamp=timestamp, nonce=NONCE)
    parsed = parse_proof(value, str(timestamp), NONCE)
    assert parsed is not None
    return parsed


def test_frozen_proofs(vector: Callable[[str], dict[str, Any]]) -> None:
    cases = vector("request-proof.json")["cases"]
    assert len(cases) == 3
    for case in cases:
        secret, body = bytes.fromhex(case["secret_hex"]), case["body"].encode()
        request = ProvenRequest(case["method"], case["authority"], case["target"], case["credential"], body)
        at: dict[str, Any] = {"timestamp": case["timestamp"], "nonce": case["nonce"]}
        assert authority_of(case["public_url"]) == case["authority"]
        assert proof_text(request, **at) == case["text"].encode()
        assert compute_proof(secret, request, **at) == case["proof"]
        parsed = parse_proof(case["proof"], str(case["timestamp"]), case["nonce"])
        assert parsed is not None
        verify_proof(parsed, secret, request, now=case["timestamp"])


def test_the_document_shows_the_frozen_proof(vector: Callable[[str], dict[str, Any]]) -> None:
    case = vector("request-proof.json")["cases"][0]
    document = DOCUMENT.read_text("utf-8")
    for part in (case["proof"], case["secret_hex"], case["credential"], case["body"], case["text"]):
        assert part in document


@pytest.mark.parametrize("language", ["python", "sh"])
def test_the_document_computes_the_frozen_proof(vector: Callable[[str], dict[str, Any]], language: str) -> None:
    program = re.findall(rf"```{language}\n(.*?)```", DOCUMENT.read_text("utf-8"), re.DOTALL)
    assert len(program) == 1
    if language == "sh" and shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    interpreter = [sys.executable, "-I", "-"] if language == "python" else ["sh", "-eu"]
    done = subprocess.run(interpreter, input=program[0], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.strip() == vector("request-proof.json")["cases"][0]["proof"]


def test_the_right_proof_is_accepted() -> None:
    verify_proof(proof_for(), SECRET, REQUEST, now=NOW)


@pytest.mark.parametrize(
    "change",
    [
        {"method": "PUT"},
        {"method": "post"},
        {"authority": "licensing.example.com:8443"},
        {"authority": "attacker.example"},
        {"target": "/api/plugins/authenticate"},
        {"target": "/api/plugins/authenticate?x=2"},
        {"target": "/api/plugins/authenticate/?x=1"},
        {"credential": CREDENTIAL[:-1] + "M"},
        {"credential": ""},
        {"body": b"{} "},
        {"body": b""},
    ],
)
def test_a_proof_is_of_one_request(change: dict[str, Any]) -> None:
    with pytest.raises(ProofInvalid, match="mismatch"):
        verify_proof(proof_for(), SECRET, dataclasses.replace(REQUEST, **change), now=NOW)


def test_timestamp_and_nonce_are_covered() -> None:
    proof = proof_for()
    for changed in (
        dataclasses.replace(proof, timestamp=NOW + 1),
        dataclasses.replace(proof, nonce=NONCE[:-1] + "E"),
    ):
        with pytest.raises(ProofInvalid, match="mismatch"):
            verify_proof(changed, SECRET, REQUEST, now=NOW)


def test_another_secret_and_every_flipped_bit() -> None:
    proof = proof_for()
    with pytest.raises(ProofInvalid, match="mismatch"):
        verify_proof(proof, bytes(32), REQUEST, now=NOW)
    for bit in range(256):
        broken = bytearray(proof.mac)
        broken[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ProofInvalid, match="mismatch"):
            verify_proof(dataclasses.replace(proof, mac=bytes(broken)), SECRET, REQUEST, now=NOW)


@pytest.mark.parametrize("offset", [-60, -59, 0, 59, 60])
def test_up_to_a_minute_of_skew_is_accepted(offset: int) -> None:
    verify_proof(proof_for(), SECRET, REQUEST, now=NOW + offset)


@pytest.mark.parametrize("offset", [-61, 61, -NOW, 10**9])
def test_more_skew_is_refused_with_the_servers_time(offset: int) -> None:
    with pytest.raises(ProofSkewed) as caught:
        verify_proof(proof_for(), SECRET, REQUEST, now=NOW + offset)
    assert caught.value.server_time == NOW + offset


def test_who_has_not_the_secret_does_not_learn_about_the_clock() -> None:
    with pytest.raises(ProofInvalid, match="mismatch"):
        verify_proof(proof_for(), bytes(32), REQUEST, now=NOW + 3600)


def test_no_headers_are_no_proof() -> None:
    assert parse_proof(None, None, None) is None


GOOD = ("v1=" + "0f" * 32, str(NOW), NONCE)


def test_the_grammar_accepts() -> None:
    assert parse_proof(*GOOD) == RequestProof(bytes.fromhex("0f" * 32), NOW, NONCE)
    for nonce in ("a" * 16, "Z" * 64, "-_" * 8):
        assert parse_proof(GOOD[0], "0", nonce) == RequestProof(bytes.fromhex("0f" * 32), 0, nonce)


@pytest.mark.parametrize(
    "value",
    [
        None, "", "v1=", "0f" * 32, "v1=" + "0F" * 32, "v1=" + "0f" * 31, "v1=" + "0f" * 33, "V1=" + "0f" * 32,
        "v2=" + "0f" * 32, "v1 = " + "0f" * 32, "v1=" + "0f" * 32 + "\n", " v1=" + "0f" * 32, "v1=" + "0g" * 32,
        "v1=" + "0٣" * 32,
    ],
)  # fmt: skip
def test_the_grammar_of_the_proof(value: str | None) -> None:
    with pytest.raises(ProofInvalid, match="malformed"):
        parse_proof(value, GOOD[1], GOOD[2])


@pytest.mark.parametrize(
    "value",
    [None, "", "-1", "+1", "1.0", "1e9", " 1", "1 ", "1\n", "01", "00", "1_000", "٣", "²", "1" * 13, "1" * 5000],
)
def test_the_grammar_of_the_timestamp(value: str | None) -> None:
    with pytest.raises(ProofInvalid, match="malformed"):
        parse_proof(GOOD[0], value, GOOD[2])


@pytest.mark.parametrize(
    "value", [None, "", "a" * 15, "a" * 65, "a" * 15 + "+", "a" * 15 + "=", "a" * 16 + "\n", "é" * 16, "a b" * 8]
)
def test_the_grammar_of_the_nonce(value: str | None) -> None:
    with pytest.raises(ProofInvalid, match="malformed"):
        parse_proof(GOOD[0], GOOD[1], value)


@pytest.mark.parametrize("name", ["method", "authority", "target"])
@pytest.mark.parametrize("value", ["", "a\nb", "a b", "a\0", "é", "\x7f", "\ud800"])
def test_a_line_cannot_be_made_two(name: str, value: str) -> None:
    change: dict[str, Any] = {name: value}
    request = dataclasses.replace(REQUEST, **change)
    with pytest.raises(ProofInvalid, match="malformed"):
        verify_proof(proof_for(), SECRET, request, now=NOW)
    with pytest.raises(ValueError, match="visible ASCII"):
        compute_proof(SECRET, request, timestamp=NOW, nonce=NONCE)


def test_a_client_cannot_compute_what_the_server_would_not_parse() -> None:
    for timestamp, nonce in ((-1, NONCE), (10**12, NONCE), (NOW, "short"), (NOW, NONCE + "\n")):
        with pytest.raises(ValueError, match="grammar"):
            compute_proof(SECRET, REQUEST, timestamp=timestamp, nonce=nonce)
    for secret in (b"", bytes(31), bytes(33)):
        with pytest.raises(ValueError, match="32 bytes"):
            compute_proof(secret, REQUEST, timestamp=NOW, nonce=NONCE)


@pytest.mark.parametrize(
    ("url", "authority"),
    [
        ("https://licensing.example.com", "licensing.example.com"),
        ("https://licensing.example.com/", "licensing.example.com"),
        ("https://Licensing.EXAMPLE.com:443/base", "licensing.example.com"),
        ("HTTPS://licensing.example.com:0443", "licensing.example.com"),
        ("https://licensing.example.com:80", "licensing.example.com:80"),
        ("https://licensing.example.com:", "licensing.example.com"),
        ("http://localhost:80", "localhost"),
        ("http://localhost:8000", "localhost:8000"),
        ("http://127.0.0.1:8000", "127.0.0.1:8000"),
        ("http://[0:0::1]:8000", "[::1]:8000"),
        ("https://[2001:DB8::1]", "[2001:db8::1]"),
        ("https://xn--bcher-kva.example", "xn--bcher-kva.example"),
    ],
)
def test_authorities(url: str, authority: str) -> None:
    assert authority_of(url) == authority


@pytest.mark.parametrize(
    "url",
    [
        "", "licensing.example.com", "ftp://licensing.example.com", "https:", "https://", "https:///x", "https://:443",
        "https://user@licensing.example.com", "https://user:secret@licensing.example.com", "https://a b",
        "https://bücher.example", "https://a\n.example", "https://a:99999", "https://a:x", "https://a:0", "https://-a",
        "https://a..b", "https://a.", "https://[::1", "https://[::g]", "https://[fe80::1%25eth0]",
        "https://" + "a" * 64,
    ],
)  # fmt: skip
def test_urls_without_an_authority_to_sign(url: str) -> None:
    with pytest.raises(ValueError) as caught:
        authority_of(url)
    assert "secret" not in str(caught.value)


def test_no_repr_and_no_error_shows_secret_or_credential() -> None:
    proof = proof_for()
    assert CREDENTIAL not in repr(REQUEST)
    assert proof.mac.hex() not in repr(proof)
    assert repr(proof.mac) not in repr(proof)
    with pytest.raises(ProofInvalid) as caught:
        verify_proof(proof, bytes(32), REQUEST, now=NOW)
    assert str(caught.value) == "request proof refused: mismatch"


def test_the_mac_is_plain_hmac() -> None:
    text = proof_text(REQUEST, timestamp=NOW, nonce=NONCE)
    assert text.count(b"\n") == 7
    assert proof_for().mac == hmac.new(SECRET, text, hashlib.sha256).digest()
