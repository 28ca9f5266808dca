"""Registry tokens (`pat_…`): issued, revoked, and what is counted against their caps."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import F, Q
from django.db.models.functions import Greatest

from accounts.models import Customer
from accounts.services.key_material import stored_material
from licensing.core import audit
from licensing.core.actor import Actor
from licensing.core.errors import Conflict, InvalidValue
from licensing.core.ids import new_id
from licensing.crypto import keys
from registry.models import RegistryToken
from registry.services.visitors import TOKEN_PREFIX

MAX_LIFETIME = timedelta(days=366)
MAX_PLUGINS = 200
MAX_TOKENS = 200
_SEEN_STEP = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A new token: the row, and the token itself, which is shown this once."""

    row: RegistryToken
    token: str = field(repr=False)


def issue_registry_token(
    *,
    customer: Customer,
    name: str,
    expires_at: datetime,
    actor: Actor,
    now: datetime,
    plugins: Iterable[str] = (),
    max_downloads: int | None = None,
    max_bytes: int | None = None,
) -> IssuedToken:
    """Make a token that reads from the customer's registry; `plugins` bounds it to these (none: all it may see).

    Raises:
        InvalidValue: naming the field.
        Conflict: the customer has too many live tokens.
    """
    wanted = sorted(set(plugins))
    if not name.strip():
        raise InvalidValue("name: give the token a name.", field="name")
    if not now < expires_at <= now + MAX_LIFETIME:
        raise InvalidValue("expires_at: in the future, at most 366 days ahead.", field="expires_at")
    if len(wanted) > MAX_PLUGINS:
        raise InvalidValue(f"plugins: at most {MAX_PLUGINS}.", field="plugins")
    token, row_id = keys.generate_key(TOKEN_PREFIX), new_id("pat")
    row = RegistryToken(
        id=row_id,
        customer=customer,
        name=name.strip()[:100],
        plugins=wanted,
        expires_at=expires_at,
        max_downloads=max_downloads,
        max_bytes=max_bytes,
        created_by=actor.id,
        **stored_material(token, table="registry_token", row_id=row_id),
    )
    with transaction.atomic():
        Customer.objects.select_for_update(no_key=True).get(pk=customer.pk)
        live = RegistryToken.objects.filter(customer=customer, revoked_at=None, expires_at__gt=now)
        if live.count() >= MAX_TOKENS:
            raise Conflict(f"There are {MAX_TOKENS} live tokens already; revoke some.")
        row.save(force_insert=True)
        caps = {"max_downloads": max_downloads, "max_bytes": max_bytes, "plugins": wanted}
        _record(row, "registry_token.created", actor, {"expires_at": expires_at.isoformat(), **caps})
    return IssuedToken(row, token)


def revoke_registry_token(*, row: RegistryToken, actor: Actor, now: datetime, reason: str = "") -> RegistryToken:
    """Revoke a token for good, and every download URL it got with it. Revoking again changes nothing."""
    with transaction.atomic():
        row = RegistryToken.objects.select_for_update().get(pk=row.pk)
        if row.revoked_at is None:
            row.revoked_at, row.revoked_reason = now, reason[:200]
            row.save(update_fields=["revoked_at", "revoked_reason"])
            _record(row, "registry_token.revoked", actor, {"reason": row.revoked_reason})
    return row


def take_download(token_id: str) -> bool:
    """Count one download against a token; False when none is left."""
    rows = RegistryToken.objects.filter(Q(max_downloads=None) | Q(downloads_used__lt=F("max_downloads")), pk=token_id)
    return rows.update(downloads_used=F("downloads_used") + 1) == 1


def take_bytes(token_id: str, count: int) -> bool:
    """Count bytes against a token before they are sent; False when fewer are left."""
    rows = RegistryToken.objects.filter(Q(max_bytes=None) | Q(max_bytes__gte=F("bytes_used") + count), pk=token_id)
    return rows.update(bytes_used=F("bytes_used") + count) == 1


def give_bytes_back(token_id: str, count: int) -> None:
    """Take back what was counted and never sent."""
    RegistryToken.objects.filter(pk=token_id).update(bytes_used=Greatest(F("bytes_used") - count, 0))


def note_used(token_id: str, now: datetime) -> None:
    """Remember when a token was last used, to the minute: not every request is worth a write."""
    RegistryToken.objects.filter(Q(last_used_at=None) | Q(last_used_at__lt=now - _SEEN_STEP), pk=token_id).update(
        last_used_at=now
    )


def _record(row: RegistryToken, action: str, actor: Actor, detail: dict[str, object]) -> None:
    audit.record(
        actor=actor,
        action=action,
        subject_kind="registry_token",
        subject_id=row.id,
        customer_id=row.customer_id,
        is_change=False,
        detail={"last4": row.last4, **detail},
    )
