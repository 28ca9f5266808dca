"""What the operator's pages count, in bounded work however large the tables are."""

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from django.db import connection
from django.db.models import QuerySet, Sum

from accounts.models import Customer
from licensing.core.models import AuditEvent, OutboxEvent
from licensing.models import Installation, Lockdown, Quarantine, Subscription, UsageDay
from licensing.services.counts import EVENT_PREFIX, REQUEST_PREFIX

MOST: Final = 10_000
_LATEST: Final = 1000


@dataclass(frozen=True, slots=True)
class Bounded:
    """A count that stops at MOST."""

    value: int

    @property
    def is_more(self) -> bool:
        """Whether there are more than could be counted in reasonable time."""
        return self.value > MOST


def live_numbers(now: datetime) -> dict[str, Any]:
    """What goes on now."""
    latest = list(AuditEvent.objects.order_by("-id").values_list("at", "code", "action")[:_LATEST])
    hour = now - timedelta(hours=1)
    denials = Counter(code for at, code, _action in latest if code and code != "VALID" and at > hour)
    return {
        "customers": _estimate(Customer._meta.db_table),
        "installations": _estimate(Installation._meta.db_table),
        "fresh": bounded(Installation.objects.filter(released_at=None, last_seen_at__gt=now - timedelta(minutes=15))),
        "requests": _sum_today(now, REQUEST_PREFIX),
        "events": _sum_today(now, EVENT_PREFIX),
        "denials": denials.most_common(8),
        "denials_count": denials.total(),
        "quarantines": bounded(Quarantine.objects.filter(lifted_at=None)),
        "outbox": bounded(OutboxEvent.objects.filter(dispatched_at=None, failed_at=None)),
        "outbox_failed": bounded(OutboxEvent.objects.filter(failed_at__isnull=False)),
        "ending": bounded(
            Subscription.objects.filter(status="active", period_end__gt=now, period_end__lt=now + timedelta(days=7))
        ),
        "lockdown": Lockdown.objects.first(),
        "latest": AuditEvent.objects.order_by("-id")[:10],
    }


def bounded(rows: QuerySet[Any]) -> Bounded:
    """Count rows, at most one more than MOST."""
    return Bounded(rows.order_by().values("pk")[: MOST + 1].count())


def _estimate(table: str) -> int:
    """About how many rows, as the planner knows it; small tables are counted."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT reltuples::bigint FROM pg_class WHERE oid = to_regclass(%s)", [table])
        (rows,) = cursor.fetchone()
        if rows >= MOST:
            return int(rows)
        cursor.execute(f'SELECT count(*) FROM (SELECT FROM "{table}" LIMIT {MOST * 2}) AS counted')  # noqa: S608  our names
        (counted,) = cursor.fetchone()
    return int(counted)


def _sum_today(now: datetime, prefix: str) -> int:
    rows = UsageDay.objects.filter(day=now.astimezone(UTC).date(), measure__startswith=prefix)
    return int(rows.aggregate(sum=Sum("count"))["sum"] or 0)
