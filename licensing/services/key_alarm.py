"""Alarms for what plugins would stop believing: a key set not signed anew, certificates not renewed (DESIGN §6)."""

from datetime import datetime, timedelta

import structlog
from django.db import connection, transaction

from licensing.core import outbox
from licensing.core.models import OutboxEvent
from licensing.models import Certificate, SignedKeySet
from licensing.services.key_lifecycle import CERTIFICATE_RENEWAL, CERTIFIED, is_authority_offline, is_key_set_late

log = structlog.get_logger(__name__)

ALARM = "KEY_SET_LATE"
CERTIFICATE_ALARM = "CERTIFICATE_ENDING"
_REPEAT = timedelta(days=1)
_RENEWED_BY_ITSELF = timedelta(days=1)
_LOCK = (0x6B77, 0x616C)  # advisory: two workers raise one alarm


def raise_key_alarm(*, now: datetime) -> bool:
    """Log an error and emit `security.alert` if the key set is late, at most once a day; whether it did."""
    if not is_key_set_late(now):
        return False
    newest = SignedKeySet.objects.order_by("-version").first()
    until = newest.expires_at.isoformat() if newest else None
    if not _alert(ALARM, {"expires_at": until}, now):
        return False
    log.error("key_set.late", version=newest.version if newest else None, expires_at=until)
    return True


def raise_certificate_alarm(*, now: datetime) -> bool:
    """Log an error and emit `security.alert` if certificates end soon, at most once a day; whether it did.

    Soon is thirty days where PluginAuthority's key is on another machine, since somebody has to go there. Where it is
    here, `sign` renews them at that time by itself, and a day later it should have.
    """
    is_offline = is_authority_offline()
    ending = _ending(now, CERTIFICATE_RENEWAL - (timedelta(0) if is_offline else _RENEWED_BY_ITSELF))
    if not ending or not _alert(CERTIFICATE_ALARM, {"certificates": ending, "authority_offline": is_offline}, now):
        return False
    log.error("certificates.ending", certificates=ending, authority_offline=is_offline)
    return True


def _ending(now: datetime, within: timedelta) -> dict[str, str | None]:
    """The purposes whose certificate ends within a time, or is not there, and when it ends."""
    rows = Certificate.objects.filter(retired_at=None).values_list("purpose", "not_after")
    until = dict(rows)
    if not until:
        return {}  # nothing was set up yet; the key set's own alarm says so
    return {
        each.value: until[each.value].isoformat() if each.value in until else None
        for each in CERTIFIED
        if each.value not in until or now >= until[each.value] - within
    }


def _alert(alarm: str, payload: dict[str, object], now: datetime) -> bool:
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", list(_LOCK))
        alarms = OutboxEvent.objects.filter(name="security.alert", payload__alarm=alarm, customer_id="")
        if alarms.filter(created_at__gt=now - _REPEAT).exists():
            return False
        outbox.emit("security.alert", payload={"alarm": alarm, **payload})
    return True
