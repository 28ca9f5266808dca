"""How long after its COMMIT a change is obeyed: by every web process, under load, for every kind of change."""

from __future__ import annotations

import json
import statistics
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import psycopg

from tests.load.fleet_program import Fleet
from tests.load.population import Member

PROMISE_SECONDS = 1.0
_AFTER_SECONDS = 1.25
_KEPT_LOCKED_SECONDS = 1.1

_QUARANTINE = (
    "INSERT INTO quarantine (id, scope, plugin_name, target, customer_id, reason, created_by, lifted_by)"
    " VALUES (%(id)s, %(scope)s, %(plugin)s, %(target)s, %(customer)s, '', 'load', '')"
)
# What each kind of change does to one member.
CHANGES: dict[str, str] = {
    "key revoked": "UPDATE api_key SET revoked_at = now() WHERE id = %(key)s",
    "tier changed": "UPDATE subscription SET tier_id = CASE tier_id WHEN 'Free' THEN 'Pro' ELSE 'Free' END"
    " WHERE customer_id = %(customer)s",
    "subscription ended": "UPDATE subscription SET status = 'expired' WHERE customer_id = %(customer)s",
    "customer suspended": "UPDATE customer SET suspended_at = now() WHERE id = %(customer)s",
    "plugin in quarantine": _QUARANTINE,
    "version in quarantine": _QUARANTINE,
    "build in quarantine": _QUARANTINE,
    "installation in quarantine": _QUARANTINE,
    "signed out": "INSERT INTO generation (customer_id, kind, subject_id, value)"
    " VALUES (%(customer)s, 'installation', %(installation)s, 1)",
    "entitlement changed": "UPDATE entitlement SET value = 'false' WHERE customer_id = %(customer)s"
    " AND feature_id = 'api_logging'",
    "bulk update": "UPDATE subscription SET status = 'paused' WHERE customer_id = ANY(%(customers)s)",
}
LOCKDOWN = "lockdown"
BULK = 3
# Changes of the catalogue that concern one plugin: each needs a plugin of its own.
OF_A_PLUGIN = ("plugin in quarantine", "version in quarantine")


class Sample(NamedTuple):
    """One answer: when it was asked for and given (Unix seconds), its status, and whether it was the old yes."""

    sent: float
    answered: float
    status: int
    is_yes: bool


@dataclass
class Watch:
    """The fleet in its watch mode: asks about some members again and again, and remembers every answer."""

    fleet: Fleet
    requests: Path
    connections: int = 24
    rate: float = 1500
    samples: dict[int, list[Sample]] = field(default_factory=lambda: defaultdict(list))

    def __enter__(self) -> Watch:
        options = (f"-connections={self.connections}", f"-rate={self.rate}")
        self._process = self.fleet.start("watch", self.requests, *options)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._reader.join()
        self._process.wait()
        for stream in (self._process.stdout, self._process.stderr):
            assert stream is not None
            stream.close()

    def tell(self, command: str, members: list[int]) -> None:
        """`begin` or `end` asking about members, by their numbers."""
        assert self._process.stdin is not None
        self._process.stdin.write("".join(f"{command} {number}\n" for number in members))
        self._process.stdin.flush()

    def wait_for_yes(self, members: list[int], *, seconds: float = 60) -> None:
        """Wait until every one of them was answered with yes."""
        deadline = time.monotonic() + seconds
        missing = members
        while missing := [each for each in missing if not any(sample.is_yes for sample in list(self.samples[each]))]:
            if time.monotonic() > deadline:
                raise AssertionError(f"no yes for {len(missing)} of {len(members)} before the change")
            time.sleep(0.02)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):
                self.summary = json.loads(line)
                continue
            number, sent, answered, status, is_yes = map(int, line.split())
            self.samples[number].append(Sample(sent / 1e9, answered / 1e9, status, bool(is_yes)))


@dataclass(frozen=True)
class Committed:
    """One change: its kind, when COMMIT had returned, and whom it concerned."""

    kind: str
    at: float
    members: tuple[int, ...]


@dataclass
class Report:
    """What was seen. `obeyed_after`: by change, seconds from COMMIT to the sending of the last old yes."""

    obeyed_after: dict[str, list[float]]
    late: list[tuple[str, float]]
    answers: int
    unavailable: int
    limited: int  # refused for asking too often, which says nothing of the change: has to be 0

    @property
    def median(self) -> float:
        """Half of all changes were obeyed at once or within this many seconds."""
        return statistics.median(each for delays in self.obeyed_after.values() for each in delays)


