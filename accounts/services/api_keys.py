"""Issuing, rotating and revoking customers' API keys."""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db import IntegrityError, transaction
from django.db.models.functions import Now

from accounts.models import SCOPES, ApiKey, Customer
from accounts.services.key_material import live_prefix, sealed_root, stored_material
from licensing.core import audit, outbox
from licensing.core.actor import Actor
from licensing.core.errors import Conflict, InvalidValue
from licensing.core.ids import new_id
from licensing.crypto import keys

MAX_OVERLAP_SECONDS = 30 * 86400
MAX_CIDRS = 64
# Every decision about a customer has all of its keys before it, revoked ones too, so that it can say that they are.
MAX_LIVE_KEYS = 500
MAX_KEYS = 5000
DEFAULT_SCOPES = ("plugins:authenticate", "registry:read", "registry:download", "builds", "usage", "account:read")


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """A new key: the row, and the key itself, which is shown this once."""

    api_key: ApiKey
    key: str = field(repr=False)


def issue_api_key(
    *,
    customer: Customer,
    name: str,
    actor: Actor,
    mode: str = ApiKey.Mode.LIVE,
    scopes: Iterable[str] = DEFAULT_SCOPES,
    cidrs: Iterable[str] = (),
    expires_at: datetime | None = None,
    key: str | None = None,
) -> IssuedKey:
    """Make a key for a customer. `key` imports one made elsewhere (the demo's) instead of generating it.

    Raises:
        InvalidValue: an unknown scope, an address range that cannot be read, or an empty name.
        Conflict: the imported key exists already, or the customer has too many.
    """
    if not name.strip():
        raise InvalidValue("name: give the key a name.", field="name")
    key = key or keys.generate_key(live_prefix(mode))
    row_id = new_id("key")
    row = ApiKey(
        id=row_id,
        customer=customer,
        name=name.strip(),
        mode=mode,
        scopes=checked_scopes(scopes),
        cidrs=checked_cidrs(cidrs),
        expires_at=expires_at,
        created_by=actor.id,
        sealed_root=sealed_root(key, row_id=row_id),
        **stored_material(key, table="api_key", row_id=row_id),
    )
    _require_room(customer)
    with transaction.atomic():
        try:
            with transaction.atomic():
                row.save(force_insert=True)
        except IntegrityError as exc:
            raise Conflict("This key exists already.", field="key") from exc
        _record(row, "api_key.created", actor, {"name": row.name, "mode": row.mode, "scopes": row.scopes})
        outbox.emit("key.issued", customer_id=row.customer_id, payload={"api_key_id": row.id, "mode": row.mode})
    return IssuedKey(row, key)


def rotate_api_key(
    *, api_key: ApiKey, overlap_seconds: int, actor: Actor, now: datetime, name: str | None = None
) -> IssuedKey:
    """Make a successor with the same rights; the old key lives for `overlap_seconds` more (0 to 30 days).

    Raises:
        InvalidValue: an overlap out of bounds.
        Conflict: the key is revoked, has expired, or has a successor already.
    """
    if not 0 <= overlap_seconds <= MAX_OVERLAP_SECONDS:
        raise InvalidValue(f"overlap_seconds: between 0 and {MAX_OVERLAP_SECONDS} (30 days).", field="overlap_seconds")
    with transaction.atomic():
        # Two rotations at once would make two successors: the row lock lets one through, the second sees it.
        old = ApiKey.objects.select_for_update().get(pk=api_key.pk)
        if old.revoked_at is not None or old.replaced_by_id is not None or _is_past(old.expires_at, now):
            raise Conflict("The key is no longer in use, or has been rotated already.")
        issued = issue_api_key(
            customer=old.customer,
            name=name or old.name,
            actor=actor,
            mode=old.mode,
            scopes=old.scopes,
            cidrs=old.cidrs,
            # A limited key's successor is as limited.
            expires_at=old.expires_at,
        )
        end = now + timedelta(seconds=overlap_seconds)
        old.replaced_by = issued.api_key
        old.expires_at = end if old.expires_at is None else min(end, old.expires_at)
        old.save(update_fields=["replaced_by", "expires_at"])
        _record(old, "api_key.rotated", actor, {"successor": issued.api_key.id, "overlap_seconds": overlap_seconds})
        outbox.emit(
            "key.rotated",
            customer_id=old.customer_id,
            payload={"api_key_id": old.id, "successor_id": issued.api_key.id, "overlap_seconds": overlap_seconds},
        )
    return issued


def revoke_api_key(*, api_key: ApiKey, actor: Actor, now: datetime, reason: str = "") -> ApiKey:
    """Revoke a key for good. Revoking again changes nothing."""
    with transaction.atomic():
        row = ApiKey.objects.select_for_update().get(pk=api_key.pk)
        if row.revoked_at is None:
            row.revoked_at = now
            row.revoked_reason = reason[:200]
            row.save(update_fields=["revoked_at", "revoked_reason"])
            _record(row, "api_key.revoked", actor, {"reason": row.revoked_reason})
            outbox.emit("key.revoked", customer_id=row.customer_id, payload={"api_key_id": row.id})
    return row


def checked_scopes(scopes: Iterable[str]) -> list[str]:
    """Return known scopes in their usual order. Raises `InvalidValue`."""
    asked = set(scopes)
    unknown = sorted(asked - set(SCOPES))
    if unknown or not asked:
        raise InvalidValue(f"scopes: choose from {', '.join(SCOPES)}.", field="scopes", note=f"unknown: {len(unknown)}")
    return [scope for scope in SCOPES if scope in asked]


def checked_cidrs(cidrs: Iterable[str], *, field: str = "cidrs") -> list[str]:
    """Return address ranges in canonical form. Raises `InvalidValue`."""
    found = []
    for index, text in enumerate(cidrs):
        try:
            found.append(str(_plain_network(text)))
        except (ValueError, TypeError) as exc:
            raise InvalidValue(f"{field}[{index}]: not an address range.", field=f"{field}[{index}]") from exc
    if len(found) > MAX_CIDRS:
        raise InvalidValue(f"{field}: at most {MAX_CIDRS}.", field=field)
    return found


def _plain_network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """The range in the family that addresses are compared in: IPv4 in IPv6's clothes (RFC 4291, 2.5.5.2) is IPv4."""
    network = ipaddress.ip_network(text, strict=False)
    mapped = network.network_address.ipv4_mapped if isinstance(network, ipaddress.IPv6Network) else None
    if mapped is None or network.prefixlen < 96:
        return network
    return ipaddress.IPv4Network((mapped, network.prefixlen - 96))


def _require_room(customer: Customer) -> None:
    """A bound that need not be exact: those who make keys at once may go beyond it by as many."""
    known = ApiKey.objects.filter(customer=customer)
    live = known.filter(revoked_at=None).exclude(expires_at__lte=Now())
    if live.count() >= MAX_LIVE_KEYS:
        raise Conflict(f"There are {MAX_LIVE_KEYS} live keys already; revoke some.")
    if known.count() >= MAX_KEYS:
        raise Conflict(f"There have been {MAX_KEYS} keys already, which is as many as are kept.")


def _is_past(instant: datetime | None, now: datetime) -> bool:
    return instant is not None and instant <= now


def _record(row: ApiKey, action: str, actor: Actor, detail: dict[str, object]) -> None:
    audit.record(
        actor=actor,
        action=action,
        subject_kind="api_key",
        subject_id=row.id,
        customer_id=row.customer_id,
        detail={"last4": row.last4, **detail},
    )
