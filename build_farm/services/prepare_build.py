"""Preparing builds (`control`): the secret, the constants, and both sealed for the record.

The build worker holds no key of ours, so it is given the finished constants: the secret in them is sealed for the
customer's API key already, and the binary will hold them anyway. They stay readable until the build has ended.
"""

import base64
import json
import secrets
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Final

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.conf import settings
from django.db import transaction
from django.db.models import Q

from accounts.keyrings import ring
from accounts.models import ApiKey
from accounts.services.key_material import fingerprint_identity, root_identity
from build_farm.compile import EmbeddedConstants
from build_farm.hints import BUILD, hint_on_commit
from build_farm.models import Build
from build_farm.sealed_columns import constants_identity
from build_farm.services.queue import fail_build, unprepared
from licensing import selectors
from licensing.crypto.authority import load_certificate
from licensing.crypto.build_slot import SECRET_BYTES, SlotIdentity, seal_secret
from licensing.models import Certificate
from licensing.rules.entitlements import features_for_plugin
from licensing.services.key_lifecycle import AUTHORITY
from licensing.services.proofs import build_secret_identity

FARM_VERSION: Final = "1.0.0"
BUILD_HOST: Final = "keywright-build-farm"  # never the machine's own name
MASS_WINDOW: Final = 20
_INTERACTIVE_AT_ONCE: Final = 200


class NotPreparable(Exception):
    """The build cannot be made as things are; the message is for the customer."""


@dataclass(frozen=True, slots=True)
class KeyOfBuild:
    """What of an API key goes into a build: the hash that names it, and the root that seals for it."""

    id: str
    hash: str = field(repr=False)
    root: bytes = field(repr=False)


def prepare_waiting(*, now: datetime) -> int:
    """Prepare what waits; of mass rebuilds only as many as will be compiled soon, so that their inputs are fresh."""
    ready = Build.objects.filter(
        state=Build.State.QUEUED, priority=Build.Priority.MASS, prepared_at__isnull=False
    ).count()
    waiting = unprepared(priority=Build.Priority.INTERACTIVE, now=now, limit=_INTERACTIVE_AT_ONCE)
    if ready < MASS_WINDOW:
        waiting += unprepared(priority=Build.Priority.MASS, now=now, limit=MASS_WINDOW - ready)
    return sum(prepare_build(build_id=build_id, now=now) for build_id in waiting)


def prepare_build(*, build_id: str, now: datetime) -> bool:
    """Write a queued build's inputs, once; what cannot be built fails here. Returns whether it is ready now."""
    with transaction.atomic():
        rows = Build.objects.select_for_update(of=("self",), skip_locked=True)
        build = (
            rows.select_related("release__plugin", "customer")
            .filter(pk=build_id, state=Build.State.QUEUED, prepared_at=None)
            .first()
        )
        if build is None:
            return False
        try:
            _prepare(build, now)
        except NotPreparable as exc:
            fail_build(build, failure=str(exc), now=now)
            return False
        hint_on_commit(BUILD)
    return True


def _prepare(build: Build, now: datetime) -> None:
    secret = secrets.token_bytes(SECRET_BYTES)
    key = _choose_key(build, now)
    tier, features = _entitled(build, now)
    constants = EmbeddedConstants(
        customer_id=build.customer_id,
        customer_name=build.customer.name,
        api_key_hash=key.hash,
        secret_key=seal_secret(key.root, secret, slot_identity(build)),
        target_tier=tier,
        authorized_features=features,
        build_timestamp=str(int(now.timestamp())),
        build_host=BUILD_HOST,
        build_version=FARM_VERSION,
        build_id=build.id,
        plugin_name=build.release.plugin_id,
        plugin_version=build.release.version,
        target=build.target,
        authority_public_key=authority_public_key(),
        issuer=settings.PUBLIC_URL,
        server_url=settings.PUBLIC_URL,
    )
    build.constants = asdict(constants)
    build.sealed_constants = ring("builds").seal(
        json.dumps(build.constants).encode(), identity=constants_identity(build.id)
    )
    build.sealed_secret = ring("builds").seal(secret, identity=build_secret_identity(build.id))
    build.api_key_id, build.tier, build.features = key.id, tier, list(features)
    build.source_sha256 = build.release.source_id or ""
    build.build_time, build.prepared_at = now.replace(microsecond=0), now
    build.save()


def slot_identity(build: Build) -> SlotIdentity:
    """What a build's sealed secrets are bound to."""
    return SlotIdentity(
        build_id=build.id,
        customer=build.customer_id,
        plugin=build.release.plugin_id,
        version=build.release.version,
        target=build.target,
    )


def recorded_constants(build: Build) -> EmbeddedConstants:
    """The constants that a build was made with, from the sealed record."""
    sealed = bytes(build.sealed_constants or b"")
    return as_constants(json.loads(ring("builds").unseal(sealed, identity=constants_identity(build.id))))


def as_constants(stored: dict[str, object]) -> EmbeddedConstants:
    """The constants as they were stored."""
    features = stored["authorized_features"]
    values = {**stored, "authorized_features": tuple(features) if isinstance(features, list | tuple) else ()}
    return EmbeddedConstants(**values)  # type: ignore[arg-type]


def live_keys(customer_id: str, now: datetime) -> list[ApiKey]:
    """A customer's keys that are good now, the oldest first."""
    alive = Q(expires_at=None) | Q(expires_at__gt=now)
    rows = ApiKey.objects.filter(alive, customer=customer_id, revoked_at=None)
    return list(rows.order_by("created_at", "id"))


def open_key(row: ApiKey) -> KeyOfBuild:
    """Unseal what builds need of an API key. Needs the `auth` key."""
    digest = ring("auth").unseal(bytes(row.sealed_fingerprint), identity=fingerprint_identity("api_key", row.id))
    root = ring("auth").unseal(bytes(row.sealed_root), identity=root_identity(row.id))
    return KeyOfBuild(row.id, f"sha256:{digest.hex()}", root)


def authority_public_key() -> str:
    """PluginAuthority's public key, PKIX in base64: what the build pins."""
    row = Certificate.objects.filter(purpose=AUTHORITY, retired_at=None).first()
    if row is None:
        raise NotPreparable("The server has no PluginAuthority yet.")
    public = load_certificate(bytes(row.der)).public_key()
    return base64.b64encode(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode("ascii")


def _choose_key(build: Build, now: datetime) -> KeyOfBuild:
    keys = live_keys(build.customer_id, now)
    if build.wanted_key_id:
        keys = [row for row in keys if row.id == build.wanted_key_id]
    if not keys:
        raise NotPreparable("There is no live API key of this customer that the build could be for.")
    return open_key(next((row for row in keys if row.mode == ApiKey.Mode.LIVE), keys[0]))


def _entitled(build: Build, now: datetime) -> tuple[str, tuple[str, ...]]:
    """The tier and the features that the customer has of the plugin now: what the constants say, not what holds."""
    customer, catalogue = selectors.load_customer(build.customer_id), selectors.load_catalogue()
    plugin = catalogue.plugins.get(build.release.plugin_id)
    if customer is None or customer.subscription is None or plugin is None:
        raise NotPreparable("The customer has no subscription.")
    features = features_for_plugin(customer, catalogue, plugin, now.timestamp())
    return customer.subscription.tier, tuple(features)
