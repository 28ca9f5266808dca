"""Counts on their way from Valkey to PostgreSQL: gathered in one hash, moved in portions that are added once."""

import secrets
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Final

import redis
from django.db import connection, transaction

from licensing.core.valkey import valkey
from licensing.models import UsageBatch, UsageFlush

EVENT_PREFIX: Final = "event:"
REQUEST_PREFIX: Final = "request:"
PENDING: Final = "usage:pending"
_FLUSHING: Final = "usage:flushing:"
_SEPARATOR: Final = "\x1f"


def add_counts(counts: Mapping[tuple[str, str, str, date], int]) -> None:
    """Add counts by (customer, plugin, measure, day) to what is flushed next.

    Raises:
        ValkeyAway: nothing was added; the caller keeps them.
    """

    def add(client: redis.Redis) -> None:
        pipeline = client.pipeline(transaction=True)
        for key, count in counts.items():
            pipeline.hincrby(PENDING, count_field(*key), count)
        pipeline.execute()

    if counts:
        valkey().run(add)


def flush_usage() -> int:
    """Move what was counted to PostgreSQL; returns the number of counts moved. Safe to run twice and at once.

    A portion is set aside under an id of its own, added in one transaction with that id, then removed. Whoever dies
    in between leaves a portion that the next run finds, and the id tells whether it was added.

    Raises:
        ValkeyAway: try again later; nothing is lost by that.
    """
    valkey().run(_set_aside)
    moved = 0
    for name in valkey().run(lambda client: [key.decode() for key in client.scan_iter(match=f"{_FLUSHING}*")]):
        portion = valkey().run(lambda client, name=name: client.hgetall(name))
        moved += _add_portion(name.removeprefix(_FLUSHING), portion)
        valkey().run(lambda client, name=name: client.delete(name))
    return moved


def purge_usage_marks(*, now: datetime) -> None:
    """Forget ids of portions and batches that nobody can bring again."""
    UsageFlush.objects.filter(flushed_at__lt=now - timedelta(days=7)).delete()
    UsageBatch.objects.filter(taken_at__lt=now - timedelta(days=2)).delete()


def count_field(customer_id: str, plugin: str, measure: str, day: date) -> str:
    """The name of one count in the hash."""
    return _SEPARATOR.join((customer_id, plugin, measure, day.isoformat()))


def _set_aside(client: redis.Redis) -> None:
    # RENAME of what is not there is an error, and means that there is nothing to do.
    try:
        client.rename(PENDING, f"{_FLUSHING}{secrets.token_hex(16)}")
    except redis.ResponseError:
        return


def _add_portion(portion_id: str, portion: Mapping[bytes, bytes]) -> int:
    counts: dict[tuple[str, str, str, date], int] = {}
    for field, count in portion.items():
        customer_id, plugin, measure, day = field.decode().split(_SEPARATOR)
        counts[customer_id, plugin, measure, date.fromisoformat(day)] = int(count)
    with transaction.atomic():
        _, is_new = UsageFlush.objects.get_or_create(pk=portion_id)
        if is_new:
            add_to_days(counts)
    return len(counts) if is_new else 0


def add_to_days(counts: Mapping[tuple[str, str, str, date], int]) -> None:
    """Add to the days' rows, in one order for all, so that two flushes cannot wait for each other crosswise."""
    rows = sorted((*key, count) for key, count in counts.items())
    if not rows:
        return
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO usage_day (customer_id, plugin_name, measure, day, count)"
            " SELECT c.id, u.plugin, u.measure, u.day, u.count"
            " FROM unnest(%s::text[], %s::text[], %s::text[], %s::date[], %s::bigint[])"
            " AS u (customer, plugin, measure, day, count) JOIN customer c ON c.id = u.customer"
            " ON CONFLICT (customer_id, day, plugin_name, measure)"
            " DO UPDATE SET count = usage_day.count + excluded.count",
            [list(column) for column in zip(*rows, strict=True)],
        )