def members_needed(changes: int) -> int:
    """How many members so many changes of each kind use up."""
    return changes * (len(CHANGES) - 1 + BULK) + 1


def run(watch: Watch, members: list[Member], *, url: str, changes: int, lockdowns: int, wave: int = 40) -> Report:
    """Make so many changes of each kind, in waves, and see when each was obeyed."""
    plan = list(_plan(members, changes))
    committed: list[Committed] = []
    with psycopg.connect(url, autocommit=True) as connection:
        for start in range(0, len(plan), wave):
            committed += _wave(watch, members, connection, plan[start : start + wave])
        last = len(members) - 1
        for _ in range(lockdowns):
            committed.append(_lockdown(watch, connection, last))
    return _report(watch, committed)


def _plan(members: list[Member], changes: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Which change hits whom. Plugins are used up from the first on, so changes of one come first."""
    kinds = [*OF_A_PLUGIN, *(kind for kind in CHANGES if kind not in OF_A_PLUGIN)]
    free = iter(range(len(members)))
    for kind in OF_A_PLUGIN:
        for _ in range(changes):
            yield kind, (next(free),)
    for _ in range(changes):
        for kind in kinds[len(OF_A_PLUGIN) :]:
            yield kind, tuple(next(free) for _ in range(BULK if kind == "bulk update" else 1))


def _wave(
    watch: Watch,
    members: list[Member],
    connection: psycopg.Connection[tuple[object, ...]],
    plan: list[tuple[str, tuple[int, ...]]],
) -> list[Committed]:
    concerned = [number for _, numbers in plan for number in numbers]
    watch.tell("begin", concerned)
    watch.wait_for_yes(concerned)
    committed = []
    for kind, numbers in plan:
        connection.execute(CHANGES[kind].encode(), _values(kind, [members[number] for number in numbers]))
        committed.append(Committed(kind, time.time(), numbers))
    time.sleep(_AFTER_SECONDS)
    watch.tell("end", concerned)
    return committed


def _values(kind: str, members: list[Member]) -> dict[str, object]:
    member = members[0]
    scope = kind.partition(" ")[0]
    is_of_customer = scope in ("build", "installation")
    return {
        "id": f"qua_{member.installation_id}",
        "scope": scope,
        "plugin": member.plugin,
        "target": {"version": member.version, "build": member.build_id, "installation": member.installation_id}.get(
            scope, ""
        ),
        "customer": member.customer_id if is_of_customer or "quarantine" not in kind else None,
        "key": member.key_id,
        "installation": member.installation_id,
        "customers": [each.customer_id for each in members],
    }


def _lockdown(watch: Watch, connection: psycopg.Connection[tuple[object, ...]], member: int) -> Committed:
    """Throw the global switch for a moment; one member stands for all."""
    watch.samples[member].clear()
    watch.tell("begin", [member])
    watch.wait_for_yes([member])
    connection.execute("INSERT INTO lockdown (id, reason, started_by) VALUES (1, '', 'load')")
    committed = Committed(LOCKDOWN, time.time(), (member,))
    time.sleep(_KEPT_LOCKED_SECONDS)
    watch.tell("end", [member])
    time.sleep(0.1)
    # A copy of what was seen under a number of its own: the next lockdown looks at the same member.
    own = -1 - len(watch.samples)
    watch.samples[own] = list(watch.samples[member])
    connection.execute("DELETE FROM lockdown")
    return Committed(LOCKDOWN, committed.at, (own,))


def _report(watch: Watch, committed: list[Committed]) -> Report:
    obeyed: dict[str, list[float]] = defaultdict(list)
    late: list[tuple[str, float]] = []
    for change in committed:
        yes_after = [
            sample.sent - change.at for number in change.members for sample in watch.samples[number] if sample.is_yes
        ]
        delay = max(0.0, max(yes_after, default=0.0))
        obeyed[change.kind].append(delay)
        if delay > PROMISE_SECONDS:
            late.append((change.kind, delay))
        for number in change.members:
            if not any(not sample.is_yes and sample.sent > change.at for sample in watch.samples[number]):
                raise AssertionError(f"nobody was asked after the change: {change.kind}")
    every = [sample for samples in watch.samples.values() for sample in samples]
    unavailable = sum(sample.status == 503 for sample in every)
    limited = sum(sample.status == 429 for sample in every)
    return Report(dict(obeyed), late, len(every), unavailable, limited)
