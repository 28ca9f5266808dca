"""Usage: events that plugins report, counted against the day's quota, and requests that were served.

Counting happens in Valkey, in one script that takes a batch whole or not at all, so that any number of processes share
a quota exactly. Every ten seconds what was counted moves to PostgreSQL, which is where a day's count begins again
should Valkey lose it. While Valkey is away quotas fail open: batches are counted in PostgreSQL directly.
"""

import hashlib
from collections.abc import Container, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Final

import msgspec
from django.db import transaction

from licensing.core.clock import from_epoch, rfc3339
from licensing.core.json_body import whole
from licensing.core.postgresql.prepared import fetch_row
from licensing.core.valkey import Script, ValkeyAway, valkey
from licensing.models import UsageBatch
from licensing.rules import codes
from licensing.rules.codes import Verdict, deny
from licensing.rules.grants import grant_for
from licensing.rules.pipeline import Facts
from licensing.services import limits
from licensing.services.authenticate import Caller, refuse
from licensing.services.counts import (
    EVENT_PREFIX,
    PENDING,
    add_to_days,
    count_field,
    day_key,
    new_portion_id,
    stored_events,
)
from licensing.services.outcome import Denied, Granted, Outcome
from licensing.services.plugin_tokens import judge, open_token
from licensing.services.proofs import SentRequest
from licensing.services.state import State

MAX_EVENTS: Final = 1000
OTHER_EVENTS: Final = "_other"  # no feature's code begins like that
_BATCH_SECONDS: Final = 26 * 3600
_DAY_SECONDS: Final = 50 * 3600

# KEYS: the day's count, the batch, the counts to flush. ARGV: total, quota, the day's count to begin with ("" when it
# is not known), lives of day and batch, id for a new portion, then pairs of field and count. Answers {outcome, used};
# outcomes: 1 counted, 2 counted before, 0 over quota, -1 the day's count has to be told.
_COUNT: Final = Script("""
if redis.call('EXISTS', KEYS[2]) == 1 then return {2, tonumber(redis.call('GET', KEYS[1]) or 0)} end
local used = redis.call('GET', KEYS[1])
if not used then
  if ARGV[3] == '' then return {-1, 0} end
  used = ARGV[3]
end
used = tonumber(used)
if used + tonumber(ARGV[1]) > tonumber(ARGV[2]) then return {0, used} end
redis.call('SET', KEYS[1], string.format('%.0f', used + ARGV[1]), 'EX', ARGV[4])
redis.call('SET', KEYS[2], '1', 'EX', ARGV[5])
redis.call('HSETNX', KEYS[3], '#', ARGV[6])
for i = 7, #ARGV, 2 do redis.call('HINCRBY', KEYS[3], ARGV[i], ARGV[i + 1]) end
return {1, used + tonumber(ARGV[1])}
""")


class EventAsked(msgspec.Struct, frozen=True):
    """How often something happened; `feature` is the code of the feature it used."""

    feature: Annotated[str, msgspec.Meta(min_length=1, max_length=63, pattern=whole(r"[a-z][a-z0-9_]*"))]
    count: Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)] = 1


class UsageAsked(msgspec.Struct, frozen=True):
    """Body of `POST /api/plugins/usage`; a batch of the same id counts once."""

    batch_id: Annotated[str, msgspec.Meta(min_length=8, max_length=128, pattern=whole(r"[A-Za-z0-9._~-]+"))]
    events: Annotated[tuple[EventAsked, ...], msgspec.Meta(min_length=1, max_length=MAX_EVENTS)]

    def totals(self, features: Container[str]) -> dict[str, int]:
        """Counts by measure; events of all but `features` under one, so that nobody makes up a row for each."""
        found: dict[str, int] = {}
        for event in self.events:
            measure = EVENT_PREFIX + (event.feature if event.feature in features else OTHER_EVENTS)
            found[measure] = found.get(measure, 0) + event.count
        return found


@dataclass(frozen=True, slots=True)
class Day:
    """One customer's day of one plugin, whose count a quota bounds."""

    customer_id: str
    plugin: str
    day: date

    @property
    def resets_at(self) -> datetime:
        """The instant at which the next day begins (UTC); it belongs to the next."""
        return datetime(self.day.year, self.day.month, self.day.day, tzinfo=UTC) + timedelta(days=1)


