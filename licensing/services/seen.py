"""Last seen, and requests served: gathered in memory, written within ten seconds, never once a request (DESIGN §10).

What was gathered in five seconds is written a little at a time all through the next five: in one piece it would take a
busy machine's processor for a second or two, and every answer would wait. A process that dies loses ten seconds of it;
nothing that decides rests on it but the culling of installations that were silent for weeks. A fingerprint that is seen
from one address, then another, then the first again, all within a quarter of an hour, runs in two places at once: it is
marked as a possible clone. (Somebody who moves goes there and does not come back at once.)
"""

import atexit
import os
import threading
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Final, NamedTuple

import structlog
from django.db import connection

from licensing.core.actor import system
from licensing.core.hot_settings import hot_settings
from licensing.core.portions import hurry, in_portions
from licensing.core.valkey import ValkeyAway
from licensing.models import Installation
from licensing.rules.pipeline import Facts
from licensing.services.counts import REQUEST_PREFIX, add_counts
from licensing.services.installations import release_installation

log = structlog.get_logger(__name__)

FLUSH_SECONDS: Final = 5.0
# Over how much of that the writing is spread; it leaves room for what takes longer.
_SPREAD_SECONDS: Final = 4.0
# A refresh comes every five minutes, and a row is rewritten for every second one.
GRANULARITY: Final = timedelta(minutes=9)
TOGETHER: Final = timedelta(minutes=15)
# What was noted of an installation says enough for so long, unless it comes from elsewhere or in another version.
_ENOUGH_SECONDS: Final = 180.0
# "Last used" of an API key is told to the minute.
_KEY_ENOUGH_SECONDS: Final = 60.0
_MAX_NOTED: Final = 50_000
_MAX_WAITING: Final = 200_000
_ROWS_A_STATEMENT: Final = 50
_CULL_AT_ONCE: Final = 500
_DAY_SECONDS: Final = 86_400

_WRITE_SQL: Final = """
UPDATE installation i
   SET last_seen_at = greatest(i.last_seen_at, s.at),
       version = CASE WHEN s.version <> '' THEN s.version ELSE i.version END,
       last_seen_from = s.address,
       previous_seen_from = CASE WHEN i.last_seen_from <> s.address THEN i.last_seen_from
                                 ELSE i.previous_seen_from END,
       previous_seen_at = CASE WHEN i.last_seen_from <> s.address THEN i.last_seen_at ELSE i.previous_seen_at END,
       possible_clone_at = CASE WHEN i.last_seen_from <> s.address AND i.previous_seen_from = s.address
                                 AND i.previous_seen_at > s.at - %(together)s::interval AND NOT i.is_anonymous
                                THEN s.at ELSE i.possible_clone_at END
  FROM unnest(%(ids)s::text[], %(times)s::timestamptz[], %(addresses)s::inet[], %(versions)s::text[])
    AS s (id, at, address, version)
 WHERE i.id = s.id AND i.released_at IS NULL
   AND (i.last_seen_at < s.at - %(granularity)s::interval OR i.last_seen_from IS DISTINCT FROM s.address
        OR (s.version <> '' AND i.version <> s.version))
"""


class Sighting(NamedTuple):
    """When and where from an installation was last heard of; `at` in Unix seconds."""

    at: float
    address: str
    version: str


