"""The alarm for a signed key set that is not signed anew: in seven days kits would stop believing (DESIGN §6)."""

from datetime import datetime, timedelta

import structlog
from django.db import connection, transaction

from licensing.core import outbox
from licensing.core.models import OutboxEvent
from licensing.models import SignedKeySet
from licensing.services.key_lifecycle import is_key_set_late

log = structlog.get_logger(__name__)

ALARM = "KEY_SET_LATE"
_REPEAT = timedelta(days=1)
_LOCK = (0x6B77, 0x616C)  # advisory: two workers raise one alarm


def raise_key_alarm(*, now: datetime) -> bool:
    """Log an error and emit `security.alert` if the key set is late, at most once a day; whether it did."""
    if not is_key_set_late(now):
        return False
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", list(_LOCK))
        alarms = OutboxEvent.objects.filter(name="security.alert", payload__alarm=ALARM, customer_id="")
        if alarms.filter(created_at__gt=now - _REPEAT).exists():
            return False
        newest = SignedKeySet.objects.order_by("-version").first()
        until = newest.expires_at.isoformat() if newest else None
        log.error("key_set.late", version=newest.version if newest else None, expires_at=until)
        outbox.emit("security.alert", payload={"alarm": ALARM, "expires_at": until})
    return True
