"""The request proof: an HMAC by a build's own secret, which shows that a request comes from that build, once.

`docs/request-proof.md` describes it for those who write a client; `tests/vectors/request-proof.json` is
its frozen vector. This module says whether a proof is right and fresh by the clock. Whether its nonce was
seen before is the caller's to ask, after `verify_proof`, so that nobody without the secret can fill the
memory of nonces.
"""

import hashlib
import hmac
import ipaddress
import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

SECRET_BYTES = 32
MAX_SKEW_SECONDS = 60
LABEL = "keywright-proof-v1"

_PROOF = re.compile(r"v1=([0-9a-f]{64})")
_TIMESTAMP = re.compile(r"0|[1-9][0-9]{0,11}")
_NONCE = re.compile(r"[A-Za-z0-9_-]{16,64}")
# What may stand in a line of the text: without this, a line break in one part could pass for two parts.
_VISIBLE = re.compile(r"[\x21-\x7e]+")
_HOST_NAME = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*"
)
_DEFAULT_PORTS = {"http": 80, "https": 443}


class ProofError(Exception):
    """A proof was refused. `reason` is a word for logs; nothing here repeats secret, credential or proof."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"request proof refused: {reason}")
        self.reason = reason


class ProofInvalid(ProofError):
    """The headers are not of the grammar (`malformed`) or the HMAC is not that of this request (`mismatch`)."""


class ProofSkewed(ProofError):
    """The proof is right, but its time is more than a minute from ours. The answer tells `server_time`."""

    def __init__(self, server_time: int) -> None:
        super().__init__("skew")
        self.server_time = server_time


@dataclass(frozen=True, slots=True)
class RequestProof:
    """The three headers, parsed and not yet verified."""

    mac: bytes = field(repr=False)
    timestamp: int
    nonce: str


@dataclass(frozen=True, slots=True)
class ProvenRequest:
    """What a proof covers. `authority` is that of the configured public URL, never of the Host header.

    `target` is the request target as it was sent, path and query, `credential` the API key or plugin token.
    """

    method: str
    authority: str
    target: str
    credential: str = field(repr=False)
    body: bytes = field(repr=False)


def parse_proof(proof: str | None, timestamp: str | None, nonce: str | None) -> RequestProof | None:
    """Read X-Keywright-Proof, X-Keywright-Timestamp and X-Keywright-Nonce; None when all three are absent.

    Raises:
        ProofInvalid: some are absent, or one is not exactly of its grammar.
    """
    if proof is None and timestamp is None and nonce is None:
        return None
    mac = _PROOF.fullmatch(proof or "")
    if mac is None or not _TIMESTAMP.fullmatch(timestamp or "") or not _NONCE.fullmatch(nonce or ""):
        raise ProofInvalid("malformed")
    return RequestProof(mac=bytes.fromhex(mac[1]), timestamp=int(timestamp or ""), nonce=nonce or "")


def proof_text(request: ProvenRequest, *, timestamp: int, nonce: str) -> bytes:
    """The text that is authenticated: eight lines joined by single line feeds.

    Raises:
        ValueError: method, authority or target hold anything but visible ASCII, or timestamp or nonce are
        not of
            their grammar.
    """
    if not _TIMESTAMP.fullmatch(str(timestamp)) or not _NONCE.fullmatch(nonce):
        raise ValueError("timestamp or nonce is not of its grammar")
    if not all(_VISIBLE.fullmatch(part) for part in (request.method, request.authority, request.target)):
        raise ValueError("method, authority and target are visible ASCII")
    lines = (
        LABEL,
        request.method,
        request.authority,
        request.target,
        str(timestamp),
        nonce,
        hashlib.sha256(request.credential.encode("utf-8", "surrogatepass")).hexdigest(),
        hashlib.sha256(request.body).hexdigest(),
    )
    return "\n".join(lines).encode("ascii")


def compute_proof(secret: bytes, request: ProvenRequest, *, timestamp: int, nonce: str) -> str:
    """The value of X-Keywright-Proof. Raises `ValueError` as `proof_text`, or for a secret that is not 32 bytes."""
    return "v1=" + _mac(secret, proof_text(request, timestamp=timestamp, nonce=nonce)).hex()


def verify_proof(
    proof: RequestProof,
    secret: bytes,
    request: ProvenRequest,
    *,
    now: int,
    max_skew_seconds: int = MAX_SKEW_SECONDS,
) -> None:
    """Hold a proof against the request it came with; `now` in epoch seconds.

    The HMAC comes first: only who has the secret learns that it was the clock. A difference of exactly
    `max_skew_seconds` is accepted.

    Raises:
        ProofInvalid: it is not the proof of this request under this secret.
        ProofSkewed: it is, but not of this time.
    """
    try:
        text = proof_text(request, timestamp=proof.timestamp, nonce=proof.nonce)
    except ValueError:
        raise ProofInvalid("malformed") from None
    if not hmac.compare_digest(_mac(secret, text), proof.mac):
        raise ProofInvalid("mismatch")
    if abs(now - proof.timestamp) > max_skew_seconds:
        raise ProofSkewed(server_time=now)


def authority_of(public_url: str) -> str:
    """The authority of a public URL as both sides write it: lower case, without the scheme's default port.

    `https://Example.com:443/base` gives `example.com`, `http://[::1]:8000` gives `[::1]:8000`.

    Raises:
        ValueError: not http(s), without a host, with user information, or not in ASCII (write an IDN in
        punycode).
    """
    try:
        parts = urlsplit(public_url)
        port = parts.port
    except ValueError:
        raise ValueError("not a URL") from None
    if not _VISIBLE.fullmatch(public_url) or parts.scheme not in _DEFAULT_PORTS:
        raise ValueError("a public URL is ASCII and starts with https:// or http://")
    if "@" in parts.netloc or port == 0:
        raise ValueError("a public URL has a host, perhaps a port, and no user information")
    host = _host(parts.hostname or "")
    return host if port in (None, _DEFAULT_PORTS[parts.scheme]) else f"{host}:{port}"


def _host(host: str) -> str:
    if ":" in host and "%" not in host:
        try:
            return f"[{ipaddress.IPv6Address(host).compressed}]"
        except ValueError:
            raise ValueError("not an IPv6 address") from None
    if not _HOST_NAME.fullmatch(host):
        raise ValueError("not a host name")
    return host


def _mac(secret: bytes, text: bytes) -> bytes:
    if len(secret) != SECRET_BYTES:
        raise ValueError(f"a build secret is {SECRET_BYTES} bytes")
    return hmac.digest(secret, text, "sha256")