def report_usage(*, asked: UsageAsked, caller: Caller, sent: SentRequest, state: State, now: float) -> Outcome:
    """Count a batch against the day's quota, whole or not at all; `now` in Unix seconds.

    Raises:
        TooManyRequests, ServiceUnavailable
    """
    presented = open_token(caller=caller, state=state, now=now)
    if isinstance(presented, Verdict):
        limits.note_bad_token(presented, caller.address)
        return Denied(presented)
    token, facts = presented.token, presented.facts
    headers = limits.take(installation=token.installation_id, customer=facts.customer, catalogue=facts.catalogue)
    verdict = judge(presented, plugin_name=token.plugin, sent=sent, caller=caller)
    if not verdict.valid:
        return refuse(verdict, facts, presented.actor, headers, token.installation_id)
    day = Day(token.customer_id, token.plugin, from_epoch(now).date())
    quota = grant_for(facts).events_per_day
    totals = asked.totals(_known_features(facts))
    counted, used = count_batch(day=day, batch_id=asked.batch_id, totals=totals, quota=quota)
    told = {"quota": quota, "used": used, "remaining": max(0, quota - used), "resets_at": rfc3339(day.resets_at)}
    if not counted:
        denied = refuse(deny(codes.QUOTA_EXCEEDED), facts, presented.actor, headers, token.installation_id)
        return msgspec.structs.replace(denied, extra=told)
    return Granted({"success": True, "batch_id": asked.batch_id, **told}, headers)


def _known_features(facts: Facts) -> Container[str]:
    """The features that the plugin lists; one that lists none may have any of the catalogue's."""
    return (facts.plugin and facts.plugin.features) or facts.catalogue.features


def count_batch(*, day: Day, batch_id: str, totals: Mapping[str, int], quota: int) -> tuple[bool, int]:
    """Count a batch once; returns whether it is counted (now or before), and how much of the quota is used."""
    if _was_counted_without_valkey(day, batch_id):
        return True, stored_events(day.customer_id, day.plugin, day.day)
    try:
        outcome, used = _count(day, batch_id, totals, quota, begin_with="")
        if outcome == -1:
            # The day has just begun, or Valkey has lost it: it goes on from what PostgreSQL has.
            stored = stored_events(day.customer_id, day.plugin, day.day)
            outcome, used = _count(day, batch_id, totals, quota, begin_with=str(stored))
        return outcome > 0, used
    except ValkeyAway:
        limits.note_failed_open()
        return True, _count_in_database(day, batch_id, totals)


def _was_counted_without_valkey(day: Day, batch_id: str) -> bool:
    batch = {"customer": day.customer_id, "batch": _stored_id(day, batch_id)}
    return (
        fetch_row("SELECT 1 FROM usage_batch WHERE customer_id = %(customer)s AND batch_id = %(batch)s", batch)
        is not None
    )


def _count(day: Day, batch_id: str, totals: Mapping[str, int], quota: int, *, begin_with: str) -> tuple[int, int]:
    pairs: list[str | int] = []
    for measure, count in totals.items():
        pairs += [count_field(day.customer_id, day.plugin, measure, day.day), count]
    keys = [
        day_key(day.customer_id, day.plugin, day.day),
        f"usage:batch:{day.customer_id}:{day.plugin}:{batch_id}",
        PENDING,
    ]
    total, lives = sum(totals.values()), (_DAY_SECONDS, _BATCH_SECONDS)
    outcome, used = valkey().run_script(_COUNT, keys, [total, quota, begin_with, *lives, new_portion_id(), *pairs])
    return int(outcome), int(used)


def _count_in_database(day: Day, batch_id: str, totals: Mapping[str, int]) -> int:
    with transaction.atomic():
        _, is_new = UsageBatch.objects.get_or_create(customer_id=day.customer_id, batch_id=_stored_id(day, batch_id))
        if is_new:
            add_to_days({(day.customer_id, day.plugin, measure, day.day): count for measure, count in totals.items()})
        return stored_events(day.customer_id, day.plugin, day.day)


def _stored_id(day: Day, batch_id: str) -> str:
    """A batch's id as it is stored: of one plugin, and never too long for its column."""
    return hashlib.sha256(f"{day.plugin}:{batch_id}".encode()).hexdigest()
