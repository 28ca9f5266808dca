"""Changing an API key, and what a key may hand on when it makes or rotates others."""

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.db import transaction

from accounts.models import ApiKey
from accounts.services.api_keys import checked_cidrs, checked_scopes
from licensing.core import audit
from licensing.core.actor import Actor
from licensing.core.errors import Conflict, InvalidValue, PermissionMissing

CHANGEABLE: Final = ("name", "scopes", "cidrs", "expires_at")


@dataclass(frozen=True, slots=True)
class Rights:
    """What a key can do: from where, until when, in which mode."""

    mode: str
    scopes: frozenset[str]
    cidrs: tuple[str, ...]
    expires_at: datetime | None

    @classmethod
    def of(cls, key: ApiKey) -> "Rights":
        """The rights of a stored key."""
        return cls(key.mode, frozenset(key.scopes), tuple(key.cidrs), key.expires_at)

    @classmethod
    def asked(cls, *, mode: str, scopes: Iterable[str], cidrs: Iterable[str], expires_at: datetime | None) -> "Rights":
        """The rights that a new key is to have. Raises `InvalidValue`."""
        return cls(mode, frozenset(checked_scopes(scopes)), tuple(checked_cidrs(cidrs)), expires_at)


def require_within(wanted: Rights, own: Rights) -> None:
    """Refuse to hand on more than one's own: else a limited key could make itself an unlimited one.

    Raises:
        PermissionMissing: naming what goes beyond.
    """
    if own.mode == ApiKey.Mode.TEST and wanted.mode != own.mode:
        raise PermissionMissing("A test key makes test keys only.")
    if not wanted.scopes <= own.scopes:
        missing = ", ".join(sorted(wanted.scopes - own.scopes))
        raise PermissionMissing(f"This key has not the scopes {missing} itself.")
    if own.expires_at is not None and (wanted.expires_at is None or wanted.expires_at > own.expires_at):
        raise PermissionMissing("A key cannot make one that outlives it; give an earlier expires_at.")
    if own.cidrs and not (wanted.cidrs and all(_is_inside(cidr, own.cidrs) for cidr in wanted.cidrs)):
        raise PermissionMissing("This key is bound to addresses; give cidrs within them.")


def update_api_key(*, api_key: ApiKey, changes: Mapping[str, Any], actor: Actor) -> ApiKey:
    """Change what `changes` names, of CHANGEABLE. What is the same already is not written again.

    Raises:
        InvalidValue: naming the field.
        Conflict: the key is revoked.
    """
    wanted = _checked(changes)
    with transaction.atomic():
        row = ApiKey.objects.select_for_update().get(pk=api_key.pk)
        changed = [name for name, value in wanted.items() if getattr(row, name) != value]
        if not changed:
            return row
        if row.revoked_at is not None:
            raise Conflict("The key is revoked; nothing about it can change.")
        for name in changed:
            setattr(row, name, wanted[name])
        row.save(update_fields=changed)
        audit.record(
            actor=actor,
            action="api_key.changed",
            subject_kind="api_key",
            subject_id=row.id,
            customer_id=row.customer_id,
            detail={"last4": row.last4, "changed": sorted(changed)},
        )
    return row


def _checked(changes: Mapping[str, Any]) -> dict[str, Any]:
    wanted = {name: changes[name] for name in CHANGEABLE if name in changes}
    if "name" in wanted:
        wanted["name"] = wanted["name"].strip()
        if not wanted["name"]:
            raise InvalidValue("name: give the key a name.", field="name")
    if "scopes" in wanted:
        wanted["scopes"] = checked_scopes(wanted["scopes"])
    if "cidrs" in wanted:
        wanted["cidrs"] = checked_cidrs(wanted["cidrs"])
    return wanted


def _is_inside(cidr: str, ranges: tuple[str, ...]) -> bool:
    network = ipaddress.ip_network(cidr, strict=False)
    # subnet_of compares networks of one version only.
    return any(
        network.version == other.version and network.subnet_of(other)  # type: ignore[arg-type]
        for other in (ipaddress.ip_network(text, strict=False) for text in ranges)
    )