class Recorder:
    """What this process has seen since the last flush. `flush` is called by the process's flusher alone."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sightings: dict[tuple[str, str], Sighting] = {}
        self._noted: dict[str, Sighting] = {}
        self._served: dict[tuple[str, str, str, date], int] = {}
        self._keys: dict[str, tuple[float, str]] = {}
        self._noted_keys: dict[str, tuple[float, str]] = {}

    def saw(self, *, installation_id: str, address: str, version: str, now: float) -> None:
        """An installation was served; one entry for each address it came from."""
        noted = self._noted.get(installation_id)
        if noted is not None and noted[1:] == (address, version) and 0 <= now - noted.at < _ENOUGH_SECONDS:
            return
        with self._lock:
            if len(self._noted) >= _MAX_NOTED:
                self._noted.clear()
            if len(self._sightings) < _MAX_WAITING:
                seen = self._sightings[installation_id, address] = Sighting(now, address, version)
                self._noted[installation_id] = seen

    def served(self, *, customer_id: str, plugin: str, endpoint: str, now: float) -> None:
        """A request was answered with yes."""
        key = (customer_id, plugin, REQUEST_PREFIX + endpoint, _day(int(now // _DAY_SECONDS)))
        with self._lock:
            self._served[key] = self._served.get(key, 0) + 1

    def key_used(self, *, key_id: str, address: str, now: float) -> None:
        """An API key was presented and good."""
        noted = self._noted_keys.get(key_id)
        if noted is not None and noted[1] == address and 0 <= now - noted[0] < _KEY_ENOUGH_SECONDS:
            return
        with self._lock:
            if len(self._noted_keys) >= _MAX_NOTED:
                self._noted_keys.clear()
            if len(self._keys) < _MAX_WAITING:
                self._keys[key_id] = self._noted_keys[key_id] = (now, address)

    def flush(self) -> None:
        """Write what was gathered. Requests that cannot be counted now wait for the next time; sightings do not."""
        with self._lock:
            sightings, self._sightings = self._sightings, {}
            served, self._served = self._served, {}
            keys, self._keys = self._keys, {}
        # Each kind has its share of the time, by how much there is of it.
        each_seconds = _SPREAD_SECONDS / max(1, len(served) + len(sightings) + len(keys))
        try:
            self._add_counts(served, over_seconds=each_seconds * len(served))
            write_sightings(
                [(installation_id, seen) for (installation_id, _), seen in sightings.items()],
                over_seconds=each_seconds * len(sightings),
            )
            write_key_uses(keys, over_seconds=each_seconds * len(keys))
        except BaseException:
            # Some of it was not noted after all.
            self._noted.clear()
            self._noted_keys.clear()
            raise

    def _add_counts(self, served: dict[tuple[str, str, str, date], int], *, over_seconds: float) -> None:
        try:
            add_counts(served, over_seconds=over_seconds)
        except ValkeyAway:
            self._put_back(served)  # some of it may have been added: requests served are told, not charged

    def _put_back(self, served: dict[tuple[str, str, str, date], int]) -> None:
        with self._lock:
            for key, count in served.items():
                if key in self._served or len(self._served) < _MAX_WAITING:
                    self._served[key] = self._served.get(key, 0) + count


def write_sightings(sightings: list[tuple[str, Sighting]], *, over_seconds: float = 0.0) -> None:
    """Write sightings in the order in which they happened, a few rows a statement, spread over so many seconds."""
    ordered = sorted(sightings, key=lambda each: each[1].at)
    while ordered:
        later: list[tuple[str, Sighting]] = []
        waiting: set[str] = set()
        for some in in_portions(ordered, _ROWS_A_STATEMENT, over_seconds=over_seconds):
            # An UPDATE ... FROM takes one row for each id, so an id's second address waits until all had their first.
            portion: dict[str, Sighting] = {}
            for installation_id, seen in some:
                if installation_id in portion or installation_id in waiting:
                    waiting.add(installation_id)
                    later.append((installation_id, seen))
                else:
                    portion[installation_id] = seen
            _write(portion)
        ordered = later


def write_key_uses(keys: dict[str, tuple[float, str]], *, over_seconds: float = 0.0) -> None:
    """Write when keys were last used, as `write_sightings`; a key that is gone meanwhile is passed over."""
    for portion in in_portions(sorted(keys.items()), _ROWS_A_STATEMENT, over_seconds=over_seconds):
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO api_key_use (api_key_id, last_used_at, last_used_from)"
                " SELECT k.id, u.at, u.address FROM unnest(%s::text[], %s::timestamptz[], %s::inet[])"
                " AS u (id, at, address) JOIN api_key k ON k.id = u.id"
                " ON CONFLICT (api_key_id) DO UPDATE SET last_used_at = excluded.last_used_at,"
                " last_used_from = excluded.last_used_from WHERE api_key_use.last_used_at < excluded.last_used_at",
                [
                    [key_id for key_id, _ in portion],
                    [datetime.fromtimestamp(at, UTC) for _, (at, _) in portion],
                    [address for _, (_, address) in portion],
                ],
            )


def cull_silent(*, silent_days: int, now: datetime) -> int:
    """Release installations that have not been heard of for so long; returns how many. 0 days: never."""
    if silent_days == 0:
        return 0
    silent = Installation.objects.filter(released_at=None, last_seen_at__lt=now - timedelta(days=silent_days)).order_by(
        "pk"
    )[:_CULL_AT_ONCE]
    culled = 0
    for installation in silent:
        release_installation(installation=installation, reason="silent", confirmed=False, actor=system("cull"), now=now)
        culled += 1
    return culled


def _write(portion: dict[str, Sighting]) -> None:
    rows = sorted(portion.items())  # one order for all processes: no deadlock
    with connection.cursor() as cursor:
        cursor.execute(
            _WRITE_SQL,
            {
                "ids": [installation_id for installation_id, _ in rows],
                "times": [datetime.fromtimestamp(seen.at, UTC) for _, seen in rows],
                "addresses": [seen.address for _, seen in rows],
                "versions": [seen.version for _, seen in rows],
                "granularity": f"{GRANULARITY.total_seconds()} seconds",
                "together": f"{TOGETHER.total_seconds()} seconds",
            },
        )


@lru_cache(maxsize=4)
def _day(number: int) -> date:
    """The day of this number since 1970, in UTC."""
    return date(1970, 1, 1) + timedelta(days=number)


class Flusher:
    """The thread that calls what has to be done every few seconds in this process."""

    def __init__(self, actions: list[Callable[[], None]], *, interval_seconds: float = FLUSH_SECONDS) -> None:
        self._actions = actions
        self._interval = interval_seconds
        self._pid = 0
        self._lock = threading.Lock()
        self._running = threading.Lock()

    def ensure_started(self) -> None:
        """Start the thread if this process has none; cheap enough for every request.

        A process that ends in good order calls the actions once more.
        """
        if self._pid == os.getpid():
            return
        with self._lock:
            if self._pid != os.getpid():
                self._pid = os.getpid()
                threading.Thread(target=self._run, name="keywright-flusher", daemon=True).start()
                atexit.register(self._run_last)

    def run_once(self) -> None:
        """Call every action; one that fails is logged and keeps none of the others from its turn."""
        with self._running:
            for action in self._actions:
                try:
                    action()
                except Exception as exc:  # noqa: BLE001  the thread must outlive any outage
                    log.warning("flush.failed", error_type=type(exc).__name__)
                finally:
                    connection.close()

    def _run_last(self) -> None:
        """What is gathered by now, after what is being written: nothing of either is lost to an end in good order."""
        hurry()
        self.run_once()

    def _run(self) -> None:
        due = time.monotonic()
        while True:
            # What took longer than there was time for is not made up for.
            due = max(due + self._interval, time.monotonic())
            time.sleep(max(0.0, due - time.monotonic()))
            self.run_once()


recorder = Recorder()
flusher = Flusher([recorder.flush])


def note_served(*, facts: Facts, installation_id: str, endpoint: str) -> None:
    """Remember, in memory, that an installation was answered with yes."""
    if hot_settings.ROLE != "web":
        return  # a command or a test has no flusher
    recorder.saw(
        installation_id=installation_id, address=facts.source_address, version=facts.plugin_version, now=facts.now
    )
    recorder.served(customer_id=facts.customer.id, plugin=facts.plugin_name, endpoint=endpoint, now=facts.now)
    if endpoint == "authenticate" and facts.key is not None:
        recorder.key_used(key_id=facts.key.id, address=facts.source_address, now=facts.now)
    flusher.ensure_started()
