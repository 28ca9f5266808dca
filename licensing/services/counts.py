"""Counts on their way from Valkey to PostgreSQL: gathered in one hash, moved in portions that are added once."""

import secrets
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Final, cast

import redis
from django.db import connection, transaction
from django.db.models import Sum

from licensing.core.portions import in_portions
from licensing.core.valkey import Script, valkey
from licensing.models import UsageBatch, UsageDay, UsageFlush

EVENT_PREFIX: Final = "event:"
REQUEST_PREFIX: Final = "request:"
PENDING: Final = "usage:pending"
# The field of the hash that holds the id of the portion it will be. It is there from the first count on, so that a
# Valkey that comes back with an old copy of the hash comes back with its id, and nothing is added twice.
PORTION_FIELD: Final = "#"
_PORTIONS: Final = "usage:portions"
_PORTION: Final = "usage:portion:"
_SEPARATOR: Final = "\x1f"
_ROWS_A_STATEMENT: Final = 5000
# Lua takes a few thousand arguments at once; and while a script runs, no limit is looked up.
_COUNTS_A_SCRIPT: Final = 200

# KEYS: the counts to flush. ARGV: id for a new portion, then pairs of field and count.
_ADD: Final = Script("""
redis.call('HSETNX', KEYS[1], '#', ARGV[1])
for i = 2, #ARGV, 2 do redis.call('HINCRBY', KEYS[1], ARGV[i], ARGV[i + 1]) end
return 1
""")
# KEYS: the counts to flush, the portions' names. Answers how many portions wait.
_SET_ASIDE: Final = Script("""
local id = redis.call('HGET', KEYS[1], '#')
if id then
  redis.call('RENAME', KEYS[1], 'usage:portion:' .. id)
  redis.call('SADD', KEYS[2], id)
end
return redis.call('SCARD', KEYS[2])
""")
# KEYS: days' counts. ARGV: what PostgreSQL knows of each. A count that fell behind (Valkey came back with an old one,
# or events were counted without it) is raised.
_RAISE: Final = Script("""
for i, key in ipairs(KEYS) do
  local used = redis.call('GET', key)
  if used and tonumber(used) < tonumber(ARGV[i]) then redis.call('SET', key, ARGV[i], 'KEEPTTL') end
end
return 1
""")
_STORED_SQL: Final = """
SELECT u.customer_id, u.plugin_name, u.day, sum(u.count)::bigint
  FROM usage_day u
  JOIN unnest(%s::text[], %s::text[], %s::date[]) AS d (customer, plugin, day)
    ON u.customer_id = d.customer AND u.plugin_name = d.plugin AND u.day = d.day
 WHERE starts_with(u.measure, %s)
 GROUP BY u.customer_id, u.plugin_name, u.day
"""

Count = tuple[str, str, str, date]


def add_counts(counts: Mapping[Count, int], *, over_seconds: float = 0.0) -> None:
    """Add counts by (customer, plugin, measure, day) to what is flushed next, spread over so many seconds.

    Raises:
        ValkeyAway: nothing is known to have been added; the caller keeps them.
    """
    for portion in in_portions(list(counts.items()), _COUNTS_A_SCRIPT, over_seconds=over_seconds):
        pairs = [word for key, count in portion for word in (count_field(*key), count)]
        valkey().run_script(_ADD, [PENDING], [new_portion_id(), *pairs])


def new_portion_id() -> str:
    """An id that no portion has had."""
    return secrets.token_hex(16)


def flush_usage() -> int:
    """Move what was counted to PostgreSQL; returns the number of counts moved. Safe to run twice and at once.

    A portion is set aside, added in one transaction with its id, then removed. Whoever dies in between leaves a
    portion that the next run finds, and the id tells whether it was added.

    Raises:
        ValkeyAway: try again later; nothing is lost by that.
    """
    if not valkey().run_script(_SET_ASIDE, [PENDING, _PORTIONS], []):
        return 0
    moved = 0
    for portion_id in sorted(each.decode() for each in valkey().run(_names)):
        portion = _read_portion(portion_id)
        counts = {_count_of(field): int(count) for field, count in portion.items() if field != PORTION_FIELD.encode()}
        moved += _add_portion(portion_id, counts)
        _remove_portion(portion_id)
        _raise_days(counts)
    return moved


def _names(client: redis.Redis) -> set[bytes]:
    return cast("set[bytes]", client.smembers(_PORTIONS))


def _read_portion(portion_id: str) -> dict[bytes, bytes]:
    return valkey().run(lambda client: cast("dict[bytes, bytes]", client.hgetall(f"{_PORTION}{portion_id}")))


def _remove_portion(portion_id: str) -> None:
    def remove(client: redis.Redis) -> None:
        # The name last: a portion without one would never be found again.
        client.delete(f"{_PORTION}{portion_id}")
        client.srem(_PORTIONS, portion_id)

    valkey().run(remove)


def _raise_days(counts: Mapping[Count, int]) -> None:
    days = sorted({(each[0], each[1], each[3]) for each in counts if each[2].startswith(EVENT_PREFIX)})
    for start in range(0, len(days), 1000):
        portion = days[start : start + 1000]
        with connection.cursor() as cursor:
            cursor.execute(_STORED_SQL, [*map(list, zip(*portion, strict=True)), EVENT_PREFIX])
            known = cursor.fetchall()
        if known:
            keys = [day_key(customer_id, plugin, day) for customer_id, plugin, day, _ in known]
            valkey().run_script(_RAISE, keys, [used for *_, used in known])


def stored_events(customer_id: str, plugin: str, day: date) -> int:
    """How many events PostgreSQL knows of."""
    found = UsageDay.objects.filter(
        customer_id=customer_id, plugin_name=plugin, day=day, measure__startswith=EVENT_PREFIX
    ).aggregate(total=Sum("count"))
    return found["total"] or 0


def day_key(customer_id: str, plugin: str, day: date) -> str:
    """The name of a day's count, which its quota bounds."""
    return f"usage:day:{customer_id}:{plugin}:{day.isoformat()}"


def purge_usage_marks(*, now: datetime) -> None:
    """Forget ids of portions and batches that nobody can bring again."""
    UsageFlush.objects.filter(flushed_at__lt=now - timedelta(days=7)).delete()
    UsageBatch.objects.filter(taken_at__lt=now - timedelta(days=2)).delete()


def count_field(customer_id: str, plugin: str, measure: str, day: date) -> str:
    """The name of one count in the hash."""
    return _SEPARATOR.join((customer_id, plugin, measure, day.isoformat()))


def _count_of(field: bytes) -> Count:
    customer_id, plugin, measure, day = field.decode().split(_SEPARATOR)
    return customer_id, plugin, measure, date.fromisoformat(day)


def _add_portion(portion_id: str, counts: Mapping[Count, int]) -> int:
    with transaction.atomic():
        _, is_new = UsageFlush.objects.get_or_create(pk=portion_id)
        if is_new:
            add_to_days(counts)
    return len(counts) if is_new else 0


def add_to_days(counts: Mapping[Count, int]) -> None:
    """Add to the days' rows, in one order for all, so that two flushes cannot wait for each other crosswise."""
    rows = sorted((*key, count) for key, count in counts.items())
    for start in range(0, len(rows), _ROWS_A_STATEMENT):
        _add_rows(rows[start : start + _ROWS_A_STATEMENT])


def _add_rows(rows: Sequence[tuple[str, str, str, date, int]]) -> None:
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
