"""Checking request proofs (DESIGN §5): the HMAC first, then the nonce, which Valkey remembers.

When nonces cannot be remembered (Valkey away, or restarted so lately that a nonce from before could come again), the
freshness is unknown: that matters only where proof is required, and there the answer is 503, never a verdict.
"""

import secrets
import time
from functools import lru_cache

import msgspec
import redis
from django.conf import settings

from accounts.keyrings import ring
from licensing.core.errors import ServiceUnavailable
from licensing.core.valkey import Script, ValkeyAway, valkey
from licensing.crypto.proof import (
    MAX_SKEW_SECONDS,
    ProofInvalid,
    ProofSkewed,
    ProvenRequest,
    RequestProof,
    authority_of,
    parse_proof,
    verify_proof,
)
from licensing.crypto.sealing import SealError
from licensing.models import BuildCredential
from licensing.rules import codes
from licensing.rules.codes import Verdict, deny

_NONCE_SECONDS = 2 * MAX_SKEW_SECONDS + 10
_SINCE_KEY = "proof:since"

# Remember a nonce once, by the request it came with, and tell since when nonces are remembered at all: a Valkey that
# was emptied or restarted has no such mark and sets it now. Returns {1 if the nonce is new or this very request's, the
# mark}.
_REMEMBER = Script("""
local since = redis.call('GET', KEYS[2])
if not since then
  since = redis.call('TIME')[1]
  redis.call('SET', KEYS[2], since)
end
local fresh = redis.call('SET', KEYS[1], ARGV[2], 'NX', 'EX', ARGV[1]) or redis.call('GET', KEYS[1]) == ARGV[2]
return {fresh and 1 or 0, since}
""")


class SentRequest(msgspec.Struct, frozen=True, gc=False):
    """A request as it arrived, for what its proof covers.

    `mark` tells it from every other request: a decision that has to be made again is no replay of itself.
    """

    method: str
    target: str
    body: bytes
    proof: str | None = None
    timestamp: str | None = None
    nonce: str | None = None
    mark: str = ""

    def __post_init__(self) -> None:
        """Mark a request that has a proof; no other needs to be told apart."""
        if self.proof is not None and not self.mark:
            msgspec.structs.force_setattr(self, "mark", secrets.token_hex(16))

    def __repr__(self) -> str:
        """Without what it holds."""
        return f"SentRequest(method={self.method!r}, target={self.target!r})"


def check_proof(
    *, sent: SentRequest, credential: str, build_id: str | None, is_required: bool, now: float
) -> Verdict | None:
    """Return the negative verdict on a request's proof, or None when nothing is wrong with it.

    Raises:
        ServiceUnavailable: proof is required, and whether this one is fresh cannot be known.
    """
    try:
        proof = parse_proof(sent.proof, sent.timestamp, sent.nonce)
    except ProofInvalid:
        return deny(codes.PROOF_INVALID)
    if proof is None:
        return deny(codes.PROOF_REQUIRED) if is_required else None
    if build_id is None:
        # Nothing to hold it against: a caller without a build has no secret.
        return deny(codes.PROOF_INVALID) if not is_required else deny(codes.PROOF_REQUIRED)
    secret = build_secret(build_id)
    if secret is None:
        return deny(codes.PROOF_INVALID)
    request = ProvenRequest(sent.method, _authority(settings.PUBLIC_URL), sent.target, credential, sent.body)
    try:
        verify_proof(proof, secret, request, now=int(now))
    except ProofSkewed as exc:
        detail = f"The proof's time is too far from the server's, which is {exc.server_time}."
        return Verdict(False, codes.PROOF_INVALID, detail, server_time=exc.server_time)
    except ProofInvalid:
        return deny(codes.PROOF_INVALID)
    return _check_freshness(proof, build_id, mark=sent.mark, is_required=is_required)


@lru_cache(maxsize=20_000)
def build_secret(build_id: str) -> bytes | None:
    """The secret inside a build; None for an unknown build. Kept in memory: it never changes.

    Raises:
        ServiceUnavailable: it was sealed under a key that this process does not hold.
    """
    row = BuildCredential.objects.filter(pk=build_id).values_list("sealed_secret", flat=True).first()
    if row is None:
        return None
    try:
        return ring("builds").unseal(bytes(row), identity=build_secret_identity(build_id))
    except SealError as exc:
        raise ServiceUnavailable(note=f"the secret of {build_id}: {exc}") from exc


def build_secret_identity(build_id: str) -> str:
    """What a sealed build secret is bound to."""
    return f"build_credential.secret:{build_id}"


def remember_from_the_start() -> None:
    """Tell Valkey that nothing came before it: a new deployment has used no nonce yet. Best effort."""

    def mark(client: redis.Redis) -> object:
        return client.set(_SINCE_KEY, 0, nx=True)

    try:
        valkey().run(mark)
    except ValkeyAway:
        return


def _check_freshness(proof: RequestProof, build_id: str, *, mark: str, is_required: bool) -> Verdict | None:
    keys = (f"proof:nonce:{build_id}:{proof.nonce}", _SINCE_KEY)
    try:
        fresh, since = map(int, valkey().run_script(_REMEMBER, keys, (_NONCE_SECONDS, mark)))
    except ValkeyAway:
        if is_required:
            raise ServiceUnavailable(note="proof nonces cannot be remembered") from None
        return None
    if not fresh:
        return deny(codes.PROOF_REPLAYED)
    # A proof of this time may have been used as early as a skew before it. Was that before the memory began?
    if proof.timestamp - MAX_SKEW_SECONDS <= since and is_required:
        retry = max(1, since + MAX_SKEW_SECONDS + 1 - int(time.time()))
        raise ServiceUnavailable(note="proof nonces are remembered since too short a time", retry_after_seconds=retry)
    return None


@lru_cache(maxsize=4)
def _authority(public_url: str) -> str:
    return authority_of(public_url)
