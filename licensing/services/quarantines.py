"""Quarantines: what is not to be trusted, by scope. The one door for making and lifting them."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.db import transaction

from accounts.models import Customer
from licensing.core import audit, outbox
from licensing.core.actor import Actor
from licensing.core.changes import CATALOGUE, announce
from licensing.core.errors import InvalidValue
from licensing.core.ids import new_id
from licensing.models import BuildCredential, Installation, Plugin, Quarantine

_VERSION: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+-]{0,63}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
Scope = Quarantine.Scope


@dataclass(frozen=True, slots=True)
class _Aim:
    """What a quarantine is about: its target as stored, and the one customer that it concerns, if it is one."""

    target: str
    customer_id: str | None = None


def quarantine(
    *, plugin: Plugin, scope: str, target: str, reason: str, actor: Actor, now: datetime
) -> tuple[Quarantine, bool]:
    """Put something of a plugin under quarantine; returns it, and whether it is new.

    `target`: nothing for a plugin, a version, an artifact's SHA-256 in hex, or the id of a build, an installation or
    a customer. What is in quarantine already stays in the one it has.

    Raises:
        InvalidValue: there is no such thing to put under quarantine.
    """
    with transaction.atomic():
        # The plugin's row is what two who do the same thing at once share.
        row = Plugin.objects.select_for_update(no_key=True).get(pk=plugin.pk)
        aim = _AIMS[Scope(scope)](row, target)
        present = Quarantine.objects.filter(
            scope=scope, plugin_name=row.name, target=aim.target, lifted_at=None
        ).first()
        if present is not None:
            return present, False
        made = Quarantine.objects.create(
            id=new_id("qua"),
            scope=scope,
            plugin_name=row.name,
            target=aim.target,
            customer_id=aim.customer_id,
            reason=reason,
            created_at=now,
            created_by=actor.id,
        )
        _record(made, "quarantine.set", actor, "on")
    return made, True


def lift_quarantine(*, entry: Quarantine, actor: Actor, now: datetime) -> Quarantine:
    """Lift one. Lifting again changes nothing."""
    with transaction.atomic():
        row = Quarantine.objects.select_for_update().get(pk=entry.pk)
        if row.lifted_at is None:
            row.lifted_at, row.lifted_by = now, actor.id
            row.save(update_fields=["lifted_at", "lifted_by"])
            _record(row, "quarantine.lifted", actor, "off")
    return row


def _record(row: Quarantine, action: str, actor: Actor, status: str) -> None:
    detail = {"scope": row.scope, "plugin": row.plugin_name, "target": row.target, "reason": row.reason}
    audit.record(
        actor=actor,
        action=action,
        subject_kind="quarantine",
        subject_id=row.id,
        customer_id=row.customer_id or "",
        detail=detail,
    )
    if row.scope == Scope.ARTIFACT:
        announce(CATALOGUE)
    outbox.emit(
        "quarantine.changed",
        customer_id=row.customer_id or "",
        payload={"quarantine_id": row.id, "status": status, "actor": actor.kind, **detail},
    )


def _whole_plugin(plugin: Plugin, target: str) -> _Aim:
    if target not in ("", plugin.name):
        raise InvalidValue("target: leave it out, or name the plugin.", field="target")
    return _Aim("")


def _version(plugin: Plugin, target: str) -> _Aim:
    if not _VERSION.fullmatch(target):
        raise InvalidValue("target: the version, such as 2.1.0.", field="target")
    return _Aim(target)


def _artifact(plugin: Plugin, target: str) -> _Aim:
    digest = target.lower().removeprefix("sha256:")
    if not _SHA256.fullmatch(digest):
        raise InvalidValue("target: the artifact's SHA-256, 64 hex digits.", field="target")
    return _Aim(digest)


def _build(plugin: Plugin, target: str) -> _Aim:
    row = BuildCredential.objects.filter(pk=target, plugin=plugin).first()
    if row is None:
        raise InvalidValue("target: there is no such build of this plugin.", field="target")
    return _Aim(row.id, row.customer_id)


def _installation(plugin: Plugin, target: str) -> _Aim:
    row = Installation.objects.filter(pk=target, plugin=plugin).first()
    if row is None:
        raise InvalidValue("target: there is no such installation of this plugin.", field="target")
    return _Aim(row.id, row.customer_id)


def _customer(plugin: Plugin, target: str) -> _Aim:
    row = Customer.objects.filter(pk=target).first()
    if row is None:
        raise InvalidValue("target: there is no such customer.", field="target")
    return _Aim(row.id, row.id)


_AIMS: Final = {
    Scope.PLUGIN: _whole_plugin,
    Scope.VERSION: _version,
    Scope.ARTIFACT: _artifact,
    Scope.BUILD: _build,
    Scope.INSTALLATION: _installation,
    Scope.CUSTOMER: _customer,
}
